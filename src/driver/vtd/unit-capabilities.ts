/** What a VT-d unit says it can do, and what the driver uses of it: VT-d 5.0 § 11.4.2-11.4.3. */
import {
  type BitField,
  VTD_CAPABILITY as CAP,
  VTD_EXTENDED_CAPABILITY as ECAP,
  getField,
} from "../../formats/index.js";
import type { LargestLeaf } from "./page-formats.js";

export interface UnitCapabilities {
  readonly capability: bigint;
  readonly extendedCapability: bigint;
  readonly domainIds: number;
  /** Not-present entries may be cached: filling one needs an invalidation too. */
  readonly cachingMode: boolean;
  /** Levels of stage-2 tables, the most first. */
  readonly stage2Levels: readonly number[];
  readonly stage2Largest: LargestLeaf;
  readonly stage1Levels: readonly number[];
  readonly stage1Largest: LargestLeaf;
  readonly addressBits: number;
  readonly pageSelective: boolean;
  /** 2^this pages at most in one page-selective invalidation. */
  readonly maximumMask: number;
  /** Byte offset of the first fault record, and how many there are. */
  readonly faultOffset: number;
  readonly faultRecords: number;
  readonly queue: boolean;
  readonly coherentWalk: boolean;
  readonly snoop: boolean;
  readonly passThrough: boolean;
  readonly deviceTlb: boolean;
  readonly interruptRemapping: boolean;
  readonly scalable: boolean;
  readonly nested: boolean;
  /** 0 without. */
  readonly pasidBits: number;
  readonly pageRequests: boolean;
  readonly executeRequests: boolean;
  readonly supervisorRequests: boolean;
  readonly dirty: boolean;
  readonly extendedAccessed: boolean;
  readonly throttle: boolean;
  readonly stage1: boolean;
  readonly stage2: boolean;
  readonly pageWalkCoherency: boolean;
}

export function readUnitCapabilities(
  capability: bigint,
  extendedCapability: bigint,
): UnitCapabilities {
  const cap = halves(capability);
  const ecap = halves(extendedCapability);
  const c = (field: BitField): number => getField(cap, 0, field);
  const e = (field: BitField): number => getField(ecap, 0, field);
  const has = (field: BitField): boolean => e(field) !== 0;
  const large = c(CAP.stage2LargePages);
  const scalable = has(ECAP.scalableMode);
  return {
    capability,
    extendedCapability,
    domainIds: 2 ** (4 + 2 * c(CAP.domainIds)),
    cachingMode: c(CAP.cachingMode) !== 0,
    stage2Levels: [5, 4, 3].filter((levels) => (c(CAP.stage2Levels) >>> (levels - 2)) & 1),
    stage2Largest: (large & 3) === 3 ? 3 : large & 1 ? 2 : 1,
    stage1Levels: c(CAP.stage1Levels5) !== 0 ? [5, 4] : [4],
    stage1Largest: c(CAP.stage1Pages1G) !== 0 ? 3 : 2,
    addressBits: c(CAP.maximumAddressWidth) + 1,
    pageSelective: c(CAP.pageSelective) !== 0,
    maximumMask: c(CAP.maximumAddressMask),
    faultOffset: c(CAP.faultRecordOffset) * 16,
    faultRecords: c(CAP.faultRecords) + 1,
    queue: has(ECAP.queuedInvalidation),
    coherentWalk: has(ECAP.coherentWalk),
    snoop: has(ECAP.snoopControl),
    passThrough: has(ECAP.passThrough),
    deviceTlb: has(ECAP.deviceTlb),
    interruptRemapping: has(ECAP.interruptRemapping),
    scalable,
    nested: scalable && has(ECAP.nested),
    pasidBits: scalable && has(ECAP.pasid) ? e(ECAP.pasidSize) + 1 : 0,
    pageRequests: scalable && has(ECAP.pageRequests),
    executeRequests: has(ECAP.executeRequests),
    supervisorRequests: has(ECAP.supervisorRequests),
    dirty: scalable && has(ECAP.stage2AccessedDirty),
    extendedAccessed: has(ECAP.extendedAccessed),
    throttle: has(ECAP.deviceTlbInvalidationThrottle),
    stage1: scalable && has(ECAP.stage1),
    stage2: !scalable || has(ECAP.stage2),
    pageWalkCoherency: has(ECAP.pageWalkCoherency),
  };
}

function halves(value: bigint): number[] {
  return [Number(value & 0xffff_ffffn), Number((value >> 32n) & 0xffff_ffffn)];
}
