/** IOMMU_HWPT_INVALIDATE. Linux hw_pagetable.c. */
import { UapiError } from "../abi/index.js";
import type { InvalidateArgs } from "./api.js";
import type { ContextState } from "./context-state.js";
import type { HwptNested } from "./hw-pagetable.js";
import { INVALIDATE_ENTRIES_MAX, PAGE_SIZE } from "./limits.js";
import type { Viommu } from "./viommu.js";

const CITE = { cite: "Linux iommufd_hwpt_invalidate()" };

/**
 * Entries take effect one after the other; `entries.done` says how many did, also on failure.
 * @throws UapiError EINVAL, ENOENT, EOPNOTSUPP, or what the driver makes of an entry.
 */
export function hwptInvalidate(ctx: ContextState, args: InvalidateArgs): void {
  const { entries } = args;
  entries.done = 0;
  if (entries.count !== 0 && (entries.entryBytes <= 0 || entries.entryBytes > PAGE_SIZE)) {
    throw new UapiError("EINVAL", `the length of an entry is not 1..${PAGE_SIZE}`, CITE);
  }
  if (entries.count > INVALIDATE_ENTRIES_MAX) {
    throw new UapiError("EINVAL", `more than ${INVALIDATE_ENTRIES_MAX} entries`, CITE);
  }
  const target = ctx.objects.find(args.hwptId);
  if (target === undefined) throw new UapiError("ENOENT", "no object has this id", CITE);
  if (target.kind !== "hwpt-nested" && target.kind !== "viommu") {
    throw new UapiError("EINVAL", "the object is no nested table or vIOMMU", CITE);
  }
  const owner =
    target.kind === "viommu" ? (target as Viommu).virtual : (target as HwptNested).domain;
  if (owner.invalidate === undefined) {
    throw new UapiError("EOPNOTSUPP", "the driver has no invalidation for this", CITE);
  }
  owner.invalidate(args.dataType, entries);
}
