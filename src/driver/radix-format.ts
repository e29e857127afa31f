/**
 * RadixFormat: what a page-table format must say for the algorithms of `radix.ts`.
 *
 * A table is one frame of 512 entries of 8 bytes; level 1 is the lowest. An entry is a frame
 * number, from bit `frameShift` on, and marks around it. Everything is masks on its two 32-bit
 * halves, so that the algorithms contain no case of any format. Intel's two stages, AMD's and
 * RISC-V's tables and Arm's 4 KiB granule are of this kind.
 */

export const ENTRIES = 512;
export const LEVEL_BITS = 9;

export interface RadixFormat {
  readonly name: string;
  /** 3, 4 or 5. */
  readonly levels: number;
  /** Bit n is set when an entry of level n, 1 to 3, may be a page. Bit 1 always is. */
  readonly leafLevels: number;
  /** Lowest bit of the frame number in the entry: 12 in most, 10 in RISC-V. */
  readonly frameShift: number;
  /** Bits of the frame number in the upper half. */
  readonly frameHigh: number;
  /** An entry is present when any of these bits of its lower half is set. */
  readonly present: number;
  /**
   * A present entry of level n > 1 leads to a table when `(lower half & tableMask) ===
   * tableValue[n]`. Index 0 and 1 are not used.
   */
  readonly tableMask: number;
  readonly tableValue: readonly number[];
  /** All bits, besides the frame number, of an entry of level n that leads to a table. */
  readonly tableLow: readonly number[];
  readonly tableHigh: readonly number[];
  /** Bits that mark a page of level n. */
  readonly leafMark: readonly number[];
  /** Bits of a page by `Prot` mask (16 values). */
  readonly protLow: readonly number[];
  readonly protHigh: readonly number[];
  /** Lower half: bits of which all are set in a page that may be written. */
  readonly writable: number;
  /** Set by hardware after a write; 0 in formats without. Lower half. */
  readonly dirty: number;
}

/** Frames that one entry of a level covers. */
export const framesPerEntry = (level: number): number => FRAMES_PER_ENTRY[level] as number;
const FRAMES_PER_ENTRY = [0, 1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36, 2 ** 45] as const;

/** Page sizes in bytes as a bit mask. */
export function pageSizesOf(format: RadixFormat): bigint {
  let sizes = 0n;
  for (let level = 1; level <= format.levels; level++) {
    if ((format.leafLevels >>> level) & 1) sizes |= 1n << BigInt(12 + LEVEL_BITS * (level - 1));
  }
  return sizes;
}
