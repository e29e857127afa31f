/**
 * The walk of a stage-1 table, alone or nested in stage 2: VT-d 5.0 § 3.6 and § 3.8, entries § 9.7.
 *
 * Nested, every stage-1 table lies at an address of stage 2: it is translated there before the
 * entry is read, and the page's address after. Accessed bits are set in every entry used, dirty
 * bits in the page's entry when the request writes; hardware does so always in stage 1.
 */
import { MemoryStatus, type PhysicalMemory } from "../memory/index.js";
import type { WalkObserver } from "./iommu-ports.js";
import {
  allowedNeeds,
  denialOf,
  Need,
  NO_STAGE1,
  NO_STAGE2,
  Rights,
  Stage1Rules,
} from "./rights.js";
import { entryOffset, highBitsFrom, offsetMask, reservedHigh } from "./table-entry.js";
import { WalkFault } from "./walk-result.js";
import type { Stage2Walk } from "./walk-stage2.js";

const PRESENT = 1;
const WRITE = 1 << 1;
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PAGE_SIZE = 1 << 7;
const EXTENDED_ACCESSED = 1 << 10;
/** Needs that a page grants or not. */
const ACCESS = Need.read | Need.write | Need.execute;
/** Bit 63. */
const EXECUTE_DISABLE_HIGH = 1 << 31;

/*
 * Copies of what the loops need from other modules: a constant of this module is part of the
 * compiled code, an imported one is fetched and checked at every use.
 */
const entryAt = entryOffset;
const allowedBy = allowedNeeds;
const NEED_WRITE = Need.write;
const NEED_PRIVILEGED = Need.privileged;
const RULE_EXTENDED = Stage1Rules.extendedAccessed;
const RULE_NO_EXECUTE = Stage1Rules.noExecute;
const RIGHTS_2 = NO_STAGE2 | Rights.dirty;
const RIGHT_DIRTY = Rights.dirty;
const NONE = WalkFault.none;

const accessedBits = (rules: number): number =>
  (rules & RULE_EXTENDED) !== 0 ? ACCESSED | EXTENDED_ACCESSED : ACCESSED;

/**
 * Rights from write and user of all entries, and from any execute-disable (bit 31). The bits of
 * `Rights` stand as those of the entries do, so that they are moved, not tested.
 */
const rightsOf = (granted: number, executeDisable: number): number =>
  RIGHTS_2 | ((granted >>> 1) & 3) | ((executeDisable >>> 29) & 4);

export interface Stage1Features {
  /** Bits of a physical address. */
  readonly addressWidth: number;
  readonly pages1G: boolean;
}

/** Stage 2 below a stage-1 table. */
export interface NestedTable {
  lo: number;
  hi: number;
  levels: number;
  tracksDirty: boolean;
}

/** Walks stage-1 tables of one unit. */
export class Stage1Walk {
  readonly #memory: PhysicalMemory;
  readonly #stage2: Stage2Walk;
  readonly #pages1G: boolean;
  readonly #reservedHigh: number;
  /** The stage-2 table of nested walks; set by the caller before {@link walk}. */
  readonly nested: NestedTable = { lo: 0, hi: 0, levels: 4, tracksDirty: false };
  observer: WalkObserver | undefined = undefined;
  /** Stage-1 entries read so far. */
  reads = 0;
  lo = 0;
  hi = 0;
  pageShift = 12;
  /** Bits of {@link Rights}, of both stages when nested. */
  rights = 0;
  /** One of {@link Denial}, after `WalkFault.denied`. */
  denial = 0;
  /** How stage 2 faulted, after `WalkFault.stage2`: one of {@link WalkFault}. */
  stage2Fault = 0;
  /** The level of the entry at which the walk ended. */
  level = 0;
  /** The current entry: its physical address, its value. */
  #atLo = 0;
  #atHi = 0;
  #entryLo = 0;
  #entryHi = 0;
  /** Nested: the current entry's address in the space of stage 2, and the rights there. */
  #guestLo = 0;
  #guestHi = 0;
  #tableRights = 0;

  constructor(memory: PhysicalMemory, stage2: Stage2Walk, features: Stage1Features) {
    this.#memory = memory;
    this.#stage2 = stage2;
    this.#pages1G = features.pages1G;
    this.#reservedHigh = reservedHigh(features.addressWidth);
  }

  /**
   * @param need bits of {@link Need}; without `read` and `write` it asks for the rights only.
   * @param rules bits of {@link Stage1Rules}.
   * @param isNested tables and pages lie in the space of stage 2 ({@link nested}).
   * @returns one of {@link WalkFault}.
   */
  walk(
    tableLo: number,
    tableHi: number,
    levels: number,
    lo: number,
    hi: number,
    need: number,
    rules: number,
    isNested: boolean,
  ): number {
    if (isNested || this.observer !== undefined) {
      return this.#walkStepwise(tableLo, tableHi, levels, lo, hi, need, rules, isNested);
    }
    const { words, directory } = this.#memory;
    const { maps } = directory;
    // Parameters are tagged values; as integers they stay in registers.
    const inLo = lo | 0;
    const inHi = hi | 0;
    const needs = need | 0;
    const ruled = rules | 0;
    const accessed = accessedBits(ruled) | PRESENT;
    const wanted = (needs & NEED_WRITE) !== 0 ? accessed | DIRTY : accessed;
    const reserved =
      this.#reservedHigh | ((ruled & RULE_NO_EXECUTE) !== 0 ? 0 : EXECUTE_DISABLE_HIGH);
    let entryLo = tableLo | 0;
    let entryHi = tableHi | 0;
    let granted = WRITE | USER;
    let executeDisable = 0;
    let level = levels | 0;
    let lastChunk = -1;
    let map = 0;
    for (;;) {
      // Tables of one address space mostly lie in few chunks: the last one is tried first.
      const chunk = ((entryHi << 12) >>> 1) | (entryLo >>> 21);
      if (chunk !== lastChunk) {
        map = directory.mapOf(chunk);
        if (map < 0) break;
        lastChunk = chunk;
      }
      const frame = maps[map | ((entryLo >>> 12) & 511)] as number;
      if (frame < 0) break;
      const word = (frame << 10) | (entryAt(inLo, inHi, level) >>> 2);
      entryLo = (words[word] as number) | 0;
      entryHi = (words[word | 1] as number) | 0;
      if ((entryLo & accessed) !== accessed || (entryHi & reserved) !== 0) break;
      granted &= entryLo;
      executeDisable |= entryHi;
      if (level === 1) {
        if ((entryLo & wanted) !== wanted) break;
        const rights = rightsOf(granted, executeDisable & EXECUTE_DISABLE_HIGH);
        const allowed = allowedBy(rights, needs & NEED_PRIVILEGED, ruled);
        if (allowed === 0 || (needs & ~allowed & ACCESS) !== 0) break;
        this.reads += levels;
        this.lo = (entryLo & ~0xfff) | (inLo & 0xfff);
        this.hi = entryHi & 0xf_ffff;
        this.pageShift = 12;
        this.rights = (entryLo & DIRTY) !== 0 ? rights : rights & ~RIGHT_DIRTY;
        return NONE;
      }
      if ((entryLo & PAGE_SIZE) !== 0) break;
      level--;
    }
    // A large page, a fault, bits to set, or memory that is no table frame: from the beginning.
    return this.#walkStepwise(tableLo, tableHi, levels, lo, hi, need, rules, isNested);
  }

  /** The walk with every case that can come up. */
  #walkStepwise(
    tableLo: number,
    tableHi: number,
    levels: number,
    lo: number,
    hi: number,
    need: number,
    rules: number,
    isNested: boolean,
  ): number {
    const memory = this.#memory;
    const accessed = accessedBits(rules);
    // Nested, a table's address beyond the host's memory is beyond stage 2, which says so itself.
    const reserved =
      (isNested ? 0 : this.#reservedHigh) |
      ((rules & Stage1Rules.noExecute) !== 0 ? 0 : EXECUTE_DISABLE_HIGH);
    let entryLo = tableLo | 0;
    let entryHi = tableHi | 0;
    let granted = WRITE | USER;
    let executeDisable = 0;
    let level = levels | 0;
    for (;;) {
      this.level = level;
      let atLo = (entryLo & ~0xfff) | entryAt(lo | 0, hi | 0, level);
      let atHi = entryHi & 0xf_ffff;
      if (isNested) {
        const fault = this.#locate(atLo, atHi);
        if (fault !== NONE) return fault;
        atLo = this.#stage2.lo;
        atHi = this.#stage2.hi;
      }
      this.reads++;
      const word = memory.wordAt(atLo, atHi);
      if (word >= 0) {
        entryLo = (memory.words[word] as number) | 0;
        entryHi = (memory.words[word | 1] as number) | 0;
      } else {
        if (memory.read64(atLo, atHi) !== MemoryStatus.ok) return WalkFault.access;
        entryLo = memory.lo;
        entryHi = memory.hi;
      }
      if (this.observer !== undefined) {
        this.observer.entryRead("stage1-entry", level, atLo, atHi, entryLo, entryHi);
      }
      if ((entryLo & PRESENT) === 0) return WalkFault.notPresent;
      if ((entryHi & reserved) !== 0) return WalkFault.reserved;
      granted &= entryLo;
      executeDisable |= entryHi;
      if (level === 1 || (entryLo & PAGE_SIZE) !== 0) {
        this.#keepEntry(atLo, atHi, entryLo, entryHi);
        break;
      }
      if ((entryLo & accessed) !== accessed) {
        this.#keepEntry(atLo, atHi, entryLo, entryHi);
        const fault = this.#setBits(accessed, isNested);
        if (fault !== NONE) return fault;
      }
      level--;
    }
    if (level !== 1 && this.#isReservedPage(level)) return WalkFault.reserved;
    this.pageShift = level === 1 ? 12 : level === 2 ? 21 : 30;
    this.rights = rightsOf(granted, executeDisable & EXECUTE_DISABLE_HIGH);
    return this.#finish(lo, need, rules, isNested);
  }

  #keepEntry(atLo: number, atHi: number, entryLo: number, entryHi: number): void {
    this.#atLo = atLo;
    this.#atHi = atHi;
    this.#entryLo = entryLo;
    this.#entryHi = entryHi;
  }

  /** The entry's page is found: rights, stage 2 of the page, accessed and dirty bits. */
  #finish(lo: number, need: number, rules: number, isNested: boolean): number {
    const allowed = allowedNeeds(this.rights, need & Need.privileged, rules);
    if (allowed === 0 || (need & ~allowed & ACCESS) !== 0) {
      this.denial = denialOf(this.rights, need, rules);
      return WalkFault.denied;
    }
    const mask = offsetMask(this.pageShift);
    this.lo = (this.#entryLo & ~mask) | (lo & mask);
    this.hi = this.#entryHi & 0xf_ffff;
    if (isNested) {
      const fault = this.#translatePage(need);
      if (fault !== WalkFault.none) return fault;
    }
    const accessed = accessedBits(rules);
    const bits = (need & Need.write) !== 0 ? accessed | DIRTY : accessed;
    if ((this.#entryLo & bits) !== bits) {
      const fault = this.#setBits(bits, isNested);
      if (fault !== WalkFault.none) return fault;
    }
    if ((this.#entryLo & DIRTY) === 0) this.rights &= ~Rights.dirty;
    return WalkFault.none;
  }

  /** Translates a table entry's address through stage 2. */
  #locate(lo: number, hi: number): number {
    const { nested } = this;
    const stage2 = this.#stage2;
    if ((hi & highBitsFrom(12 + 9 * nested.levels)) !== 0) return WalkFault.tableBeyondStage2;
    const fault = stage2.walk(
      nested.lo,
      nested.hi,
      nested.levels,
      lo,
      hi,
      Need.read,
      nested.tracksDirty,
    );
    this.#guestLo = lo;
    this.#guestHi = hi;
    this.#tableRights = stage2.rights;
    if (fault === WalkFault.none) return fault;
    if (fault === WalkFault.denied || fault === WalkFault.notPresent) {
      return WalkFault.tableReadDenied;
    }
    this.stage2Fault = fault;
    return WalkFault.stage2;
  }

  /** Translates the page's address through stage 2 and joins the rights of both. */
  #translatePage(need: number): number {
    const { nested } = this;
    const stage2 = this.#stage2;
    if ((this.hi & highBitsFrom(12 + 9 * nested.levels)) !== 0) return WalkFault.pageBeyondStage2;
    const fault = stage2.walk(
      nested.lo,
      nested.hi,
      nested.levels,
      this.lo,
      this.hi,
      need & (Need.read | Need.write),
      nested.tracksDirty,
    );
    if (fault !== WalkFault.none) {
      this.stage2Fault = fault;
      return WalkFault.stage2;
    }
    this.lo = stage2.lo;
    this.hi = stage2.hi;
    if (stage2.pageShift < this.pageShift) this.pageShift = stage2.pageShift;
    this.rights = (this.rights & ~NO_STAGE2 & ~Rights.dirty) | (stage2.rights & ~NO_STAGE1);
    return WalkFault.none;
  }

  /** Sets bits of the current entry that are not all set. */
  #setBits(bits: number, isNested: boolean): number {
    if (isNested) {
      const writable = (this.#tableRights & Rights.stage2Write) !== 0;
      if (!writable) return WalkFault.tableWriteDenied;
      if ((this.#tableRights & Rights.dirty) === 0) this.#dirtyTable();
    }
    this.#entryLo |= bits;
    const status = this.#memory.write64(this.#atLo, this.#atHi, this.#entryLo, this.#entryHi);
    return status === MemoryStatus.ok ? WalkFault.none : WalkFault.update;
  }

  /** The unit is about to write a stage-1 table: its page in stage 2 becomes dirty. */
  #dirtyTable(): void {
    const { nested } = this;
    const stage2 = this.#stage2;
    const { lo, hi, pageShift, rights } = stage2;
    stage2.walk(
      nested.lo,
      nested.hi,
      nested.levels,
      this.#guestLo,
      this.#guestHi,
      Need.write,
      nested.tracksDirty,
    );
    stage2.lo = lo;
    stage2.hi = hi;
    stage2.pageShift = pageShift;
    stage2.rights = rights;
  }

  /** Bits of a large page that must be zero: § 9.7. Bit 12 is its PAT bit. */
  #isReservedPage(level: number): boolean {
    if (level === 2) return (this.#entryLo & 0x1f_e000) !== 0;
    return level !== 3 || !this.#pages1G || (this.#entryLo & 0x3fff_e000) !== 0;
  }
}
