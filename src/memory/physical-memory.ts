/**
 * Physical memory of a machine: 2^40 frames of 4 KiB, of which few are there.
 *
 * A frame is one of: a *table frame* (handed out by `allocateFrame`, its bytes kept here, one
 * owner), a *user page* (page n of a backing object; it has one frame however often it is mapped),
 * *MMIO* of a device, or part of the *interrupt range*. Everything else is absent.
 *
 * Table frames lie one after the other in `words`, 1,024 little-endian 32-bit words each. Whoever
 * keeps an index into `words` must fetch `words` anew after any allocation: growing replaces it.
 * Addresses of freed table frames are not handed out again while others are left, so that a stale
 * pointer finds nothing rather than somebody else's table.
 */
import { addressHigh, addressLow, FRAME_LIMIT, PAGE_SIZE } from "./address.js";
import { ALLOCATE_ALWAYS, type AllocationPort } from "./allocation-port.js";
import type { BackingObject } from "./backing-object.js";
import { CHUNK_FRAMES, FrameDirectory, NO_FRAME, NOT_THERE } from "./frame-directory.js";
import { FrameStore } from "./frame-store.js";
import { MemoryStatus } from "./memory-status.js";
import type {
  FrameOwner,
  FrameUse,
  PhysicalMemoryOptions,
  UserMemoryOptions,
} from "./physical-memory-types.js";
import { RegionList } from "./region.js";
import { ONE_RUN, USER_PAGES_LIMIT, UserMemory } from "./user-memory.js";

const POOL_LIMIT = 2 ** 20;
const POOL_FIRST = 0x10_0000;
const USER_FIRST = 0x100_0000;
const INTERRUPT_FIRST = 0xfee00;
const INTERRUPT_FRAMES = 256;
const GIB_FRAMES = 2 ** 18;

/** The memory of one machine. */
export class PhysicalMemory {
  /** For loops over many entries: see `FrameDirectory.mapOf`. */
  readonly directory = new FrameDirectory();
  readonly #regions = new RegionList();
  readonly #users = new Map<BackingObject, UserMemory>();
  /** By the number that the directory knows; undefined once removed. */
  readonly #userNumbers: (UserMemory | undefined)[] = [];
  readonly #marks = new Map<number, MemoryStatus>();
  readonly #store = new FrameStore();
  readonly #freed: number[] = [];
  readonly #poolEnd: number;
  readonly #userFirst: number;
  #poolNext: number;
  #allocations: AllocationPort;
  /** Words of all table frames; replaced when it grows. */
  words: Uint32Array = this.#store.words;
  /** Result of {@link read64}, signed halves. */
  lo = 0;
  hi = 0;

  constructor(options: PhysicalMemoryOptions = {}) {
    const first = options.poolFirst ?? POOL_FIRST;
    const count = options.poolFrames ?? POOL_LIMIT;
    if (!(count >= 1 && count <= POOL_LIMIT)) throw new RangeError(`pool of ${count} frames`);
    this.#regions.add({ first: INTERRUPT_FIRST, count: INTERRUPT_FRAMES, use: "interrupt" });
    this.#regions.add({ first, count, use: "pool" });
    this.#poolNext = first;
    this.#poolEnd = first + count;
    this.#userFirst = options.userFirst ?? USER_FIRST;
    this.#allocations = options.allocations ?? ALLOCATE_ALWAYS;
  }

  /** Replaces the port that may refuse allocations. */
  set allocations(port: AllocationPort) {
    this.#allocations = port;
  }

  /** Table frames that are handed out now. */
  get tableFrames(): number {
    return this.#store.used;
  }

  /** Bytes reserved for table frames, handed out or not. */
  get storedBytes(): number {
    return this.words.byteLength;
  }

  /** A zeroed frame, or undefined when there is none left or the port refuses. */
  allocateFrame(owner: FrameOwner): number | undefined {
    if (!this.#allocations.permit("frame")) return undefined;
    const pfn = this.#poolNext < this.#poolEnd ? this.#poolNext++ : this.#freed.pop();
    if (pfn !== undefined) this.#fill(pfn, owner);
    return pfn;
  }

  /**
   * Zeroed frames one after the other, aligned to their number rounded up to a power of two.
   * @returns the first, or undefined as {@link allocateFrame}.
   */
  allocateFrames(count: number, owner: FrameOwner): number | undefined {
    if (!(Number.isInteger(count) && count >= 1)) throw new RangeError(`${count} frames`);
    if (!this.#allocations.permit("frame")) return undefined;
    const alignment = 2 ** Math.ceil(Math.log2(count));
    const first = Math.ceil(this.#poolNext / alignment) * alignment;
    if (first + count > this.#poolEnd) return undefined;
    for (let pfn = this.#poolNext; pfn < first; pfn++) this.#freed.push(pfn);
    this.#poolNext = first + count;
    for (let pfn = first; pfn < first + count; pfn++) this.#fill(pfn, owner);
    return first;
  }

  /** @throws RangeError when the frame is not a table frame. */
  freeFrame(pfn: number): void {
    const index = this.#tableIndex(pfn);
    if (index < 0) throw new RangeError(`frame ${pfn.toString(16)}h is not a table frame`);
    this.#store.free(index);
    this.#setTable(pfn, NO_FRAME);
    this.#marks.delete(pfn);
    const region = this.#regions.at(pfn);
    if (region?.use === "placed") this.#regions.remove(region);
    else this.#freed.push(pfn);
  }

  /**
   * A zeroed table frame at a chosen place.
   * @throws RangeError when the place is taken or not 0..2^40 - 1.
   */
  placeFrame(pfn: number, owner: FrameOwner): void {
    checkFrames(pfn, 1);
    this.#regions.add({ first: pfn, count: 1, use: "placed" });
    this.#fill(pfn, owner);
  }

  /**
   * Gives the pages of a backing object frames; aligned to 1 GiB, or 2 MiB for smaller ones.
   * @returns the first frame of the run; {@link userFrame} tells the frame of each page.
   * @throws RangeError when a place is taken, or the options are not as described.
   */
  addUserMemory(backing: BackingObject, options: UserMemoryOptions = {}): number {
    const pages = backing.byteLength / PAGE_SIZE;
    if (this.#users.has(backing)) throw new RangeError(`"${backing.label}" is present`);
    if (!(Number.isInteger(pages) && pages >= 1 && pages <= USER_PAGES_LIMIT)) {
      throw new RangeError(`"${backing.label}" has ${backing.byteLength} bytes`);
    }
    const runShift = options.runPages === undefined ? ONE_RUN : Math.log2(options.runPages);
    if (!(Number.isInteger(runShift) && runShift >= 0 && runShift <= ONE_RUN)) {
      throw new RangeError(`runs of ${options.runPages} pages`);
    }
    const alignment = pages >= GIB_FRAMES ? GIB_FRAMES : CHUNK_FRAMES;
    const count = Math.ceil(pages / CHUNK_FRAMES) * CHUNK_FRAMES;
    const first = options.first ?? this.#regions.findFree(this.#userFirst, count, alignment);
    checkFrames(first, count);
    if (first % CHUNK_FRAMES !== 0) throw new RangeError(`frame ${first} is not a multiple of 512`);
    this.#regions.add({ first, count, use: backing });
    const user = new UserMemory(backing, first, runShift);
    this.#users.set(backing, user);
    const number = this.#userNumbers.push(user) - 1;
    user.number = number;
    return first;
  }

  /** Its frames become absent. @throws RangeError when it is not present. */
  removeUserMemory(backing: BackingObject): void {
    const user = this.#present(backing);
    this.directory.removeRegion(user.number);
    this.#userNumbers[user.number] = undefined;
    this.#users.delete(backing);
    const region = this.#regions.at(user.first);
    if (region !== undefined) this.#regions.remove(region);
    for (const pfn of this.#marks.keys()) {
      if (pfn >= user.first && pfn < user.first + user.pages) this.#marks.delete(pfn);
    }
  }

  hasUserMemory(backing: BackingObject): boolean {
    return this.#users.has(backing);
  }

  /** The one frame of page `page` of the object. @throws RangeError when there is none. */
  userFrame(backing: BackingObject, page: number): number {
    const user = this.#present(backing);
    const place = user.exchange(page);
    if (place < 0) throw new RangeError(`"${backing.label}" has no page ${page}`);
    return user.first + place;
  }

  /** Declares frames to be a device's. @throws RangeError when one is taken. */
  addMmio(first: number, count: number, label: string): void {
    checkFrames(first, count);
    this.#regions.add({ first, count, use: { label } });
  }

  /** @throws RangeError when no device range begins there. */
  removeMmio(first: number): void {
    const region = this.#regions.at(first);
    if (region === undefined || region.first !== first || this.useOf(first)?.kind !== "mmio") {
      throw new RangeError(`no device memory begins at frame ${first.toString(16)}h`);
    }
    this.#regions.remove(region);
  }

  /** What the frame is used for; undefined when nothing is there. */
  useOf(pfn: number): FrameUse | undefined {
    const owner = this.#store.ownerOf(this.#tableIndex(pfn));
    if (owner !== undefined) return { kind: "table", owner };
    const use = this.#regions.at(pfn)?.use;
    if (use === undefined || use === "pool" || use === "placed") return undefined;
    if (use === "interrupt") return { kind: "interrupt" };
    if (!("byteLength" in use)) return { kind: "mmio", label: use.label };
    const user = this.#users.get(use);
    const page = user?.exchange(pfn - user.first) ?? -1;
    return page < 0 ? undefined : { kind: "user", backing: use, page };
  }

  /** Table frames and their owners, in no particular order. */
  tables(): IterableIterator<{ readonly pfn: number; readonly owner: FrameOwner }> {
    return this.#store.entries();
  }

  /**
   * Makes a frame fail from now on, or mends it (`ok`).
   * @throws RangeError when no memory is there.
   */
  mark(pfn: number, status: "ok" | "poisoned" | "violation"): void {
    const use = this.useOf(pfn);
    if (use?.kind !== "table" && use?.kind !== "user") {
      throw new RangeError(`no memory at frame ${pfn.toString(16)}h`);
    }
    if (status === "ok") this.#marks.delete(pfn);
    else this.#marks.set(pfn, MemoryStatus[status]);
    const index = this.#tableIndex(pfn);
    if (index >= 0) this.#setTable(pfn, status === "ok" ? index : -2 - index);
  }

  /**
   * Index in `words` of the 8-byte entry at an address, or -1 when a read must take the slow path
   * of {@link read64}. Hot: called for every table entry.
   */
  wordAt(lo: number, hi: number): number {
    if (hi >>> 20 !== 0) return -1;
    const value = this.directory.find((hi << 11) | (lo >>> 21));
    if (value < 0) return -1;
    const frame = this.directory.frame(value, (lo >>> 12) & 511);
    return frame < 0 ? -1 : (frame << 10) | ((lo & 0xff8) >>> 2);
  }

  /** Index in `words` of a table frame's first word, or -1. */
  frameWord(pfn: number): number {
    return this.wordAt(addressLow(pfn, 0), addressHigh(pfn));
  }

  /** Reads the 8 bytes at an address (its low 3 bits are ignored) into `lo` and `hi`. */
  read64(lo: number, hi: number): MemoryStatus {
    const word = this.wordAt(lo, hi);
    if (word >= 0) {
      this.lo = (this.words[word] as number) | 0;
      this.hi = (this.words[word + 1] as number) | 0;
      return MemoryStatus.ok;
    }
    const user = this.#userWords(lo, hi);
    if (user === undefined) return this.#readSlowly(lo, hi);
    this.lo = (user[this.#userWord] as number) | 0;
    this.hi = (user[this.#userWord + 1] as number) | 0;
    return MemoryStatus.ok;
  }

  /** Writes 8 bytes at an address (its low 3 bits are ignored). */
  write64(lo: number, hi: number, valueLo: number, valueHi: number): MemoryStatus {
    const word = this.wordAt(lo, hi);
    if (word >= 0) {
      this.words[word] = valueLo;
      this.words[word + 1] = valueHi;
      return MemoryStatus.ok;
    }
    const user = this.#userWords(lo, hi);
    if (user !== undefined) {
      user[this.#userWord] = valueLo;
      user[this.#userWord + 1] = valueHi;
      return MemoryStatus.ok;
    }
    const words = Uint32Array.of(valueLo, valueHi);
    const pfn = (hi >>> 0) * 0x10_0000 + (lo >>> 12);
    return this.#copy(pfn, lo & 0xff8, new Uint8Array(words.buffer), true);
  }

  /**
   * Copies bytes of one frame out.
   * @throws RangeError when they do not lie inside the frame, or are none.
   */
  read(pfn: number, offset: number, into: Uint8Array): MemoryStatus {
    return this.#copy(pfn, offset, into, false);
  }

  /**
   * Copies bytes into one frame.
   * @throws RangeError when they do not lie inside the frame, or are none.
   */
  write(pfn: number, offset: number, from: Uint8Array): MemoryStatus {
    return this.#copy(pfn, offset, from, true);
  }

  /** Set by {@link #userWords}: the index in its result. */
  #userWord = 0;

  /** The words of the user page at an address, when they can be used directly. */
  #userWords(lo: number, hi: number): Uint32Array | undefined {
    if (hi >>> 20 !== 0 || this.#marks.size !== 0) return undefined;
    const chunk = (hi << 11) | (lo >>> 21);
    const value = this.directory.find(chunk);
    if (value >= 0 || value === NOT_THERE) return undefined;
    const user = this.#userNumbers[~value];
    if (user?.words === undefined) return undefined;
    const place = ((chunk - user.firstChunk) << 9) | ((lo >>> 12) & 511);
    const page = user.exchange(place);
    if (page < 0) return undefined;
    this.#userWord = page * 1024 + ((lo & 0xff8) >>> 2);
    return user.words;
  }

  #readSlowly(lo: number, hi: number): MemoryStatus {
    const bytes = new Uint8Array(8);
    const pfn = (hi >>> 0) * 0x10_0000 + (lo >>> 12);
    const status = this.#copy(pfn, lo & 0xff8, bytes, false);
    const view = new DataView(bytes.buffer);
    this.lo = view.getInt32(0, true);
    this.hi = view.getInt32(4, true);
    return status;
  }

  #copy(pfn: number, offset: number, bytes: Uint8Array, isWrite: boolean): MemoryStatus {
    const { length } = bytes;
    if (!(offset >= 0 && length >= 1 && offset + length <= PAGE_SIZE)) {
      throw new RangeError(`bytes ${offset} to ${offset + length} of a frame`);
    }
    if (pfn >= FRAME_LIMIT) return MemoryStatus.absent;
    const mark = this.#marks.size === 0 ? undefined : this.#marks.get(pfn);
    if (mark === MemoryStatus.violation || (mark !== undefined && !isWrite)) return mark;
    if (mark !== undefined && length === PAGE_SIZE) this.mark(pfn, "ok");
    const index = this.#tableIndex(pfn);
    if (index >= 0) {
      const at = index * PAGE_SIZE + offset;
      if (isWrite) this.#store.bytes.set(bytes, at);
      else bytes.set(this.#store.bytes.subarray(at, at + length));
      return MemoryStatus.ok;
    }
    return this.#copyUser(pfn, offset, bytes, isWrite);
  }

  #copyUser(pfn: number, offset: number, bytes: Uint8Array, isWrite: boolean): MemoryStatus {
    const use = this.#regions.at(pfn)?.use;
    if (use === undefined || use === "pool" || use === "placed") return MemoryStatus.absent;
    if (use === "interrupt") return MemoryStatus.interrupt;
    if (!("byteLength" in use)) return MemoryStatus.mmio;
    const user = this.#present(use);
    const page = user.exchange(pfn - user.first);
    if (page < 0) return MemoryStatus.absent;
    const chunk = Math.floor(pfn / CHUNK_FRAMES);
    if (this.directory.find(chunk) === NOT_THERE) this.directory.add(chunk, user.number);
    if (isWrite) use.write(page * PAGE_SIZE + offset, bytes);
    else use.read(page * PAGE_SIZE + offset, bytes);
    return MemoryStatus.ok;
  }

  #present(backing: BackingObject): UserMemory {
    const user = this.#users.get(backing);
    if (user === undefined) throw new RangeError(`"${backing.label}" is not present`);
    return user;
  }

  /** Index of the table frame's bytes, or below zero. */
  #tableIndex(pfn: number): number {
    const value = this.directory.find(Math.floor(pfn / CHUNK_FRAMES) | 0);
    const frame = value < 0 ? NO_FRAME : this.directory.frame(value, pfn % CHUNK_FRAMES);
    return frame < NO_FRAME ? -2 - frame : frame;
  }

  #setTable(pfn: number, index: number): void {
    const value = this.directory.find(Math.floor(pfn / CHUNK_FRAMES));
    this.directory.setFrame(value, pfn % CHUNK_FRAMES, index);
  }

  #fill(pfn: number, owner: FrameOwner): void {
    const chunk = Math.floor(pfn / CHUNK_FRAMES);
    if (this.directory.find(chunk) === NOT_THERE) this.directory.add(chunk, undefined);
    this.#setTable(pfn, this.#store.take(pfn, owner));
    this.words = this.#store.words;
  }
}

function checkFrames(first: number, count: number): void {
  if (Number.isInteger(first) && first >= 0 && count >= 1 && first + count <= FRAME_LIMIT) return;
  throw new RangeError(`${count} frames from ${first} on do not lie below 2^40`);
}
