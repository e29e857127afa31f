/** Descriptors: closing, eventfds, socket pairs, what a descriptor is. */
import { fstatSync, readlinkSync, statfsSync } from "node:fs";
import { checked, libcFunction } from "./libc.io.js";
import { Mapping } from "./mapping.io.js";

const close = libcFunction("close", "ii");
const eventfd = libcFunction("eventfd", "iui");
const socketpair = libcFunction("socketpair", "iiiip");
const readBytes = libcFunction("read", "lipl");
const writeBytes = libcFunction("write", "lipl");
const sendBytes = libcFunction("send", "lipli");
const fcntl = libcFunction("fcntl", "iiil");

const EFD_NONBLOCK_CLOEXEC = 0x80800;
const AF_UNIX = 1;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 0x80801;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const F_DUPFD_CLOEXEC = 1030;
const TMPFS_MAGIC = 0x0102_1994;
const HUGETLBFS_MAGIC = 0x9584_58f6;

const scratch = Mapping.anonymous(4096);
const numbers = new Int32Array(scratch.buffer);
const counts = new BigUint64Array(scratch.buffer);

export function closeDescriptor(fd: number): void {
  close(fd);
}

/** Another number for the same open file. @throws SystemError. */
export function duplicate(fd: number): number {
  return checked("fcntl", fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/** An eventfd that never blocks. @throws SystemError. */
export function makeEventFd(): number {
  return checked("eventfd", eventfd(0, EFD_NONBLOCK_CLOEXEC));
}

/** Adds 1. A full counter stays as it is. */
export function signalEventFd(fd: number): void {
  counts[0] = 1n;
  writeBytes(fd, scratch.address, 8);
}

/** Takes what was counted; 0 when nothing. */
export function takeEventFd(fd: number): bigint {
  return readBytes(fd, scratch.address, 8) === 8 ? (counts[0] ?? 0n) : 0n;
}

/** Two connected ends, close-on-exec, never blocking. @throws SystemError. */
export function makeSocketPair(): readonly [number, number] {
  const type = SOCK_STREAM_NONBLOCK_CLOEXEC;
  checked("socketpair", socketpair(AF_UNIX, type, 0, scratch.address));
  return [numbers[0] ?? -1, numbers[1] ?? -1];
}

/** Puts one byte into a socket; a full or closed one is left alone. */
export function sendByte(fd: number): void {
  numbers[2] = 1;
  sendBytes(fd, scratch.address + 8, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/** What an inode is known by among all of this machine. */
export interface FileIdentity {
  /** `device:inode`. */
  readonly key: string;
  readonly inode: number;
  readonly size: bigint;
  readonly isSocket: boolean;
  readonly isFile: boolean;
}

/** @throws when the descriptor is not open. */
export function identityOf(fd: number): FileIdentity {
  const stat = fstatSync(fd, { bigint: true });
  return {
    key: `${stat.dev}:${stat.ino}`,
    inode: Number(stat.ino),
    size: stat.size,
    isSocket: stat.isSocket(),
    isFile: stat.isFile(),
  };
}

export function isEventFd(fd: number): boolean {
  return linkOf(fd) === "anon_inode:[eventfd]";
}

/** What /proc says that the descriptor refers to. */
export function linkOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

/** The file lies in memory alone: memfd, tmpfs or hugetlbfs. */
export function isMemoryFile(fd: number): boolean {
  const type = fileSystemOf(fd);
  return type === TMPFS_MAGIC || type === HUGETLBFS_MAGIC;
}

export function hasLargePages(fd: number): boolean {
  return fileSystemOf(fd) === HUGETLBFS_MAGIC;
}

function fileSystemOf(fd: number): number {
  try {
    return statfsSync(`/proc/self/fd/${fd}`).type;
  } catch {
    return 0;
  }
}

/** The descriptor was opened for writing. */
export function isWritable(fd: number): boolean {
  const F_GETFL = 3;
  return (checked("fcntl", fcntl(fd, F_GETFL, 0)) & 3) !== 0;
}
