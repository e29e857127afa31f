/** The IOTLB's entries as the inspection shows them. */
import type { CachedTranslation } from "./iommu.js";
import type { Iotlb } from "./iotlb.js";
import { Rights } from "./rights.js";

export function cachedTranslations(iotlb: Iotlb): CachedTranslation[] {
  return iotlb.entries().map(({ domainId, pasid, frame, target, pageShift, rights }) => ({
    domainId,
    pasid,
    frame,
    target,
    pageShift,
    readable: (rights & Rights.stage2Read) !== 0,
    writable: (rights & Rights.stage2Write) !== 0 && (rights & Rights.stage1Write) !== 0,
  }));
}
