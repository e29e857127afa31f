/**
 * A program for tests of open files: memory at chosen addresses with holes, a table of descriptors,
 * memory files and eventfds. No process, no socket.
 *
 * `FakeProcess` is who calls; its threads are `FakeCall`s. Calls answer as the kernel's do: 0 or
 * more, or -errno; the refusal itself is in `lastRefusal`.
 */
import { ERRNO, type ErrnoName, UapiError } from "../../src/abi/index.js";
import type {
  Call,
  DescriptorPlace,
  EventFd,
  HostFile,
  MappedRegion,
  MmapRequest,
  OpenFile,
  PageSource,
  PassedFile,
  UserProcess,
} from "../../src/files/index.js";
import { TestLocked } from "./iommufd.js";

const PAGE = 4096;

/** Memory of a process: one buffer at `base`, of which pages can be taken away. */
export class FakeMemory implements PageSource {
  readonly label: string;
  readonly kind = "process";
  readonly base: bigint;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Pins by page number of the address space. */
  readonly pins = new Map<number, number>();
  /** Frame of the first page; the others follow. */
  firstFrame = 0x100000;
  readonly #holes = new Set<number>();
  readonly #readOnly = new Set<number>();
  #next = 0;

  constructor(label = "process 1", base = 0x10000000n, byteLength = 1 << 20) {
    this.label = label;
    this.base = base;
    this.bytes = new Uint8Array(byteLength);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Address of `byteLength` fresh bytes, a multiple of `alignment`. */
  alloc(byteLength: number, alignment = 8): bigint {
    const at = Math.ceil(this.#next / alignment) * alignment;
    if (at + byteLength > this.bytes.length) throw new RangeError("the memory is used up");
    this.#next = at + byteLength;
    return this.base + BigInt(at);
  }

  /** Address of whole pages. */
  allocPages(count: number): bigint {
    return this.alloc(count * PAGE, PAGE);
  }

  /** Pages of the range cannot be reached any more. */
  unmap(address: bigint, byteLength: number): void {
    for (const page of pagesOf(address, byteLength)) this.#holes.add(page);
  }

  /** Pages of the range can only be read. */
  protect(address: bigint, byteLength: number): void {
    for (const page of pagesOf(address, byteLength)) this.#readOnly.add(page);
  }

  /** Bytes at an address, shared. */
  at(address: bigint, byteLength: number): Uint8Array {
    const offset = Number(address - this.base);
    return this.bytes.subarray(offset, offset + byteLength);
  }

  u8 = (address: bigint): number => this.view.getUint8(this.#offset(address));
  u32 = (address: bigint): number => this.view.getUint32(this.#offset(address), true);
  s32 = (address: bigint): number => this.view.getInt32(this.#offset(address), true);
  u64 = (address: bigint): bigint => this.view.getBigUint64(this.#offset(address), true);

  setU32(address: bigint, value: number): void {
    this.view.setUint32(this.#offset(address), value, true);
  }

  setU64(address: bigint, value: bigint): void {
    this.view.setBigUint64(this.#offset(address), BigInt.asUintN(64, value), true);
  }

  isThere(page: number, writable: boolean): boolean {
    const first = Number(this.base / 4096n);
    const isInside = page >= first && page < first + this.bytes.length / PAGE;
    return isInside && !this.#holes.has(page) && !(writable && this.#readOnly.has(page));
  }

  copyIn(address: bigint, into: Uint8Array): void {
    this.#check(address, into.length, false);
    into.set(this.at(address, into.length));
  }

  copyOut(address: bigint, from: Uint8Array): void {
    this.#check(address, from.length, true);
    this.at(address, from.length).set(from);
  }

  /** @throws UapiError EFAULT. */
  frameOf(page: number): number {
    if (!this.isThere(page, false)) throw fault(page);
    return this.firstFrame + page - Number(this.base / 4096n);
  }

  /** @throws UapiError EFAULT. */
  pinsOf(page: number): number {
    if (!this.isThere(page, false)) throw fault(page);
    return this.pins.get(page) ?? 0;
  }

  pin(page: number, count: number, writable: boolean, frames: Float64Array): void {
    for (let i = 0; i < count; i++) {
      if (!this.isThere(page + i, writable)) throw fault(page + i);
      frames[i] = this.frameOf(page + i);
    }
    for (let i = 0; i < count; i++) countPin(this.pins, page + i, 1);
  }

  unpin(page: number, count: number): void {
    for (let i = 0; i < count; i++) countPin(this.pins, page + i, -1);
  }

  read(page: number, offset: number, into: Uint8Array): void {
    this.copyIn(BigInt(page) * 4096n + BigInt(offset), into);
  }

  write(page: number, offset: number, from: Uint8Array): void {
    this.copyOut(BigInt(page) * 4096n + BigInt(offset), from);
  }

  #offset(address: bigint): number {
    return Number(address - this.base);
  }

  #check(address: bigint, byteLength: number, writable: boolean): void {
    for (const page of pagesOf(address, byteLength)) {
      if (!this.isThere(page, writable)) throw fault(page);
    }
  }
}

function pagesOf(address: bigint, byteLength: number): number[] {
  if (byteLength === 0) return [];
  const first = Number(address / 4096n);
  const last = Number((address + BigInt(byteLength) - 1n) / 4096n);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function countPin(pins: Map<number, number>, page: number, by: number): void {
  const count = (pins.get(page) ?? 0) + by;
  if (count < 0) throw new Error(`page ${page} is not pinned`);
  if (count === 0) pins.delete(page);
  else pins.set(page, count);
}

function fault(page: number): UapiError {
  return new UapiError("EFAULT", `no memory is at page ${page}`);
}

/** Who calls. */
export class FakeProcess implements UserProcess {
  readonly label: string;
  readonly pid: number;
  readonly memory: FakeMemory;
  mayLockMemory = false;
  mayRaiseLimits = true;
  mayRawIo = true;
  readonly userLocked: TestLocked;
  readonly processLocked = new TestLocked();
  pinnedPages = 0;
  readonly descriptors = new Map<number, PassedFile>();

  /** @param user processes of one user share its limit. */
  constructor(pid = 1, memory = new FakeMemory(`process ${pid}`), user = new TestLocked()) {
    this.pid = pid;
    this.label = `process ${pid}`;
    this.memory = memory;
    this.userLocked = user;
  }

  countPinned(pages: number): void {
    this.pinnedPages += pages;
  }

  /** The lowest free descriptor from 3. */
  install(file: OpenFile | PassedFile): number {
    let fd = 3;
    while (this.descriptors.has(fd)) fd++;
    const passed = typeof file.kind === "number" ? { kind: "own" as const, file } : file;
    this.descriptors.set(fd, passed as PassedFile);
    return fd;
  }

  /** Closes a descriptor; the last one of a file releases it. */
  close(fd: number): void {
    const passed = this.descriptors.get(fd);
    this.descriptors.delete(fd);
    if (passed?.kind !== "own") return;
    for (const other of this.descriptors.values()) {
      if (other.kind === "own" && other.file === passed.file) return;
    }
    passed.file.release();
  }

  /** The file behind a descriptor of ours. */
  file(fd: number): OpenFile {
    const passed = this.descriptors.get(fd);
    if (passed?.kind !== "own") throw new Error(`descriptor ${fd} is no file of ours`);
    return passed.file;
  }

  thread(tid = this.pid): FakeCall {
    return new FakeCall(this, tid);
  }
}

/** One thread; see the head of the file. */
export class FakeCall implements Call {
  readonly process: FakeProcess;
  readonly pid: number;
  readonly tid: number;
  /** Why the last call that failed did. */
  lastRefusal: UapiError | undefined;
  /** What the last call gave: the number, and whether exec closes it. */
  lastDescriptor: { readonly fd: number; readonly closeOnExec: boolean } | undefined;
  #wanted: { file: OpenFile; place: DescriptorPlace; closeOnExec: boolean } | undefined;

  constructor(process = new FakeProcess(), tid = process.pid) {
    this.process = process;
    this.pid = process.pid;
    this.tid = tid;
  }

  get memory(): FakeMemory {
    return this.process.memory;
  }

  get mayRawIo(): boolean {
    return this.process.mayRawIo;
  }

  copyIn(address: bigint, into: Uint8Array): void {
    this.memory.copyIn(address, into);
  }

  copyOut(address: bigint, from: Uint8Array): void {
    this.memory.copyOut(address, from);
  }

  fileOf(fd: number): PassedFile | undefined {
    return this.process.descriptors.get(fd);
  }

  newDescriptor(file: OpenFile, place: DescriptorPlace, closeOnExec: boolean): void {
    if (this.#wanted !== undefined) throw new Error("two new descriptors in one call");
    this.#wanted = { file, place, closeOnExec };
  }

  /** ioctl(2). @returns its result, or -errno. */
  ioctl(file: OpenFile, command: number, argument: bigint): number {
    return this.#run("ENOTTY", file.ioctl && (() => file.ioctl?.(this, command, argument) ?? 0));
  }

  /** As {@link ioctl}, with the struct given as bytes; they hold what was written back. */
  ioctlBytes(file: OpenFile, command: number, struct: Uint8Array): number {
    const address = this.memory.alloc(struct.length, 8);
    this.memory.at(address, struct.length).set(struct);
    const result = this.ioctl(file, command, address);
    struct.set(this.memory.at(address, struct.length));
    return result;
  }

  /** read(2), or pread(2) with an offset. @returns the bytes, or -errno. */
  read(file: OpenFile, length: number, offset?: bigint): Uint8Array | number {
    let bytes: Uint8Array = new Uint8Array();
    const read =
      file.read &&
      ((): number => {
        bytes = file.read?.(this, length, offset) ?? bytes;
        return bytes.length;
      });
    const result = this.#run("EINVAL", read);
    return result < 0 ? result : bytes;
  }

  /** write(2), or pwrite(2) with an offset. */
  write(file: OpenFile, bytes: Uint8Array, offset?: bigint): number {
    return this.#run("EINVAL", file.write && (() => file.write?.(this, bytes, offset) ?? 0));
  }

  /** mmap(2). @returns what is mapped, or -errno. */
  mmap(file: OpenFile, request: MmapRequest): MappedRegion | number {
    let region: MappedRegion | undefined;
    const map =
      file.mmap &&
      ((): number => {
        region = file.mmap?.(this, request);
        return 0;
      });
    const result = this.#run("ENODEV", map);
    return region ?? result;
  }

  /** Whatever a method of a file throws, as -errno; the new descriptor is made on success. */
  #run(absent: ErrnoName, call: (() => number) | undefined): number {
    if (call === undefined) return -ERRNO[absent];
    this.#wanted = undefined;
    try {
      const result = call();
      return this.#giveDescriptor(result);
    } catch (error) {
      if (!UapiError.is(error)) throw error;
      this.lastRefusal = error;
      return -error.errno;
    }
  }

  #giveDescriptor(result: number): number {
    const wanted = this.#wanted;
    this.lastDescriptor = undefined;
    if (wanted === undefined) return result;
    const fd = this.process.install(wanted.file);
    this.lastDescriptor = { fd, closeOnExec: wanted.closeOnExec };
    if (wanted.place === "result") return fd;
    this.memory.setU32(wanted.place.address, fd);
    return result;
  }
}

/** A memfd of `pages` pages, or (`isMemory` false) any other file. */
export class FakeFile implements HostFile {
  readonly kind = "file";
  readonly isMemory: boolean;
  readonly bytes: Uint8Array;
  readonly pins = new Map<number, number>();
  readonly pages: PageSource;
  firstFrame = 0x400000;
  /** `keep`s not dropped yet. */
  kept = 0;
  #size: number;

  constructor(byteLength: number, isMemory = true) {
    this.isMemory = isMemory;
    this.bytes = new Uint8Array(Math.ceil(byteLength / PAGE) * PAGE);
    this.#size = byteLength;
    this.pages = this.#source();
  }

  size = (): bigint => BigInt(this.#size);

  truncate(byteLength: number): void {
    this.#size = byteLength;
  }

  keep(): HostFile {
    this.kept++;
    return this;
  }

  drop(): void {
    if (--this.kept < 0) throw new Error("dropped more often than kept");
  }

  #source(): PageSource {
    const page = (n: number): Uint8Array => this.bytes.subarray(n * PAGE, (n + 1) * PAGE);
    return {
      label: "memory file",
      kind: "file",
      pin: (first, count, _writable, frames) => {
        const end = Math.ceil(this.#size / PAGE);
        if (!this.isMemory || first + count > end) {
          throw new UapiError("EINVAL", "the file has no memory there");
        }
        for (let i = 0; i < count; i++) {
          frames[i] = this.firstFrame + first + i;
          countPin(this.pins, first + i, 1);
        }
      },
      unpin: (first, count) => {
        for (let i = 0; i < count; i++) countPin(this.pins, first + i, -1);
      },
      read: (n, offset, into) => into.set(page(n).subarray(offset, offset + into.length)),
      write: (n, offset, from) => page(n).set(from, offset),
    };
  }
}

/** An eventfd: counts signals. */
export class FakeEventFd implements EventFd {
  readonly kind = "eventfd";
  /** Signals so far. */
  count = 0;
  /** `keep`s not dropped yet. */
  kept = 0;
  readonly #listeners = new Set<() => void>();

  signal(): void {
    this.count++;
  }

  /** Somebody else writes to it. */
  signalFromOutside(): void {
    this.count++;
    for (const listener of this.#listeners) listener();
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  keep(): EventFd {
    this.kept++;
    return this;
  }

  drop(): void {
    if (--this.kept < 0) throw new Error("dropped more often than kept");
  }
}
