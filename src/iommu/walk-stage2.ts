/**
 * The walk of a stage-2 table: VT-d 5.0 § 3.7, entries § 9.8.
 *
 * Results stay in fields, as signed halves: a walk allocates nothing. One entry is read per level;
 * where memory is a table frame the entry is taken from `memory.words` directly.
 */
import { MemoryStatus, type PhysicalMemory } from "../memory/index.js";
import type { WalkObserver } from "./iommu-ports.js";
import { NO_STAGE1, Rights } from "./rights.js";
import { entryOffset, offsetMask, reservedHigh } from "./table-entry.js";
import { WalkFault } from "./walk-result.js";

const READ = 1;
const WRITE = 2;
const PAGE_SIZE = 1 << 7;
const ACCESSED = 1 << 8;
const DIRTY = 1 << 9;
const SNOOP = 1 << 11;
/** Transient mapping, bit 62: reserved unless device TLBs are supported. */
const TRANSIENT_HIGH = 1 << 30;

/*
 * Copies of what the loops need from other modules: a constant of this module is part of the
 * compiled code, an imported one is fetched and checked at every use.
 */
const entryAt = entryOffset;
const RIGHTS_1 = NO_STAGE1;
const NONE = WalkFault.none;

/**
 * Rights from read and write of all entries, and the bits of the page's own. The bits of `Rights`
 * stand as those of the entries do, so that they are moved, not tested.
 */
const rightsOf = (granted: number, leaf: number): number =>
  RIGHTS_1 | ((granted & 3) << 3) | ((leaf & DIRTY) >>> 4) | ((leaf & SNOOP) >>> 5);

/** What the unit's tables may use. */
export interface Stage2Features {
  /** Bits of a physical address. */
  readonly addressWidth: number;
  readonly pages2M: boolean;
  readonly pages1G: boolean;
  readonly snoopControl: boolean;
  readonly deviceTlb: boolean;
}

/** Walks stage-2 tables of one unit. */
export class Stage2Walk {
  readonly #memory: PhysicalMemory;
  /** Highest level whose entries may be pages. */
  readonly #pageLevel2: boolean;
  readonly #pageLevel3: boolean;
  readonly #reservedHigh: number;
  readonly #snoopReserved: number;
  observer: WalkObserver | undefined = undefined;
  /** Entries read so far. */
  reads = 0;
  /** The translated address. */
  lo = 0;
  hi = 0;
  pageShift = 12;
  /** Bits of {@link Rights}, those of stage 1 set. */
  rights = 0;

  constructor(memory: PhysicalMemory, features: Stage2Features) {
    this.#memory = memory;
    this.#pageLevel2 = features.pages2M;
    this.#pageLevel3 = features.pages1G;
    const transient = features.deviceTlb ? 0 : TRANSIENT_HIGH;
    this.#reservedHigh = reservedHigh(features.addressWidth) | transient;
    this.#snoopReserved = features.snoopControl ? 0 : SNOOP;
  }

  /**
   * @param tableLo address of the root table.
   * @param lo the address to translate; bits above those of the levels are the caller's affair.
   * @param need bits 0 read and 1 write that the access needs; 0 asks for the rights only.
   * @param tracksDirty sets accessed and dirty bits.
   * @returns one of {@link WalkFault}.
   */
  walk(
    tableLo: number,
    tableHi: number,
    levels: number,
    lo: number,
    hi: number,
    need: number,
    tracksDirty: boolean,
  ): number {
    const { words, directory } = this.#memory;
    const { maps } = directory;
    const reserved = this.#reservedHigh;
    let entryLo = tableLo | 0;
    let entryHi = tableHi | 0;
    let granted = READ | WRITE;
    let level = this.observer === undefined && tracksDirty === false ? levels | 0 : 0;
    let lastChunk = -1;
    let map = 0;
    // This method stays small enough to become part of its callers.
    while (level > 0) {
      // Tables of one address space mostly lie in few chunks: the last one is tried first.
      const chunk = ((entryHi << 12) >>> 1) | (entryLo >>> 21);
      if (chunk !== lastChunk) {
        map = directory.mapOf(chunk);
        if (map < 0) break;
        lastChunk = chunk;
      }
      const frame = maps[map | ((entryLo >>> 12) & 511)] as number;
      if (frame < 0) break;
      const word = (frame << 10) | (entryAt(lo, hi, level) >>> 2);
      entryLo = (words[word] as number) | 0;
      entryHi = (words[word | 1] as number) | 0;
      granted &= entryLo;
      if (granted === 0 || (need & ~granted) !== 0 || (entryHi & reserved) !== 0) break;
      if (level === 1) {
        if ((entryLo & this.#snoopReserved) !== 0) break;
        this.reads += levels;
        this.lo = (entryLo & ~0xfff) | (lo & 0xfff);
        this.hi = entryHi & 0xf_ffff;
        this.pageShift = 12;
        this.rights = rightsOf(granted, entryLo | DIRTY);
        return NONE;
      }
      if ((entryLo & (PAGE_SIZE | SNOOP)) !== 0) break;
      level--;
    }
    // All else, and what is observed or tracked: step by step, from the beginning.
    return this.#walkStepwise(tableLo, tableHi, levels, lo, hi, need, tracksDirty);
  }

  /** The walk with every case that can come up. */
  #walkStepwise(
    tableLo: number,
    tableHi: number,
    levels: number,
    lo: number,
    hi: number,
    need: number,
    tracksDirty: boolean,
  ): number {
    const memory = this.#memory;
    const words = memory.words;
    let entryLo = tableLo;
    let entryHi = tableHi;
    let granted = READ | WRITE;
    let level = levels;
    for (;;) {
      const atLo = (entryLo & ~0xfff) | entryOffset(lo, hi, level);
      const atHi = entryHi & 0xf_ffff;
      this.reads++;
      const word = memory.wordAt(atLo, atHi);
      if (word >= 0) {
        entryLo = (words[word] as number) | 0;
        entryHi = (words[word | 1] as number) | 0;
      } else {
        if (memory.read64(atLo, atHi) !== MemoryStatus.ok) return WalkFault.access;
        entryLo = memory.lo;
        entryHi = memory.hi;
      }
      if (this.observer !== undefined) {
        this.observer.entryRead("stage2-entry", level, atLo, atHi, entryLo, entryHi);
      }
      if ((entryLo & (READ | WRITE)) === 0) return WalkFault.notPresent;
      const isPage = level === 1 || (entryLo & PAGE_SIZE) !== 0;
      if (this.#isReserved(entryLo, entryHi, level, isPage)) return WalkFault.reserved;
      granted &= entryLo;
      if ((need & ~granted) !== 0) {
        this.rights = rightsOf(granted, 0);
        return WalkFault.denied;
      }
      if (tracksDirty) {
        const wanted = isPage && (need & WRITE) !== 0 ? ACCESSED | DIRTY : ACCESSED;
        if ((entryLo & wanted) !== wanted) {
          entryLo |= wanted;
          const status = memory.write64(atLo, atHi, entryLo, entryHi);
          if (status !== MemoryStatus.ok) return WalkFault.update;
        }
      }
      if (isPage) break;
      level--;
    }
    const shift = level === 1 ? 12 : level === 2 ? 21 : 30;
    const mask = offsetMask(shift);
    this.lo = (entryLo & ~mask) | (lo & mask);
    this.hi = entryHi & 0xf_ffff;
    this.pageShift = shift;
    this.rights = rightsOf(granted, tracksDirty ? entryLo : entryLo | DIRTY);
    return WalkFault.none;
  }

  /** Bits that must be zero: § 9.8. */
  #isReserved(entryLo: number, entryHi: number, level: number, isPage: boolean): boolean {
    if ((entryHi & this.#reservedHigh) !== 0) return true;
    if (!isPage) return (entryLo & SNOOP) !== 0;
    if ((entryLo & this.#snoopReserved) !== 0) return true;
    if (level === 1) return false;
    if (level === 2) return !this.#pageLevel2 || (entryLo & 0x1f_f000) !== 0;
    return level !== 3 || !this.#pageLevel3 || (entryLo & 0x3fff_f000) !== 0;
  }
}
