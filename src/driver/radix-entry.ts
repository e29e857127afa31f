/** The innermost steps of page tables: all on 32-bit integers, so that nothing is allocated. */
import { ENTRIES, LEVEL_BITS } from "./radix-format.js";

/**
 * Writes entries one after the other until one is in use. All arguments are 32-bit integers.
 * @returns entries written.
 */
export function fillRun(
  words: Uint32Array,
  first: number,
  entries: number,
  frame: number,
  low: number,
  high: number,
  step: number,
  present: number,
): number {
  let frameLow = frame;
  let valueHigh = high;
  const end = (first + 2 * entries) | 0;
  for (let word = first; word < end; word = (word + 2) | 0) {
    if (((words[word] as number) & present) !== 0) return (word - first) >> 1;
    words[word + 1] = valueHigh;
    words[word] = frameLow | low;
    frameLow = (frameLow + step) | 0;
    // Frames of a run are aligned to their step, so a carry leaves exactly zero.
    if (frameLow === 0) valueHigh = (valueHigh + 1) | 0;
  }
  return entries;
}

/** Index in a table of `level`; `lower` and `upper` are the address's low 27 and further bits. */
export function indexAt(lower: number, upper: number, level: number): number {
  return level <= 3
    ? (lower >>> (LEVEL_BITS * (level - 1))) & (ENTRIES - 1)
    : (upper >>> (LEVEL_BITS * (level - 4))) & (ENTRIES - 1);
}
