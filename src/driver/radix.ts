/**
 * RadixTable: the page table of one address space, in the bytes of simulated memory.
 *
 * Addresses are frame numbers (4 KiB): `iova` on the device's side, `pfn` in memory. The algorithms
 * know no format; masks come from a RadixFormat.
 *
 * Invariants. A table other than the root has at least one entry in use, so that looking at an
 * entry tells whether anything below is mapped. `map` and `split` change nothing when they throw.
 * `unmap` never fails; tables that fall empty are unlinked and handed to the caller, who frees them
 * once no cache can lead to them.
 *
 * Hot: `map` and `unmap`. Entries are pairs of 32-bit words; the lowest table used last is kept, so
 * that consecutive calls do not walk again.
 */
import { UapiError } from "../abi/index.js";
import type { FrameOwner } from "../memory/index.js";
import { fillRun, indexAt } from "./radix-entry.js";
import { ENTRIES, framesPerEntry, type RadixFormat } from "./radix-format.js";
import type { TableFrames } from "./table-frames.js";

const NO_FRAME = -1;
const TAKEN = -2;
const LOST = -3;
const ABSENT = -4;
/** Frames below one entry of level 4. */
const UPPER = 2 ** 27;

/** One page table; see the head of this file. */
export class RadixTable {
  readonly format: RadixFormat;
  /** Frame of the root table. */
  readonly root: number;
  readonly #frames: TableFrames;
  readonly #owner: FrameOwner;
  /** Of the format. */
  readonly #frameShift: number;
  readonly #present: number;
  /** Frames that differ in the lower half of an entry only. */
  readonly #perHigh: number;
  readonly #rootWord: number;
  #tables = 1;
  /** The level-1 table used last: which it is (`iova >>> 9`), and its first word. */
  #lastKey = -1;
  #lastWord = 0;
  /** Result of {@link RadixTable.unmap}: frames of tables that were unlinked. */
  readonly unlinked: number[] = [];

  /** @throws UapiError ENOMEM. */
  constructor(frames: TableFrames, format: RadixFormat, owner: FrameOwner) {
    this.format = format;
    this.#frames = frames;
    this.#owner = owner;
    this.#frameShift = format.frameShift;
    this.#present = format.present;
    this.#perHigh = 2 ** (32 - format.frameShift);
    this.root = frames.allocate(owner);
    this.#rootWord = frames.memory.frameWord(this.root);
  }

  /** Frames of its tables, the root included; without the unlinked ones. */
  get tableCount(): number {
    return this.#tables;
  }

  /** Frames that can be mapped: 0 up to here. */
  get limit(): number {
    return framesPerEntry(this.format.levels + 1);
  }

  /**
   * Maps `count` frames from `iova` on to those from `pfn` on, with the largest pages that
   * alignment allows.
   * @param prot a `Prot` mask.
   * @param low bits of the lower half that every page gets besides (snoop).
   * @throws UapiError EEXIST a part is mapped already; ENOMEM; EIO a table's memory is lost.
   */
  map(iova: number, pfn: number, count: number, prot: number, low = 0): void {
    const { protLow, protHigh } = this.format;
    const flagsLow = (protLow[prot & 15] as number) | low;
    const flagsHigh = protHigh[prot & 15] as number;
    if (count === 1 && this.#mapNext(iova, pfn, flagsLow, flagsHigh)) return;
    let done = 0;
    while (done < count) {
      const at = iova + done;
      const level = count - done < ENTRIES ? 1 : this.#pageLevel(at, pfn + done, count - done);
      const word =
        level === 1 && Math.floor(at / ENTRIES) === this.#lastKey
          ? this.#lastWord
          : this.#reach(at, level);
      if (word < 0) this.#refuse(iova, done, at, word);
      const mark = flagsLow | (this.format.leafMark[level] as number);
      const filled = this.#fill(word, level, at, pfn + done, count - done, mark, flagsHigh);
      if (filled < 0) this.#refuse(iova, done + ~filled, at, TAKEN);
      done += filled;
    }
  }

  /**
   * Removes every page that lies in the range; one that is only partly inside is removed as a
   * whole.
   * @returns frames removed. Tables that fell empty are in `unlinked`.
   */
  unmap(iova: number, count: number): number {
    const key = Math.floor(iova / ENTRIES);
    const last = iova + count - 1;
    if (key === this.#lastKey && Math.floor(last / ENTRIES) === key) {
      const word = this.#lastWord;
      const used = this.#frames.counts[word >>> 10] as number;
      const base = key * ENTRIES;
      if (used > count) return this.#clearPages(word, iova - base, last - base);
    }
    this.#lastKey = -1;
    return this.#clear(this.#rootWord, this.format.levels, 0, iova, last);
  }

  /** Frame that `iova` leads to, or undefined. */
  translate(iova: number): number | undefined {
    const found = this.#find(iova);
    if (found < 0) return undefined;
    const size = framesPerEntry(this.#foundLevel);
    return this.#frameAt(found) + (iova % size);
  }

  /** Frames of the page that holds `iova`; 0 when nothing is mapped there. */
  pageFrames(iova: number): number {
    return this.#find(iova) < 0 ? 0 : framesPerEntry(this.#foundLevel);
  }

  /**
   * Replaces large pages so that none reaches across the boundary below `iova`. The same frames
   * stay mapped with the same rights.
   * @returns whether a page was replaced.
   * @throws UapiError ENOMEM.
   */
  split(iova: number): boolean {
    let done = false;
    for (;;) {
      const word = this.#find(iova);
      const level = this.#foundLevel;
      if (word < 0 || level === 1 || iova % framesPerEntry(level) === 0) return done;
      this.#replacePage(word, level);
      done = true;
    }
  }

  /**
   * Calls `dirty` for runs of pages that hardware has written to, within the range, ascending; and
   * clears their marks when `clear`.
   * @returns whether a mark was cleared.
   */
  scanDirty(
    first: number,
    count: number,
    clear: boolean,
    dirty: (iova: number, count: number) => void,
  ): boolean {
    const run = { first: 0, end: -1 };
    const page = (iova: number, size: number): void => {
      if (iova === run.end) {
        run.end += size;
        return;
      }
      if (run.end >= 0) dirty(run.first, run.end - run.first);
      run.first = iova;
      run.end = iova + size;
    };
    const root = this.#frames.memory.frameWord(this.root);
    const last = first + count - 1;
    const cleared = this.#scan(root, this.format.levels, 0, first, last, clear, page);
    if (run.end >= 0) dirty(run.first, run.end - run.first);
    return cleared;
  }

  /** Every page: its address, frame, size in frames and lower half. Ascending. */
  *pages(): IterableIterator<{ iova: number; pfn: number; count: number; low: number }> {
    yield* this.#pagesOf(this.root, this.format.levels, 0);
  }

  /** Gives all frames back, those in `unlinked` included. Must not be used afterwards. */
  free(): void {
    for (const pfn of this.unlinked.splice(0)) this.#frames.free(pfn);
    this.#freeBelow(this.root, this.format.levels);
    this.#lastKey = -1;
    this.#tables = 0;
  }

  /** Maps one page in the lowest table used last. @returns false when it is not there, or taken. */
  #mapNext(iova: number, pfn: number, low: number, high: number): boolean {
    const key = Math.floor(iova / ENTRIES);
    if (key !== this.#lastKey) return false;
    const word = this.#lastWord + 2 * (iova - key * ENTRIES);
    if (((this.#frames.memory.words[word] as number) & this.#present) !== 0) return false;
    this.#put(word, pfn, low | (this.format.leafMark[1] as number), high);
    const counts = this.#frames.counts;
    counts[word >>> 10] = (counts[word >>> 10] as number) + 1;
    return true;
  }

  /** The level of the largest page that fits at the start of the range. */
  #pageLevel(iova: number, pfn: number, count: number): number {
    let level = this.format.levels;
    for (; level > 1; level--) {
      if (((this.format.leafLevels >>> level) & 1) === 0) continue;
      const size = framesPerEntry(level);
      if (count >= size && iova % size === 0 && pfn % size === 0) break;
    }
    return level;
  }

  /** Index of the first word of the entry's table at `level`, made where missing; or a code < 0. */
  #reach(iova: number, level: number): number {
    const upper = Math.floor(iova / UPPER);
    const lower = (iova - upper * UPPER) | 0;
    let table = this.#rootWord;
    for (let at = this.format.levels; at > level; at--) {
      const word = table + 2 * indexAt(lower, upper | 0, at);
      table = this.#tableOf(word, at);
      if (table === ABSENT) table = this.#addTable(word, at);
      if (table < 0) return table;
    }
    if (level === 1) {
      this.#lastKey = Math.floor(iova / ENTRIES);
      this.#lastWord = table;
    }
    return table;
  }

  /** First word of the table that an entry of `level` leads to; ABSENT, TAKEN or LOST without. */
  #tableOf(word: number, level: number): number {
    const { words } = this.#frames.memory;
    const low = words[word] as number;
    if ((low & this.#present) === 0) return ABSENT;
    const { tableMask, tableValue } = this.format;
    if ((low & tableMask) !== (tableValue[level] as number)) return TAKEN;
    const table = this.#tableAt(word);
    return table < 0 ? LOST : table;
  }

  /** Links a new table at the entry. @returns its first word, or NO_FRAME. */
  #addTable(word: number, level: number): number {
    const pfn = this.#frames.tryAllocate(this.#owner);
    if (pfn < 0) return NO_FRAME;
    this.#tables++;
    const { tableLow, tableHigh } = this.format;
    this.#put(word, pfn, tableLow[level] as number, tableHigh[level] as number);
    const counts = this.#frames.counts;
    counts[word >>> 10] = (counts[word >>> 10] as number) + 1;
    return this.#frames.memory.frameWord(pfn);
  }

  /**
   * Fills entries of one table from `iova` on.
   * @returns frames mapped, or `~frames` when the next entry is in use.
   */
  #fill(
    table: number,
    level: number,
    iova: number,
    pfn: number,
    count: number,
    low: number,
    high: number,
  ): number {
    const size = level === 1 ? 1 : framesPerEntry(level);
    const entry = Math.floor(iova / size);
    const index = (entry - Math.floor(entry / ENTRIES) * ENTRIES) | 0;
    const wanted = level === 1 ? count : Math.floor(count / size);
    const entries = (wanted < ENTRIES - index ? wanted : ENTRIES - index) | 0;
    const pfnHigh = Math.floor(pfn / this.#perHigh);
    // A remainder or a power of doubles would be a call: 40 ns each.
    const frameLow = (pfn - pfnHigh * this.#perHigh) << this.#frameShift;
    const valueHigh = high | pfnHigh;
    const step = (size << this.#frameShift) | 0;
    const first = (table + 2 * index) | 0;
    const { words } = this.#frames.memory;
    const done = fillRun(words, first, entries, frameLow, low, valueHigh, step, this.#present);
    const counts = this.#frames.counts;
    counts[table >>> 10] = (counts[table >>> 10] as number) + done;
    return done === entries ? done * size : ~(done * size);
  }

  /** Takes back what a failed `map` has done, and says why it failed. */
  #refuse(iova: number, done: number, at: number, code: number): never {
    const before = this.unlinked.length;
    if (done > 0) this.unmap(iova, done);
    this.#prune(at);
    // Nobody can have looked at these tables; those from before wait for their caches.
    for (const pfn of this.unlinked.splice(before)) this.#frames.free(pfn);
    const evidence = [{ kind: "page", frame: at, table: this.#owner.label }];
    if (code === TAKEN)
      throw new UapiError("EEXIST", "the address is mapped already", { evidence });
    if (code === LOST) throw new UapiError("EIO", "memory of a page table is lost", { evidence });
    throw new UapiError("ENOMEM", "no frame is left for a page table", { evidence });
  }

  /** Unlinks empty tables on the way to `iova`. */
  #prune(iova: number): void {
    this.#lastKey = -1;
    this.#clear(this.#rootWord, this.format.levels, 0, iova, iova - 1);
  }

  /** Removes what lies in first..last below a table; with last = first - 1 only empty tables. */
  #clear(table: number, level: number, base: number, first: number, last: number): number {
    const { memory } = this.#frames;
    const size = framesPerEntry(level);
    const from = first <= base ? 0 : Math.floor((first - base) / size);
    const reach = last < first ? first : last;
    const to = Math.min(ENTRIES - 1, Math.floor((reach - base) / size));
    if (table < 0) return 0;
    if (level === 1) {
      if (last < first) return 0;
      // Stays valid while the table has entries; the caller of an empty one forgets it.
      this.#lastKey = Math.floor(base / ENTRIES);
      this.#lastWord = table;
      return this.#clearPages(table, from, to);
    }
    let removed = 0;
    for (let index = from; index <= to; index++) {
      const word = table + 2 * index;
      const low = memory.words[word] as number;
      if ((low & this.format.present) === 0) continue;
      if (this.#leadsToTable(low, level)) {
        const child = this.#frameAt(word);
        const childWord = this.#tableAt(word);
        removed += this.#clear(childWord, level - 1, base + index * size, first, last);
        if (childWord >= 0 && this.#frames.counts[childWord >>> 10] !== 0) continue;
        this.#tables--;
        this.#lastKey = -1;
        this.unlinked.push(child);
      } else if (last < first) continue;
      else removed += size;
      this.#erase(word);
    }
    return removed;
  }

  /** Clears entries `from` to `to` of a level-1 table. @returns how many were in use. */
  #clearPages(table: number, from: number, to: number): number {
    const { words } = this.#frames.memory;
    const { present } = this.format;
    const counts = this.#frames.counts;
    const end = table + 2 * to;
    let removed = 0;
    for (let word = table + 2 * from; word <= end; word += 2) {
      if (((words[word] as number) & present) === 0) continue;
      words[word] = 0;
      words[word + 1] = 0;
      removed++;
    }
    counts[table >>> 10] = (counts[table >>> 10] as number) - removed;
    return removed;
  }

  #foundLevel = 0;

  /** Word of the page's entry, its level in `#foundLevel`; -1 when nothing is mapped. */
  #find(iova: number): number {
    if (iova < 0 || iova >= this.limit) return -1;
    const { memory } = this.#frames;
    const upper = Math.floor(iova / UPPER);
    const lower = (iova - upper * UPPER) | 0;
    let table = this.#rootWord;
    for (let level = this.format.levels; level >= 1 && table >= 0; level--) {
      const word = table + 2 * indexAt(lower, upper, level);
      const low = memory.words[word] as number;
      if ((low & this.format.present) === 0) return -1;
      this.#foundLevel = level;
      if (!this.#leadsToTable(low, level)) return word;
      table = this.#tableAt(word);
    }
    return -1;
  }

  /** Puts a table of 512 smaller pages in place of a page. */
  #replacePage(word: number, level: number): void {
    const { memory } = this.#frames;
    const pfn = this.#frames.allocate(this.#owner);
    this.#tables++;
    const { leafMark, tableLow, tableHigh, frameShift, frameHigh } = this.format;
    const frame = this.#frameAt(word);
    const frameBits = -(2 ** frameShift) | 0;
    const low = (memory.words[word] as number) & ~frameBits & ~(leafMark[level] as number);
    const flags = low | (leafMark[level - 1] as number);
    const high = (memory.words[word + 1] as number) & ~frameHigh;
    const count = framesPerEntry(level);
    this.#fill(memory.frameWord(pfn), level - 1, 0, frame, count, flags, high);
    this.#put(word, pfn, tableLow[level] as number, tableHigh[level] as number);
    this.#lastKey = -1;
  }

  #scan(
    table: number,
    level: number,
    base: number,
    first: number,
    last: number,
    clear: boolean,
    page: (iova: number, size: number) => void,
  ): boolean {
    if (table < 0) return false;
    const { memory } = this.#frames;
    const { words } = memory;
    const { present, dirty } = this.format;
    const size = framesPerEntry(level);
    const from = first <= base ? 0 : Math.floor((first - base) / size);
    const to = Math.min(ENTRIES - 1, Math.floor((last - base) / size));
    let cleared = false;
    for (let index = from; index <= to; index++) {
      const word = table + 2 * index;
      const low = words[word] as number;
      if ((low & present) === 0) continue;
      const at = base + index * size;
      if (this.#leadsToTable(low, level)) {
        const child = this.#tableAt(word);
        if (this.#scan(child, level - 1, at, first, last, clear, page)) cleared = true;
      } else if ((low & dirty) !== 0) {
        page(at, size);
        if (!clear) continue;
        words[word] = low & ~dirty;
        cleared = true;
      }
    }
    return cleared;
  }

  *#pagesOf(
    pfn: number,
    level: number,
    base: number,
  ): IterableIterator<{ iova: number; pfn: number; count: number; low: number }> {
    const { memory } = this.#frames;
    const table = memory.frameWord(pfn);
    const size = framesPerEntry(level);
    for (let index = 0; index < ENTRIES && table >= 0; index++) {
      const word = table + 2 * index;
      const low = memory.words[word] as number;
      if ((low & this.format.present) === 0) continue;
      const iova = base + index * size;
      const frame = this.#frameAt(word);
      if (this.#leadsToTable(low, level)) yield* this.#pagesOf(frame, level - 1, iova);
      else yield { iova, pfn: frame, count: size, low };
    }
  }

  #freeBelow(pfn: number, level: number): void {
    const { memory } = this.#frames;
    const table = memory.frameWord(pfn);
    for (let index = 0; level > 1 && index < ENTRIES && table >= 0; index++) {
      const word = table + 2 * index;
      const low = memory.words[word] as number;
      if ((low & this.format.present) !== 0 && this.#leadsToTable(low, level)) {
        this.#freeBelow(this.#frameAt(word), level - 1);
      }
    }
    this.#frames.free(pfn);
  }

  #leadsToTable(low: number, level: number): boolean {
    const { tableMask, tableValue } = this.format;
    return level > 1 && (low & tableMask) === (tableValue[level] as number);
  }

  /** The frame number in an entry; low bits that a large page keeps for itself are left out. */
  #frameAt(word: number): number {
    const { words } = this.#frames.memory;
    const high = ((words[word + 1] as number) & this.format.frameHigh) >>> 0;
    return high * this.#perHigh + ((words[word] as number) >>> this.#frameShift);
  }

  /** First word of the table that an entry leads to; -1 when its memory is lost. */
  #tableAt(word: number): number {
    const { memory } = this.#frames;
    const { words } = memory;
    if (this.#frameShift !== 12) return memory.frameWord(this.#frameAt(word));
    const high = (words[word + 1] as number) & this.format.frameHigh;
    return memory.wordAt((words[word] as number) & ~0xfff, high);
  }

  #put(word: number, pfn: number, low: number, high: number): void {
    const { words } = this.#frames.memory;
    const pfnHigh = Math.floor(pfn / this.#perHigh);
    words[word + 1] = high | pfnHigh;
    words[word] = ((pfn - pfnHigh * this.#perHigh) << this.#frameShift) | low;
  }

  #erase(word: number): void {
    const { words } = this.#frames.memory;
    const counts = this.#frames.counts;
    words[word] = 0;
    words[word + 1] = 0;
    counts[word >>> 10] = (counts[word >>> 10] as number) - 1;
  }
}
