/**
 * Shared by the parsers that meet groups: collecting members, and functions of which only the
 * address is known.
 */
import { ConfigSpace } from "../../pcie/index.js";
import type { Bdf, InputPlace } from "../../units/index.js";
import type { CapturedFunction, RecordedGroup } from "../capture.js";

/** Groups sorted by number, members by address, from (group, device) pairs in any order. */
export function groupsFrom(pairs: Iterable<readonly [number, Bdf]>): RecordedGroup[] {
  const members = new Map<number, Set<Bdf>>();
  for (const [id, bdf] of pairs) {
    const set = members.get(id);
    if (set === undefined) members.set(id, new Set([bdf]));
    else set.add(bdf);
  }
  return [...members]
    .sort((a, b) => a[0] - b[0])
    .map(([id, set]) => ({ id, devices: [...set].sort((a, b) => a - b) }));
}

const GROUP_PROPERTY = /^\s*IOMMU group: \d{1,9}$/;

/** The line has the form in which `lspci -vv` names a function's group; some lists use it too. */
export function isGroupProperty(line: string): boolean {
  return GROUP_PROPERTY.test(line);
}

/** One object for all: it has no bytes and cannot change. */
const NOTHING_KNOWN = new ConfigSpace(new Uint8Array(0), 0, new Uint8Array(512));

export function unknownFunction(bdf: Bdf, place: InputPlace): CapturedFunction {
  return { bdf, config: NOTHING_KNOWN, place, idsFrom: "none" };
}
