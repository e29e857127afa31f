/**
 * The frames of one backing object: a run from `first` on, in which neighbouring runs of
 * 2^`runShift` pages may be exchanged, so that what lies together for the user need not lie
 * together in memory. The exchange is its own inverse.
 */
import type { BackingObject } from "./backing-object.js";
import { CHUNK_FRAMES } from "./frame-directory.js";

/** Pages of one object; page numbers stay small integers. */
export const USER_PAGES_LIMIT = 2 ** 30;
/** `runShift` that exchanges nothing. */
export const ONE_RUN = 30;

export class UserMemory {
  readonly backing: BackingObject;
  readonly words: Uint32Array | undefined;
  readonly first: number;
  readonly firstChunk: number;
  readonly pages: number;
  /** The number by which the frame directory knows it. */
  number = -1;
  readonly #runShift: number;
  readonly #runPages: number;

  constructor(backing: BackingObject, first: number, runShift: number) {
    this.backing = backing;
    this.words = backing.words;
    this.first = first;
    this.firstChunk = first / CHUNK_FRAMES;
    this.pages = backing.byteLength / 4096;
    this.#runShift = runShift;
    this.#runPages = 2 ** runShift;
  }

  /** From page to place in the run, and back; -1 outside of the object. */
  exchange(page: number): number {
    if (page < 0 || page >= this.pages) return -1;
    const shift = this.#runShift;
    const run = page >>> shift;
    const pairEnd = ((run | 1) + 1) * this.#runPages;
    return pairEnd <= this.pages ? page ^ (1 << shift) : page;
  }
}
