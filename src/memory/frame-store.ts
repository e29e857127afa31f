/**
 * The bytes of table frames, one after the other in one array of words that grows as needed.
 *
 * Growing doubles up to 16 MiB and adds a quarter from then on: little is reserved for nothing, and
 * copying stays linear in what is stored.
 */
import type { FrameOwner } from "./physical-memory-types.js";

const FRAME_WORDS = 1024;
const FIRST_FRAMES = 16;
const DOUBLING_FRAMES = 4096;

export class FrameStore {
  words = new Uint32Array(FIRST_FRAMES * FRAME_WORDS);
  /** The same storage as bytes. */
  bytes = new Uint8Array(this.words.buffer);
  readonly #free: number[] = [];
  readonly #owners: (FrameOwner | undefined)[] = [];
  readonly #pfns: number[] = [];

  /** Frames in use. */
  get used(): number {
    return this.#owners.length - this.#free.length;
  }

  /** @returns the index of a zeroed frame. */
  take(pfn: number, owner: FrameOwner): number {
    const reused = this.#free.pop();
    const index = reused ?? this.#owners.length;
    if ((index + 1) * FRAME_WORDS > this.words.length) this.#grow();
    if (reused !== undefined) this.#frame(index).fill(0);
    this.#owners[index] = owner;
    this.#pfns[index] = pfn;
    return index;
  }

  free(index: number): void {
    this.#owners[index] = undefined;
    this.#free.push(index);
  }

  ownerOf(index: number): FrameOwner | undefined {
    return this.#owners[index];
  }

  /** Frames in use and their owners. */
  *entries(): IterableIterator<{ readonly pfn: number; readonly owner: FrameOwner }> {
    for (const [index, owner] of this.#owners.entries()) {
      if (owner !== undefined) yield { pfn: this.#pfns[index] as number, owner };
    }
  }

  #frame(index: number): Uint32Array {
    return this.words.subarray(index * FRAME_WORDS, (index + 1) * FRAME_WORDS);
  }

  #grow(): void {
    const frames = this.words.length / FRAME_WORDS;
    const larger = frames < DOUBLING_FRAMES ? frames * 2 : frames + (frames >>> 2);
    const words = new Uint32Array(larger * FRAME_WORDS);
    words.set(this.words);
    this.words = words;
    this.bytes = new Uint8Array(words.buffer);
  }
}
