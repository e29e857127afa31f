/**
 * Unix sockets that keep the borders of packets, and descriptors that travel with a packet.
 *
 * One message header, one buffer and one control buffer serve all packets of a thread.
 */
import { checked, Errno, lastErrno, libcFunction, SystemError } from "./libc.io.js";
import { Mapping } from "./mapping.io.js";

const socket = libcFunction("socket", "iiii");
const bind = libcFunction("bind", "iipi");
const connect = libcFunction("connect", "iipi");
const listen = libcFunction("listen", "iii");
const accept = libcFunction("accept4", "iippi");
const getOption = libcFunction("getsockopt", "iiiipp");
const sendMessage = libcFunction("sendmsg", "lipi");
const receiveMessage = libcFunction("recvmsg", "lipi");

const AF_UNIX = 1;
const SEQPACKET_CLOEXEC = 5 | 0x80000;
const NONBLOCK_CLOEXEC = 0x80800;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_PEERCRED = 17;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const CMSG_HEADER = 16;

const HEADER_AT = 0;
const VECTOR_AT = 64;
const ADDRESS_AT = 128;
const CONTROL_AT = 512;
const CONTROL_BYTES = CMSG_HEADER + 4 * 253 + 4;
const DATA_AT = 2048;
const DATA_BYTES = 2048;

const memory = Mapping.anonymous(4096);
const view = new DataView(memory.buffer);

/** Most bytes of one packet. */
export const PACKET_BYTES = DATA_BYTES;

/** A socket that waits for connections at a path. @throws SystemError. */
export function listenAt(path: string): number {
  const fd = checked("socket", socket(AF_UNIX, SEQPACKET_CLOEXEC | NONBLOCK_CLOEXEC, 0));
  checked("bind", bind(fd, memory.address + ADDRESS_AT, putAddress(path)));
  checked("listen", listen(fd, 128));
  return fd;
}

/** A connection to whoever listens at a path. @throws SystemError. */
export function connectTo(path: string): number {
  const fd = checked("socket", socket(AF_UNIX, SEQPACKET_CLOEXEC, 0));
  checked("connect", connect(fd, memory.address + ADDRESS_AT, putAddress(path)));
  return fd;
}

/** The next connection, or undefined when none waits. */
export function acceptFrom(listener: number): number | undefined {
  const fd = accept(listener, 0, 0, NONBLOCK_CLOEXEC);
  return fd < 0 ? undefined : fd;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who connected, as the kernel saw it. @throws SystemError. */
export function peerOf(fd: number): PeerCredentials {
  view.setUint32(ADDRESS_AT + 12, 12, true);
  const at = memory.address + ADDRESS_AT;
  checked("getsockopt", getOption(fd, SOL_SOCKET, SO_PEERCRED, at, at + 12));
  return {
    pid: view.getInt32(ADDRESS_AT, true),
    uid: view.getUint32(ADDRESS_AT + 4, true),
    gid: view.getUint32(ADDRESS_AT + 8, true),
  };
}

/**
 * Sends one packet.
 * @returns false when the other side is gone or does not read.
 */
export function sendPacket(fd: number, bytes: Uint8Array, descriptors: readonly number[]): boolean {
  memory.bytes.set(bytes, DATA_AT);
  let controlBytes = 0;
  if (descriptors.length > 0) {
    controlBytes = CMSG_HEADER + 4 * descriptors.length;
    view.setBigUint64(CONTROL_AT, BigInt(controlBytes), true);
    view.setInt32(CONTROL_AT + 8, SOL_SOCKET, true);
    view.setInt32(CONTROL_AT + 12, SCM_RIGHTS, true);
    descriptors.forEach((number, i) => {
      view.setInt32(CONTROL_AT + CMSG_HEADER + 4 * i, number, true);
    });
  }
  putHeader(bytes.length, controlBytes);
  return sendMessage(fd, memory.address + HEADER_AT, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

export interface Packet {
  /** A copy. */
  readonly bytes: Uint8Array;
  /** Ours to close. */
  readonly descriptors: readonly number[];
}

/** The next packet; undefined: none waits; null: the other side is gone. */
export function receivePacket(fd: number): Packet | undefined | null {
  putHeader(DATA_BYTES, CONTROL_BYTES);
  const flags = MSG_CMSG_CLOEXEC | MSG_DONTWAIT;
  const length = receiveMessage(fd, memory.address + HEADER_AT, flags);
  if (length < 0) {
    const errno = lastErrno();
    if (errno === Errno.EAGAIN || errno === Errno.EINTR) return undefined;
    return null;
  }
  const descriptors = takeDescriptors();
  if (length === 0 && descriptors.length === 0) return null;
  return { bytes: memory.bytes.slice(DATA_AT, DATA_AT + length), descriptors };
}

function takeDescriptors(): number[] {
  const descriptors: number[] = [];
  const end = CONTROL_AT + Number(view.getBigUint64(HEADER_AT + 40, true));
  for (let at = CONTROL_AT; at + CMSG_HEADER <= end; ) {
    const length = Number(view.getBigUint64(at, true));
    const isRights =
      view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS;
    for (let i = CMSG_HEADER; isRights && i + 4 <= length; i += 4) {
      descriptors.push(view.getInt32(at + i, true));
    }
    at += Math.max(CMSG_HEADER, Math.ceil(length / 8) * 8);
  }
  return descriptors;
}

function putHeader(dataBytes: number, controlBytes: number): void {
  view.setBigUint64(VECTOR_AT, BigInt(memory.address + DATA_AT), true);
  view.setBigUint64(VECTOR_AT + 8, BigInt(dataBytes), true);
  view.setBigUint64(HEADER_AT, 0n, true);
  view.setUint32(HEADER_AT + 8, 0, true);
  view.setBigUint64(HEADER_AT + 16, BigInt(memory.address + VECTOR_AT), true);
  view.setBigUint64(HEADER_AT + 24, 1n, true);
  view.setBigUint64(
    HEADER_AT + 32,
    BigInt(controlBytes === 0 ? 0 : memory.address + CONTROL_AT),
    true,
  );
  view.setBigUint64(HEADER_AT + 40, BigInt(controlBytes), true);
  view.setInt32(HEADER_AT + 48, 0, true);
}

/** @returns bytes of the address. */
function putAddress(path: string): number {
  const bytes = Buffer.from(path, "utf8");
  if (bytes.length > 107) throw new SystemError("bind", Errno.EINVAL);
  view.setUint16(ADDRESS_AT, AF_UNIX, true);
  memory.bytes.set(bytes, ADDRESS_AT + 2);
  memory.bytes[ADDRESS_AT + 2 + bytes.length] = 0;
  return 2 + bytes.length + 1;
}
