/**
 * From page frame number to what holds the frame, sparse over 2^40 frames.
 *
 * Frames are looked up by chunk of 512 (2 MiB). A hash table with open addressing maps the 31-bit
 * chunk number to a value: below zero the chunk belongs to region `~value`; otherwise it is the
 * number of a map of 512 frames. A value in such a map is the index of stored bytes, `NO_FRAME`, or
 * `-2 - index` for a frame whose accesses take the slow path.
 */

const NO_CHUNK = -1;
const HASH = 0x9e37_79b1;
export const NO_FRAME = -1;
export const CHUNK_FRAMES = 512;
/** {@link FrameDirectory.find} of a chunk that is not there. */
export const NOT_THERE = -0x8000_0000;

/** Finds what holds a frame; see the head of this file. */
export class FrameDirectory {
  /** Pairs of chunk number and value; replaced when it grows. */
  table = new Int32Array(2 * 16).fill(NO_CHUNK);
  /** 32 less the bits of a place in `table`. */
  shift = 28;
  #count = 0;
  /** Maps of 512 frames, one after the other; replaced when they grow. */
  maps = new Int32Array(CHUNK_FRAMES).fill(NO_FRAME);
  #mapCount = 0;

  /** The value of a chunk, or `NOT_THERE`. */
  find(chunk: number): number {
    const { table } = this;
    const mask = table.length - 1;
    let at = (Math.imul(chunk, HASH) >>> this.shift) << 1;
    for (;;) {
      const key = table[at] as number;
      if (key === chunk) return table[at + 1] as number;
      if (key === NO_CHUNK) return NOT_THERE;
      at = (at + 2) & mask;
    }
  }

  /**
   * Where the map of a chunk begins in `maps`, for loops that look frames up there themselves;
   * below 0 when the chunk has no map.
   */
  mapOf(chunk: number): number {
    const value = this.find(chunk);
    return value < 0 ? -1 : value << 9;
  }

  /** The frame's value in a chunk whose own value is not negative. */
  frame(chunkValue: number, inChunk: number): number {
    return this.maps[(chunkValue << 9) | inChunk] as number;
  }

  setFrame(chunkValue: number, inChunk: number, value: number): void {
    this.maps[(chunkValue << 9) | inChunk] = value;
  }

  /** Adds a chunk that is not there, with a value of its own or a fresh map. @returns the value. */
  add(chunk: number, region: number | undefined): number {
    if ((this.#count + 1) * 4 > this.table.length) this.#grow();
    const value = region === undefined ? this.#addMap() : ~region;
    this.#insert(chunk, value);
    this.#count++;
    return value;
  }

  /** Forgets the chunks that belong to a region. */
  removeRegion(region: number): void {
    const old = this.table;
    this.table = new Int32Array(old.length).fill(NO_CHUNK);
    this.#count = 0;
    for (let at = 0; at < old.length; at += 2) {
      const chunk = old[at] as number;
      const value = old[at + 1] as number;
      if (chunk === NO_CHUNK || value === ~region) continue;
      this.#insert(chunk, value);
      this.#count++;
    }
  }

  #addMap(): number {
    const needed = (this.#mapCount + 1) * CHUNK_FRAMES;
    if (needed > this.maps.length) {
      const larger = new Int32Array(this.maps.length * 2).fill(NO_FRAME);
      larger.set(this.maps);
      this.maps = larger;
    }
    return this.#mapCount++;
  }

  #grow(): void {
    const old = this.table;
    this.table = new Int32Array(old.length * 2).fill(NO_CHUNK);
    this.shift--;
    for (let at = 0; at < old.length; at += 2) {
      if (old[at] !== NO_CHUNK) this.#insert(old[at] as number, old[at + 1] as number);
    }
  }

  #insert(chunk: number, value: number): void {
    const table = this.table;
    let at = (Math.imul(chunk, HASH) >>> this.shift) << 1;
    while (table[at] !== NO_CHUNK) at = (at + 2) & (table.length - 1);
    table[at] = chunk;
    table[at + 1] = value;
  }
}
