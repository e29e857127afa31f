/**
 * The areas of an address space, ordered by address: find, insert and remove in O(log n).
 *
 * Keys (first pages) and row numbers lie in chunks of at most 256, ordered, in typed arrays; the
 * directory holds the chunks in order. Several areas may share a page, at different offsets, so
 * equal keys are told apart by the offset in the row.
 *
 * For the search of free space each chunk keeps an upper bound of the largest gap before one of its
 * areas, in bytes, and each 64 chunks the largest of these. Inserting only shrinks gaps, so the
 * bounds stay true without work; removing raises them; a search that found nothing lowers them.
 *
 * Invariants: no chunk is empty unless the set is; areas are disjoint; the bound of a
 * chunk is at least the bytes between each of its areas and the area before it (before the first
 * area: the bytes from 0). Above 2^53 bytes a gap is rounded, and so is what is asked for: rounding
 * keeps the order.
 */
import { AreaRows } from "./area-rows.js";

export const CHUNK_AREAS = 256;
const GROUP_SHIFT = 6;

interface Chunk {
  readonly keys: Float64Array;
  readonly rows: Uint32Array;
  count: number;
  /** Upper bound of the largest gap before an area of this chunk, bytes. */
  gap: number;
}

export class AreaSet {
  readonly rows = new AreaRows();
  readonly #chunks: Chunk[] = [];
  #firsts = new Float64Array(16);
  /** Largest bound of each 64 chunks. */
  #groupGap: number[] = [];
  #size = 0;
  /** Position that {@link seek} found: chunk and index; chunk -1 before the first area. */
  #chunk = -1;
  #index = -1;

  get size(): number {
    return this.#size;
  }

  /** Bytes of all columns. */
  get storedBytes(): number {
    const chunks = this.#chunks.length * (CHUNK_AREAS * 12 + 64);
    return this.rows.storedBytes + chunks + this.#firsts.byteLength;
  }

  /** The position is at an area. */
  get found(): boolean {
    return this.#chunk >= 0 && this.#chunk < this.#chunks.length;
  }

  /** Row at the position. */
  get row(): number {
    return (this.#chunks[this.#chunk] as Chunk).rows[this.#index] as number;
  }

  /** First page of the area at the position. */
  get firstPage(): number {
    return (this.#chunks[this.#chunk] as Chunk).keys[this.#index] as number;
  }

  /** To the last area that begins at or before the address; not `found` when there is none. */
  seek(page: number, offset: number): void {
    const chunk = this.#seekChunk(page, offset);
    this.#chunk = chunk;
    if (chunk < 0) {
      this.#index = -1;
      return;
    }
    const c = this.#chunks[chunk] as Chunk;
    const { keys, rows } = c;
    let low = 0;
    let high = c.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const key = keys[middle] as number;
      if (key < page || (key === page && this.rows.firstOffset(rows[middle] as number) <= offset)) {
        low = middle;
      } else high = middle - 1;
    }
    this.#index = low;
  }

  /** To the first area that ends at or after the address. */
  seekEnding(page: number, offset: number): void {
    this.seek(page, offset);
    if (this.found) {
      const { row } = this;
      const last = this.rows.lastPage(row);
      if (last > page || (last === page && this.rows.lastOffset(row) >= offset)) return;
    }
    this.next();
  }

  /** To the next area; to the first one when the position is before it. */
  next(): void {
    if (this.#chunk < 0) {
      this.#chunk = 0;
      this.#index = 0;
      return;
    }
    const c = this.#chunks[this.#chunk];
    if (c === undefined) return;
    if (++this.#index >= c.count) {
      this.#chunk++;
      this.#index = 0;
    }
  }

  /** To the first area. */
  toFirst(): void {
    this.#chunk = 0;
    this.#index = 0;
  }

  /**
   * Adds an area that overlaps none.
   * @returns its row, or -1 when it overlaps one: then nothing was added.
   */
  insert(
    firstPage: number,
    firstOffset: number,
    lastPage: number,
    lastOffset: number,
    startPage: number,
    startOffset: number,
    source: number,
    flags: number,
  ): number {
    this.seek(firstPage, firstOffset);
    const { rows } = this;
    let gap = firstPage * 4096 + firstOffset;
    if (this.#chunk >= 0) {
      const before = this.row;
      const end = rows.lastPage(before);
      const endOffset = rows.lastOffset(before);
      if (end > firstPage || (end === firstPage && endOffset >= firstOffset)) return -1;
      gap = (firstPage - end) * 4096 + (firstOffset - endOffset - 1);
    }
    if (this.#overlapsNext(lastPage, lastOffset)) return -1;
    const row = rows.add(firstOffset, lastPage, lastOffset, startPage, startOffset, source, flags);
    this.#place(firstPage, row, gap);
    this.#size++;
    return row;
  }

  /** Removes the area at the position; the position is then before the one that followed. */
  remove(): void {
    const at = this.#chunk;
    const index = this.#index;
    const c = this.#chunks[at] as Chunk;
    this.rows.remove(c.rows[index] as number);
    c.keys.copyWithin(index, index + 1, c.count);
    c.rows.copyWithin(index, index + 1, c.count);
    c.count--;
    this.#size--;
    if (index === 0 && c.count > 0) this.#firsts[at] = c.keys[0] as number;
    this.#index = index - 1;
    if (this.#index < 0) {
      this.#chunk = at - 1;
      this.#index = at > 0 ? (this.#chunks[at - 1] as Chunk).count - 1 : -1;
    }
    if (c.count < CHUNK_AREAS / 4) this.#shrink(at, c);
    this.#raiseGapAfter();
  }

  /**
   * At the first area of a chunk: on to the first chunk that may have a gap of `bytes`. Elsewhere
   * nothing.
   */
  skipSmallGaps(bytes: number): void {
    let at = this.#chunk;
    if (this.#index !== 0 || at < 0) return;
    const total = this.#chunks.length;
    while (at < total) {
      if ((at & ((1 << GROUP_SHIFT) - 1)) === 0) {
        const group = at >>> GROUP_SHIFT;
        if ((this.#groupGap[group] as number) < bytes) {
          at = (group + 1) << GROUP_SHIFT;
          continue;
        }
      }
      if ((this.#chunks[at] as Chunk).gap >= bytes) break;
      at++;
    }
    this.#chunk = at > total ? total : at;
  }

  /** The chunk was searched whole: its largest gap is `bytes`. */
  lowerGap(chunk: number, bytes: number): void {
    const c = this.#chunks[chunk];
    if (c === undefined || c.gap <= bytes) return;
    c.gap = bytes;
    this.#regroup(chunk >>> GROUP_SHIFT);
  }

  /** Chunk of the position, to know when a search leaves it. */
  get chunk(): number {
    return this.#chunk;
  }

  /** The position is at the first area of its chunk. */
  get atChunkStart(): boolean {
    return this.#index === 0;
  }

  /** Row of the area before the position, or -1. */
  rowBefore(): number {
    if (this.#index > 0) {
      return (this.#chunks[this.#chunk] as Chunk).rows[this.#index - 1] as number;
    }
    const c = this.#chunks[this.#chunk - 1];
    return c === undefined ? -1 : (c.rows[c.count - 1] as number);
  }

  #seekChunk(page: number, offset: number): number {
    const firsts = this.#firsts;
    let low = -1;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const key = firsts[middle] as number;
      if (key < page || (key === page && this.#firstOffset(middle) <= offset)) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #firstOffset(chunk: number): number {
    return this.rows.firstOffset((this.#chunks[chunk] as Chunk).rows[0] as number);
  }

  #overlapsNext(lastPage: number, lastOffset: number): boolean {
    let c = this.#chunks[this.#chunk];
    let index = this.#index + 1;
    if (c === undefined || index >= c.count) {
      c = this.#chunks[this.#chunk + 1];
      index = 0;
    }
    if (c === undefined) return false;
    const key = c.keys[index] as number;
    if (key !== lastPage) return key < lastPage;
    return this.rows.firstOffset(c.rows[index] as number) <= lastOffset;
  }

  /** Puts a row behind the position. */
  #place(key: number, row: number, gap: number): void {
    let at = this.#chunk < 0 ? 0 : this.#chunk;
    let index = this.#index + 1;
    let c = this.#chunks[at];
    if (c === undefined) {
      c = this.#addChunk(0, 0);
    } else if (c.count === CHUNK_AREAS) {
      if (index === CHUNK_AREAS) {
        const after = this.#chunks[at + 1];
        at++;
        index = 0;
        c = after === undefined || after.count === CHUNK_AREAS ? this.#addChunk(at, 0) : after;
      } else if (index === 0) {
        c = this.#addChunk(at, 0);
      } else {
        const half = this.#split(at, c);
        if (index > c.count) {
          index -= c.count;
          at++;
          c = half;
        }
      }
    }
    c.keys.copyWithin(index + 1, index, c.count);
    c.rows.copyWithin(index + 1, index, c.count);
    c.keys[index] = key;
    c.rows[index] = row;
    c.count++;
    if (index === 0) this.#firsts[at] = key;
    if (gap > c.gap) this.#raise(at, c, gap);
    this.#chunk = at;
    this.#index = index;
  }

  #split(at: number, c: Chunk): Chunk {
    const half = this.#addChunk(at + 1, c.gap);
    const middle = CHUNK_AREAS >>> 1;
    half.keys.set(c.keys.subarray(middle, c.count));
    half.rows.set(c.rows.subarray(middle, c.count));
    half.count = c.count - middle;
    c.count = middle;
    this.#firsts[at + 1] = half.keys[0] as number;
    return half;
  }

  #addChunk(at: number, gap: number): Chunk {
    const made: Chunk = {
      keys: new Float64Array(CHUNK_AREAS),
      rows: new Uint32Array(CHUNK_AREAS),
      count: 0,
      gap,
    };
    const total = this.#chunks.length;
    if (total === this.#firsts.length) {
      const grown = new Float64Array(total + (total >>> 1));
      grown.set(this.#firsts);
      this.#firsts = grown;
    }
    this.#firsts.copyWithin(at + 1, at, total);
    this.#chunks.splice(at, 0, made);
    this.#regroupFrom(at >>> GROUP_SHIFT);
    return made;
  }

  #dropChunk(at: number): void {
    this.#firsts.copyWithin(at, at + 1, this.#chunks.length);
    this.#chunks.splice(at, 1);
    this.#regroupFrom(at >>> GROUP_SHIFT);
  }

  /** Drops an empty chunk, or joins a small one with the one before or after it. */
  #shrink(at: number, c: Chunk): void {
    if (c.count === 0) {
      this.#dropChunk(at);
      return;
    }
    const before = this.#chunks[at - 1];
    if (before !== undefined && before.count + c.count <= CHUNK_AREAS / 2) {
      const old = before.count;
      this.#append(before, c);
      this.#dropChunk(at);
      if (this.#chunk === at) {
        this.#chunk = at - 1;
        this.#index += old;
      }
      this.#raise(at - 1, before, c.gap);
      return;
    }
    const after = this.#chunks[at + 1];
    if (after !== undefined && after.count + c.count <= CHUNK_AREAS / 2) {
      this.#append(c, after);
      this.#dropChunk(at + 1);
      this.#raise(at, c, after.gap);
    }
  }

  #append(to: Chunk, from: Chunk): void {
    to.keys.set(from.keys.subarray(0, from.count), to.count);
    to.rows.set(from.rows.subarray(0, from.count), to.count);
    to.count += from.count;
  }

  /** After a removal: the gap behind the position is larger now. */
  #raiseGapAfter(): void {
    let at = this.#chunk;
    let index = this.#index + 1;
    let c = this.#chunks[at];
    if (c === undefined || index >= c.count) {
      at++;
      index = 0;
      c = this.#chunks[at];
    }
    if (c === undefined) return;
    const key = c.keys[index] as number;
    const offset = this.rows.firstOffset(c.rows[index] as number);
    let gap = key * 4096 + offset;
    if (this.#chunk >= 0) {
      const { row } = this;
      gap = (key - this.rows.lastPage(row)) * 4096 + (offset - this.rows.lastOffset(row) - 1);
    }
    if (gap > c.gap) this.#raise(at, c, gap);
  }

  #raise(at: number, c: Chunk, gap: number): void {
    if (gap > c.gap) c.gap = gap;
    const group = at >>> GROUP_SHIFT;
    if (c.gap > (this.#groupGap[group] as number)) this.#groupGap[group] = c.gap;
  }

  #regroup(group: number): void {
    let most = 0;
    const end = Math.min((group + 1) << GROUP_SHIFT, this.#chunks.length);
    for (let at = group << GROUP_SHIFT; at < end; at++) {
      const { gap } = this.#chunks[at] as Chunk;
      if (gap > most) most = gap;
    }
    this.#groupGap[group] = most;
  }

  #regroupFrom(group: number): void {
    const groups = (this.#chunks.length + (1 << GROUP_SHIFT) - 1) >>> GROUP_SHIFT;
    this.#groupGap.length = groups;
    for (let g = group; g < groups; g++) this.#regroup(g);
  }
}
