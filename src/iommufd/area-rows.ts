/**
 * What is known about each area, in columns: 26 bytes a row, in blocks so that growing copies
 * nothing. Row numbers are handles: stable while the area lives, reused afterwards.
 *
 * An area shows bytes first..last of the IOVA space. An address is a page number (exact up to
 * 2^52) and an offset below 4096. `source` says whose memory it is (a number that the owner of the
 * set gives out), `start` the page and offset of that memory behind the first byte.
 */
const BLOCK_SHIFT = 10;
const BLOCK_ROWS = 1 << BLOCK_SHIFT;
const BLOCK_MASK = BLOCK_ROWS - 1;
const NO_ROW = 0xffffffff;

/** Flags of a row; 8 bits. Bits 0 to 2 are the protection as `Prot` has it. */
export const AreaFlag = {
  read: 1,
  write: 2,
  /** `source` names a shared pages object, not an origin. */
  shared: 8,
  /** Being unmapped: no new access. */
  closed: 16,
  /** Its device memory was revoked: nothing is mapped any more. */
  revoked: 32,
} as const;

interface Block {
  readonly lastPage: Float64Array;
  readonly startPage: Float64Array;
  /** first offset | last offset << 12 | flags << 24. */
  readonly offsets: Uint32Array;
  readonly startOffset: Uint16Array;
  readonly source: Uint32Array;
}

/** Bytes of one row. */
export const ROW_BYTES = 26;

export class AreaRows {
  readonly #blocks: Block[] = [];
  #free = NO_ROW;
  #used = 0;

  /** Bytes of all columns. */
  get storedBytes(): number {
    return this.#blocks.length * BLOCK_ROWS * ROW_BYTES;
  }

  add(
    firstOffset: number,
    lastPage: number,
    lastOffset: number,
    startPage: number,
    startOffset: number,
    source: number,
    flags: number,
  ): number {
    const row = this.#take();
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    const i = row & BLOCK_MASK;
    b.lastPage[i] = lastPage;
    b.startPage[i] = startPage;
    b.startOffset[i] = startOffset;
    b.offsets[i] = firstOffset | (lastOffset << 12) | (flags << 24);
    b.source[i] = source;
    return row;
  }

  remove(row: number): void {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    b.source[row & BLOCK_MASK] = this.#free;
    this.#free = row;
  }

  firstOffset(row: number): number {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    return (b.offsets[row & BLOCK_MASK] as number) & 0xfff;
  }

  lastPage(row: number): number {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    return b.lastPage[row & BLOCK_MASK] as number;
  }

  lastOffset(row: number): number {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    return ((b.offsets[row & BLOCK_MASK] as number) >>> 12) & 0xfff;
  }

  /** The area ends earlier. */
  setLast(row: number, lastPage: number, lastOffset: number): void {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    const i = row & BLOCK_MASK;
    b.lastPage[i] = lastPage;
    b.offsets[i] = ((b.offsets[i] as number) & ~0xfff000) | (lastOffset << 12);
  }

  startPage(row: number): number {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    return b.startPage[row & BLOCK_MASK] as number;
  }

  startOffset(row: number): number {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    return b.startOffset[row & BLOCK_MASK] as number;
  }

  source(row: number): number {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    return b.source[row & BLOCK_MASK] as number;
  }

  setSource(row: number, source: number): void {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    b.source[row & BLOCK_MASK] = source;
  }

  flags(row: number): number {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    return (b.offsets[row & BLOCK_MASK] as number) >>> 24;
  }

  setFlags(row: number, flags: number): void {
    const b = this.#blocks[row >>> BLOCK_SHIFT] as Block;
    const i = row & BLOCK_MASK;
    b.offsets[i] = ((b.offsets[i] as number) & 0xffffff) | (flags << 24);
  }

  #take(): number {
    const row = this.#free;
    if (row !== NO_ROW) {
      this.#free = this.source(row);
      return row;
    }
    if (this.#used === this.#blocks.length * BLOCK_ROWS) {
      this.#blocks.push({
        lastPage: new Float64Array(BLOCK_ROWS),
        startPage: new Float64Array(BLOCK_ROWS),
        offsets: new Uint32Array(BLOCK_ROWS),
        startOffset: new Uint16Array(BLOCK_ROWS),
        source: new Uint32Array(BLOCK_ROWS),
      });
    }
    return this.#used++;
  }
}
