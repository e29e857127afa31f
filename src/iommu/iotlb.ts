/**
 * The IOTLB: finished translations by (domain, PASID, page); VT-d 5.0 § 6.2.1 and § 6.2.4.
 *
 * Open addressing in sets of four inside one typed array; a full set gives up its entries in turn.
 * Translations of stage 2 alone carry no PASID (`stage1` false): all PASIDs of a domain share them.
 * Nothing leaves before it is invalidated or pushed out, whatever the tables say meanwhile.
 *
 * Slot, eight words: frame low | frame high, domain bits 11:0 | tag | target low and rights |
 * target high | three unused. Tag: PASID, domain bits 15:12, stage1, size (0 4K, 1 2M, 2 1G),
 * valid.
 */

const SLOT_WORDS = 8;
const SLOT_SHIFT = 3;
const WAYS = 4;
const SET_WORDS = SLOT_WORDS * WAYS;
const SET_SHIFT = 5;
const STAGE1 = 1 << 24;
const SIZE_SHIFT = 25;
const VALID = 1 << 27;
const PROBED_PAGES = 64;
/** Pages of each size, and powers of two: an exponentiation costs as much as a sweep. */
const SIZE_PAGES = [1, 512, 512 * 512] as const;
const POWERS = Float64Array.from({ length: 53 }, (_, order) => 2 ** order);

const setOf = (frameLo: number, frameHi: number, tag: number, shift: number): number => {
  const mixed = frameLo ^ Math.imul(frameHi, 0x85eb_ca6b) ^ Math.imul(tag, 0xc2b2_ae35);
  return Math.imul(mixed, 0x9e37_79b1) >>> shift;
};

/** Most entries of an IOTLB: more would not stay in a processor's cache. */
export const IOTLB_LIMIT = 4096;

export interface IotlbEntry {
  readonly domainId: number;
  readonly pasid: number | undefined;
  /** Page frame of the first page, and of its target. */
  readonly frame: number;
  readonly target: number;
  readonly pageShift: number;
  readonly rights: number;
}

export class Iotlb {
  readonly #slots: Int32Array;
  readonly #shift: number;
  readonly #oldest: Uint8Array;
  /** Entries by size, and those of stage 1. */
  readonly #live = new Int32Array(3);
  #stage1Live = 0;
  /** What {@link find} looked for last without success among 4 KiB pages, and its set. */
  #missedSet = 0;
  #missedLo = 0;
  #missedHi = 0;
  #missedTag = 0;
  /** A large page was put in since the last clearing. */
  #hasLarge = false;
  /** The entry found: its target and rights. */
  lo = 0;
  hi = 0;
  rights = 0;
  pageShift = 12;

  /** @param entries a power of two, 8 to {@link IOTLB_LIMIT}. */
  constructor(entries: number) {
    const sets = entries / WAYS;
    if (!(Number.isInteger(Math.log2(sets)) && sets >= 2 && entries <= IOTLB_LIMIT)) {
      throw new RangeError(`an IOTLB of ${entries} entries; a power of two from 8 to 4096`);
    }
    this.#slots = new Int32Array(entries * SLOT_WORDS);
    this.#shift = 32 - Math.log2(sets);
    this.#oldest = new Uint8Array(sets);
  }

  get size(): number {
    return (this.#live[0] as number) + (this.#live[1] as number) + (this.#live[2] as number);
  }

  /**
   * Looks an address up, smallest pages first; the translated address is left in `lo`, `hi`.
   * @param pasid 0 without stage 1.
   */
  find(domainId: number, pasid: number, stage1: boolean, lo: number, hi: number): boolean {
    // Parameters are tagged values; as integers they stay in registers.
    const inLo = lo | 0;
    const inHi = hi | 0;
    const domain = domainId | 0;
    const frameLo = (inLo >>> 12) | (inHi << 20);
    const frameHi = (inHi >>> 12) | (domain << 20);
    const tag = VALID | pasid | ((domain >>> 12) << 20) | (stage1 === true ? STAGE1 : 0);
    const slots = this.#slots;
    const first = setOf(frameLo, frameHi, tag, this.#shift | 0) << SET_SHIFT;
    for (let slot = first; slot < first + SET_WORDS; slot += SLOT_WORDS) {
      if (slots[slot] === frameLo && slots[slot | 2] === tag && slots[slot | 1] === frameHi) {
        const word = slots[slot | 3] as number;
        this.lo = (word & ~0xfff) | (inLo & 0xfff);
        this.hi = slots[slot | 4] as number;
        this.rights = word & 0xfff;
        this.pageShift = 12;
        return true;
      }
    }
    this.#missedSet = first;
    this.#missedLo = frameLo;
    this.#missedHi = frameHi;
    this.#missedTag = tag;
    return this.#hasLarge && this.#findLarge(frameLo, frameHi, tag, lo);
  }

  /** The same among pages of 2 MiB and 1 GiB. */
  #findLarge(frameLo: number, frameHi: number, tag: number, lo: number): boolean {
    if ((this.#live[1] as number) !== 0) {
      const slot = this.#probe(frameLo & ~0x1ff, frameHi, tag | (1 << SIZE_SHIFT));
      if (slot >= 0) return this.#take(slot, lo, 21);
    }
    if ((this.#live[2] as number) !== 0) {
      const slot = this.#probe(frameLo & ~0x3_ffff, frameHi, tag | (2 << SIZE_SHIFT));
      if (slot >= 0) return this.#take(slot, lo, 30);
    }
    return false;
  }

  /**
   * Keeps a translation; an older one of the same page goes.
   * @param lo address of any byte of the page; `targetLo` of the byte it becomes.
   */
  insert(
    domainId: number,
    pasid: number,
    stage1: boolean,
    lo: number,
    hi: number,
    targetLo: number,
    targetHi: number,
    pageShift: number,
    rights: number,
  ): void {
    const inLo = lo | 0;
    const inHi = hi | 0;
    const domain = domainId | 0;
    const size = pageShift === 12 ? 0 : pageShift === 21 ? 1 : 2;
    const frameMask = size === 0 ? -1 : size === 1 ? ~0x1ff : ~0x3_ffff;
    const frameLo = ((inLo >>> 12) | (inHi << 20)) & frameMask;
    const frameHi = (inHi >>> 12) | (domain << 20);
    const tag =
      VALID |
      pasid |
      ((domain >>> 12) << 20) |
      (stage1 === true ? STAGE1 : 0) |
      (size << SIZE_SHIFT);
    const slots = this.#slots;
    const first = setOf(frameLo, frameHi, tag, this.#shift | 0) << SET_SHIFT;
    let slot = -1;
    let free = -1;
    for (let at = first; at < first + SET_WORDS; at += SLOT_WORDS) {
      const held = slots[at | 2] as number;
      if (held === 0) free = at;
      else if (held === tag && slots[at] === frameLo && slots[at | 1] === frameHi) slot = at;
    }
    if (slot < 0) {
      slot = free;
      if (slot < 0) slot = this.#evict(first);
      const live = this.#live;
      live[size] = (live[size] as number) + 1;
      if (stage1 === true) this.#stage1Live++;
      if (size !== 0) this.#hasLarge = true;
    }
    slots[slot] = frameLo;
    slots[slot | 1] = frameHi;
    slots[slot | 2] = tag;
    slots[slot | 3] = (targetLo & ~((1 << pageShift) - 1)) | rights;
    slots[slot | 4] = targetHi;
  }

  /**
   * Keeps the 4 KiB translation that {@link find} has just not found: as {@link insert}, without
   * computing again where it goes.
   */
  insertMissed(targetLo: number, targetHi: number, rights: number): void {
    const slots = this.#slots;
    const live = this.#live;
    const tag = this.#missedTag;
    const first = this.#missedSet;
    let slot = first + SET_WORDS - SLOT_WORDS;
    while (slots[slot | 2] !== 0) {
      slot -= SLOT_WORDS;
      if (slot < first) {
        slot = this.#evict(first);
        break;
      }
    }
    live[0] = (live[0] as number) + 1;
    if ((tag & STAGE1) !== 0) this.#stage1Live++;
    slots[slot] = this.#missedLo;
    slots[slot | 1] = this.#missedHi;
    slots[slot | 2] = tag;
    slots[slot | 3] = (targetLo & ~0xfff) | rights;
    slots[slot | 4] = targetHi;
  }

  clear(): void {
    this.#slots.fill(0);
    this.#live.fill(0);
    this.#hasLarge = false;
    this.#stage1Live = 0;
  }

  /** Everything of a domain. */
  invalidateDomain(domainId: number): void {
    this.#sweep((slot) => this.#isOf(slot, domainId));
  }

  /** Everything of stage 1 (alone or nested) of a domain's PASID. */
  invalidatePasid(domainId: number, pasid: number): void {
    if (this.#stage1Live === 0) return;
    this.#sweep((slot) => this.#isOf(slot, domainId) && this.#hasPasid(slot, pasid));
  }

  /** Pages of stage 1 (alone or nested) of a domain's PASID; 2^order pages from `frame` on. */
  invalidatePasidPages(domainId: number, pasid: number, frame: number, order: number): void {
    if (this.#stage1Live === 0) return;
    this.#invalidatePages(domainId, pasid, true, frame, order);
  }

  /**
   * Pages of stage 2 of a domain, and everything of its stage 1, which may be nested in them
   * (§ 6.5.2.3).
   */
  invalidateDomainPages(domainId: number, frame: number, order: number): void {
    this.#invalidatePages(domainId, 0, false, frame, order);
    if (this.#stage1Live === 0) return;
    this.#sweep((slot) => this.#isOf(slot, domainId) && this.#isStage1(slot));
  }

  /** What is held, in no particular order. */
  entries(): IotlbEntry[] {
    const out: IotlbEntry[] = [];
    for (let slot = 0; slot < this.#slots.length; slot += SLOT_WORDS) {
      const word = (n: number): number => (this.#slots[slot + n] as number) >>> 0;
      const tag = word(2);
      if ((tag & VALID) === 0) continue;
      out.push({
        domainId: (word(1) >>> 20) | (((tag >>> 20) & 15) << 12),
        pasid: (tag & STAGE1) === 0 ? undefined : tag & 0xf_ffff,
        frame: (word(1) & 0xf_ffff) * 2 ** 32 + word(0),
        target: word(4) * 2 ** 20 + (word(3) >>> 12),
        pageShift: 12 + 9 * ((tag >>> SIZE_SHIFT) & 3),
        rights: word(3) & 0xfff,
      });
    }
    return out;
  }

  /** Slot of an exact entry, or -1. */
  #probe(frameLo: number, frameHi: number, tag: number): number {
    const slots = this.#slots;
    const first = setOf(frameLo, frameHi, tag, this.#shift | 0) << SET_SHIFT;
    for (let slot = first; slot < first + SET_WORDS; slot += SLOT_WORDS) {
      if (slots[slot] === frameLo && slots[slot | 2] === tag && slots[slot | 1] === frameHi) {
        return slot;
      }
    }
    return -1;
  }

  #take(slot: number, lo: number, pageShift: number): boolean {
    const word = this.#slots[slot + 3] as number;
    const mask = (1 << pageShift) - 1;
    this.lo = (word & ~mask) | (lo & mask);
    this.hi = this.#slots[slot + 4] as number;
    this.rights = word & 0xfff;
    this.pageShift = pageShift;
    return true;
  }

  /** Makes room in a full set, whose ways go in turn. @returns the slot. */
  #evict(first: number): number {
    const oldest = this.#oldest;
    const set = first >> SET_SHIFT;
    const way = oldest[set] as number;
    oldest[set] = (way + 1) & (WAYS - 1);
    const slot = first | (way << SLOT_SHIFT);
    this.#forget(this.#slots[slot | 2] as number);
    return slot;
  }

  #drop(slot: number): void {
    this.#forget(this.#slots[slot + 2] as number);
    this.#slots[slot + 2] = 0;
  }

  /** Counts an entry of that tag out. */
  #forget(tag: number): void {
    const size = (tag >>> SIZE_SHIFT) & 3;
    const live = this.#live;
    live[size] = (live[size] as number) - 1;
    if ((tag & STAGE1) !== 0) this.#stage1Live--;
  }

  #sweep(isGone: (slot: number) => boolean): void {
    if (this.size === 0) return;
    for (let slot = 0; slot < this.#slots.length; slot += SLOT_WORDS) {
      if (((this.#slots[slot + 2] as number) & VALID) !== 0 && isGone(slot)) this.#drop(slot);
    }
  }

  #invalidatePages(
    domainId: number,
    pasid: number,
    stage1: boolean,
    frame: number,
    order: number,
  ): void {
    const pages = POWERS[order] as number;
    const first = Math.floor(frame / pages) * pages;
    if (pages > PROBED_PAGES) {
      this.#sweep((slot) => {
        if (!this.#isOf(slot, domainId) || this.#isStage1(slot) !== stage1) return false;
        if (stage1 && !this.#hasPasid(slot, pasid)) return false;
        return this.#overlaps(slot, first, pages);
      });
      return;
    }
    const tag = VALID | pasid | ((domainId >>> 12) << 20) | (stage1 ? STAGE1 : 0);
    for (let size = 0; size < 3; size++) {
      if ((this.#live[size] as number) === 0) continue;
      const step = SIZE_PAGES[size] as number;
      for (let at = Math.floor(first / step) * step; at < first + pages; at += step) {
        const frameHi = Math.floor(at / 2 ** 32) | (domainId << 20);
        const slot = this.#probe(at | 0, frameHi, tag | (size << SIZE_SHIFT));
        if (slot >= 0) this.#drop(slot);
      }
    }
  }

  #overlaps(slot: number, first: number, pages: number): boolean {
    const slots = this.#slots;
    const at = ((slots[slot + 1] as number) & 0xf_ffff) * 2 ** 32 + ((slots[slot] as number) >>> 0);
    const size = ((slots[slot + 2] as number) >>> SIZE_SHIFT) & 3;
    return at < first + pages && first < at + (SIZE_PAGES[size] as number);
  }

  #isOf(slot: number, domainId: number): boolean {
    const low = (this.#slots[slot + 1] as number) >>> 20;
    return (low | ((((this.#slots[slot + 2] as number) >>> 20) & 15) << 12)) === domainId;
  }

  #isStage1(slot: number): boolean {
    return ((this.#slots[slot + 2] as number) & STAGE1) !== 0;
  }

  #hasPasid(slot: number, pasid: number): boolean {
    const tag = this.#slots[slot + 2] as number;
    return (tag & STAGE1) !== 0 && (tag & 0xf_ffff) === pasid;
  }
}
