/** Whether a unit can use a domain that was made for another one. */
import type { VtdNestedDomain } from "./nested-domain.js";
import type { VtdPagingDomain } from "./paging-domain.js";
import type { VtdUnit } from "./unit.js";

/** Why the unit cannot use the domain; undefined when it can. */
export function misfit(
  unit: VtdUnit,
  domain: VtdPagingDomain | VtdNestedDomain,
): string | undefined {
  const paging = domain.kind === "nested" ? domain.parent : domain;
  const caps = unit.capabilities;
  if (domain.kind === "nested" && !(unit.scalable && caps.nested)) return "the unit cannot nest";
  if (domain.kind === "nested" && domain.instance !== unit) {
    return "the nested domain was made for another unit";
  }
  if (paging.translation === "stage1") {
    if (!unit.scalable || !caps.stage1) return "the unit has no stage-1 tables";
    if (!caps.stage1Levels.includes(paging.levels)) return "the unit has no tables of this depth";
  } else {
    if (unit.scalable && !caps.stage2) return "the unit has no stage-2 tables";
    if (!caps.stage2Levels.includes(paging.levels)) return "the unit has no tables of this depth";
    const largest = 1n << BigInt(12 + 9 * (caps.stage2Largest - 1));
    if (paging.pageSizes > 2n * largest - 1n) return "the unit has no pages of this size";
    if (paging.dirty !== undefined && !(unit.scalable && caps.dirty)) {
      return "the unit does not keep dirty bits";
    }
  }
  if (paging.enforcesCoherency && !caps.snoop) return "the unit cannot enforce snooping";
  if (paging.aperture.last >= 1n << BigInt(caps.addressBits)) {
    return "the domain's addresses are wider than the unit's";
  }
  return undefined;
}
