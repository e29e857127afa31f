/** VT-d's two stages as radix formats: VT-d 5.0 § 9.7 and § 9.8. */
import { type BitField, VTD_STAGE1_ENTRY, VTD_STAGE2_ENTRY } from "../../formats/index.js";
import { Prot } from "../driver-port.js";
import type { RadixFormat } from "../radix-format.js";

/** Largest page of a table, as the level that holds it: 4 KiB, 2 MiB, 1 GiB. */
export type LargestLeaf = 1 | 2 | 3;

const mask = (...fields: readonly BitField[]): number =>
  fields.reduce((all, field) => all | ((2 ** field.width - 1) << field.low), 0);

const S1 = VTD_STAGE1_ENTRY;
const S2 = VTD_STAGE2_ENTRY;
/** Bits 51:32 of the frame. */
const FRAME_HIGH = 0x000f_ffff;

/** Every access of the page is snooped (§ 9.8, SNP); for the `low` argument of `map`. */
export const STAGE2_SNOOP = mask(S2.snoop);

/**
 * Stage 2. Execution is not limited; memory type and PAT are left to the processor's tables.
 * @param levels 3, 4 or 5.
 */
export function stage2Format(levels: number, largest: LargestLeaf): RadixFormat {
  const protLow = (prot: number): number =>
    (prot & Prot.read ? mask(S2.read) : 0) | (prot & Prot.write ? mask(S2.write) : 0);
  return {
    name: `vtd-stage2-${levels}`,
    ...common(levels, largest, mask(S2.pageSize)),
    present: mask(S2.read, S2.write),
    tableLow: fill(mask(S2.read, S2.write)),
    protLow: Array.from({ length: 16 }, (_, prot) => protLow(prot)),
    writable: mask(S2.write),
    dirty: mask(S2.dirty),
  };
}

/**
 * Stage 1: x86's own format. All pages are for unprivileged requests too; a page that can be
 * written can be read.
 * @param levels 4 or 5.
 */
export function stage1Format(levels: number, largest: LargestLeaf): RadixFormat {
  const protLow = (prot: number): number =>
    (prot & (Prot.read | Prot.write) ? mask(S1.present, S1.user) : 0) |
    (prot & Prot.write ? mask(S1.write) : 0);
  return {
    name: `vtd-stage1-${levels}`,
    ...common(levels, largest, mask(S1.pageSize)),
    present: mask(S1.present),
    tableLow: fill(mask(S1.present, S1.write, S1.user)),
    protLow: Array.from({ length: 16 }, (_, prot) => protLow(prot)),
    writable: mask(S1.write),
    dirty: mask(S1.dirty),
  };
}

function common(levels: number, largest: LargestLeaf, pageSize: number) {
  return {
    levels,
    leafLevels: largest === 3 ? 0b1110 : largest === 2 ? 0b0110 : 0b0010,
    frameShift: 12,
    frameHigh: FRAME_HIGH,
    tableMask: pageSize,
    tableValue: fill(0),
    tableHigh: fill(0),
    leafMark: [0, 0, pageSize, pageSize, 0, 0],
    protHigh: new Array<number>(16).fill(0),
  };
}

/** One value for every level. */
function fill(value: number): readonly number[] {
  return new Array<number>(6).fill(value);
}
