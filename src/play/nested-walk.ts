/**
 * Where a guest's first-stage table leads (VT-d 5.0 § 9.7), read from the guest's memory by way of
 * the table below it: the plain meaning of nesting, against which units are checked.
 */
import type { PhysicalMemory } from "../memory/index.js";
import { readWord } from "./hardware-tables.js";

const FRAME = 0x000f_ffff_ffff_f000n;

/**
 * Frame of memory that a guest's address leads to; undefined when nothing is mapped.
 *
 * @param root the guest's frame of its first table.
 * @param host the frame of memory behind a frame of the guest's.
 */
export function nestedFrame(
  memory: PhysicalMemory,
  root: number,
  levels: number,
  host: (guest: number) => number | undefined,
  address: bigint,
): number | undefined {
  let table = root;
  for (let level = levels; level >= 1; level--) {
    const frame = host(table);
    if (frame === undefined) return undefined;
    const shift = BigInt(12 + 9 * (level - 1));
    const index = Number((address >> shift) & 0x1ffn);
    const entry = readWord(memory, frame * 4096 + index * 8);
    if (entry === undefined || (entry & 1n) === 0n) return undefined;
    const isPage = level === 1 || (level <= 3 && (entry & 0x80n) !== 0n);
    if (!isPage) {
      table = Number((entry & FRAME) >> 12n);
      continue;
    }
    const inside = address & ((1n << shift) - 1n);
    const base = entry & FRAME & ~((1n << shift) - 1n);
    return host(Number((base | inside) >> 12n));
  }
  return undefined;
}
