/**
 * What firmware tables say about who sends as whom: IVRS alias entries and IORT single mappings.
 *
 * An IVRS alias (AMD I/O Virtualization 3.10 § 5.2.2.7) means that requests of one DeviceID carry
 * another. An IORT single mapping (DEN0049 § 3.1.1.1) sends every requester ID of a root complex to
 * one stream: numbers differ on the bus, yet the SMMU sees one device.
 */
import { makeRid, type Rid } from "../units/index.js";
import type { Evidence } from "./evidence.js";
import type { HostFacts, IvrsTable } from "./host-facts.js";

export const CITE_IVRS = "AMD I/O Virtualization 3.10 § 5.2.2.7";
export const CITE_IORT = "Arm IORT DEN0049 § 3.1.1.1";

const NONE = -1;
/**
 * Per table and segment, requester ID → alias or NONE. Tables are values: read once, never changed.
 */
const aliasTables = new WeakMap<IvrsTable, Map<number, Int32Array>>();

/**
 * The requester ID that `rid` sends as; undefined when the table names none. `because.at` is the
 * IOMMU.
 */
export function ivrsAliasOf(
  ivrs: IvrsTable | undefined,
  segment: number,
  rid: Rid,
): { readonly rid: Rid; readonly because: Evidence } | undefined {
  if (ivrs === undefined || !ivrs.units.some((u) => u.segment === segment && u.aliases.length > 0))
    return undefined;
  let bySegment = aliasTables.get(ivrs);
  if (bySegment === undefined) {
    bySegment = new Map();
    aliasTables.set(ivrs, bySegment);
  }
  let table = bySegment.get(segment);
  if (table === undefined) {
    table = readAliases(ivrs, segment);
    bySegment.set(segment, table);
  }
  const alias = table[rid] ?? NONE;
  if (alias === NONE || alias === rid) return undefined;
  const unit = ivrs.units.find((u) => u.segment === segment);
  if (unit === undefined) return undefined;
  const because: Evidence = {
    kind: "alias-firmware",
    at: unit.iommu,
    rid: makeRid(alias),
    detail: "IVRS",
    cite: CITE_IVRS,
  };
  return { rid: makeRid(alias), because };
}

/**
 * A later entry wins. Filling backwards and each number once keeps the cost at 65,536 whatever the
 * table.
 */
function readAliases(ivrs: IvrsTable, segment: number): Int32Array {
  const table = new Int32Array(65536).fill(NONE);
  const nextFree = new Int32Array(65537);
  for (let i = 0; i < nextFree.length; i++) nextFree[i] = i;
  const find = (from: number): number => {
    let root = from;
    while (nextFree[root] !== root) root = nextFree[root] ?? 65536;
    for (let at = from; at !== root; ) {
      const next = nextFree[at] ?? root;
      nextFree[at] = root;
      at = next;
    }
    return root;
  };
  for (const unit of [...ivrs.units].reverse()) {
    if (unit.segment !== segment) continue;
    for (const entry of [...unit.aliases].reverse()) {
      const last = Math.min(entry.last, 65535);
      for (let at = find(Math.max(entry.first, 0)); at <= last; at = find(at + 1)) {
        table[at] = entry.alias & 0xffff;
        nextFree[at] = at + 1;
      }
    }
  }
  return table;
}

/** A key for the stream that all requester IDs of a segment are folded into, or undefined. */
export function foldedStreamOf(facts: HostFacts, segment: number): string | undefined {
  const complexes = facts.iort?.rootComplexes ?? [];
  for (const [index, complex] of complexes.entries()) {
    if (complex.segment !== segment) continue;
    const single = complex.mappings.find((m) => m.single && m.to.startsWith("smmu"));
    if (single !== undefined) return `${index}:${single.outputBase}`;
  }
  return undefined;
}
