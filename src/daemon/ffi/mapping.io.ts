/** Memory that this process maps: files shared with programs, and scratch memory for structures. */
import { checked, libcFunction, libcTextFunction, viewOf } from "./libc.io.js";

const mmap = libcFunction("mmap", "ppliiil");
const munmapPages = libcFunction("munmap", "ipl");
const ftruncate = libcFunction("ftruncate", "iil");
const memfdCreate = libcTextFunction("memfd_create");
const fcntl = libcFunction("fcntl", "iiil");

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW. */
const SEALS = 7;
/** A view of more than 4 GiB cannot be made; mappings of more are made in pieces by their users. */
export const MAPPING_LIMIT = 2 ** 30;

/** Bytes of this process at a fixed address. Nothing may touch `bytes` after `close`. */
export class Mapping {
  readonly address: number;
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;

  private constructor(address: number, byteLength: number) {
    this.address = address;
    this.buffer = viewOf(address, byteLength);
    this.bytes = new Uint8Array(this.buffer);
  }

  /**
   * Part of a file, shared with everybody who maps it.
   * @param offset a multiple of 4096.
   * @throws SystemError.
   */
  static ofFile(fd: number, offset: number, byteLength: number, writable = true): Mapping {
    const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    const address = mmap(0, byteLength, protection, MAP_SHARED, fd, offset);
    return new Mapping(checked("mmap", address), byteLength);
  }

  /** Zeroed memory of this process alone. */
  static anonymous(byteLength: number): Mapping {
    const flags = MAP_PRIVATE_ANONYMOUS;
    const address = mmap(0, byteLength, PROT_READ | PROT_WRITE, flags, -1, 0);
    return new Mapping(checked("mmap", address), byteLength);
  }

  close(): void {
    munmapPages(this.address, this.buffer.byteLength);
  }
}

/**
 * A memory file of `byteLength` zero bytes that keeps its size: whoever gets the descriptor could
 * cut it short otherwise, and the next access here would end this process.
 * @throws SystemError.
 */
export function makeMemoryFile(name: string, byteLength: number): number {
  const fd = checked("memfd_create", memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  checked("ftruncate", ftruncate(fd, byteLength));
  checked("fcntl", fcntl(fd, F_ADD_SEALS, SEALS));
  return fd;
}
