/** Bytes of another process, in one system call. */
import { Errno, lastErrno, libcFunction } from "./libc.io.js";
import { Mapping } from "./mapping.io.js";

const readRemote = libcFunction("process_vm_readv", "lipupuu");
const writeRemote = libcFunction("process_vm_writev", "lipupuu");

/** One piece of this size at a time. */
const PIECE = 64 * 1024;
const VECTORS_AT = PIECE;
const memory = Mapping.anonymous(PIECE + 4096);
const vectors = new BigUint64Array(memory.buffer, VECTORS_AT, 8);
const ownVector = memory.address + VECTORS_AT;
const otherVector = memory.address + VECTORS_AT + 16;

/** How a copy ended: all of it, or not for this reason. */
export const CopyEnd = { done: 0, fault: 1, refused: 2, gone: 3 } as const;
export type CopyEnd = (typeof CopyEnd)[keyof typeof CopyEnd];

/** Fills `into` from an address of process `pid`. */
export function readProcess(pid: number, address: bigint, into: Uint8Array): CopyEnd {
  for (let done = 0; done < into.length; ) {
    const length = Math.min(PIECE, into.length - done);
    point(address + BigInt(done), length);
    const end = ended(readRemote(pid, ownVector, 1, otherVector, 1, 0), length);
    if (end !== CopyEnd.done) return end;
    into.set(memory.bytes.subarray(0, length), done);
    done += length;
  }
  return CopyEnd.done;
}

/** Writes `from` to an address of process `pid`; bytes before one that cannot be written are
 * there. */
export function writeProcess(pid: number, address: bigint, from: Uint8Array): CopyEnd {
  for (let done = 0; done < from.length; ) {
    const length = Math.min(PIECE, from.length - done);
    memory.bytes.set(from.subarray(done, done + length));
    point(address + BigInt(done), length);
    const end = ended(writeRemote(pid, ownVector, 1, otherVector, 1, 0), length);
    if (end !== CopyEnd.done) return end;
    done += length;
  }
  return CopyEnd.done;
}

function point(address: bigint, length: number): void {
  vectors[0] = BigInt(memory.address);
  vectors[1] = BigInt(length);
  vectors[2] = address;
  vectors[3] = BigInt(length);
}

function ended(result: number, length: number): CopyEnd {
  if (result === length) return CopyEnd.done;
  if (result >= 0) return CopyEnd.fault;
  const errno = lastErrno();
  if (errno === Errno.EPERM || errno === Errno.ENOSYS) return CopyEnd.refused;
  return errno === Errno.ESRCH ? CopyEnd.gone : CopyEnd.fault;
}
