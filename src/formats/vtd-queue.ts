/**
 * Intel VT-d 5.0 § 6.5.2: descriptors of the invalidation queue.
 *
 * A descriptor has 16 bytes, or 32 of which the upper half is reserved here (IQA.DW). Bits 11:9 and
 * 3:0 together are its type. Frame fields hold a page frame number; an address mask of n covers
 * 2^n pages, aligned.
 */
import { type BitField, bit, bits } from "./layout.js";

export const VtdDescriptorType = {
  contextCache: 1,
  iotlb: 2,
  deviceTlb: 3,
  interruptEntryCache: 4,
  wait: 5,
  pasidIotlb: 6,
  pasidCache: 7,
  pasidDeviceTlb: 8,
  pageGroupResponse: 9,
} as const;

const TYPE = { typeLow: bits(3, 0), typeHigh: bits(11, 9) } as const;

/** § 6.5.2.1 */
export const VTD_CONTEXT_CACHE_DESCRIPTOR = {
  ...TYPE,
  /** {@link VtdContextGranularity} */
  granularity: bits(5, 4),
  domainId: bits(31, 16),
  sourceId: bits(47, 32),
  /** Function bits of the requester ID that are not compared: as the source qualifier. */
  functionMask: bits(49, 48),
} as const;
export const VtdContextGranularity = { global: 1, domain: 2, device: 3 } as const;

/** § 6.5.2.2 */
export const VTD_PASID_CACHE_DESCRIPTOR = {
  ...TYPE,
  /** {@link VtdPasidCacheGranularity} */
  granularity: bits(5, 4),
  domainId: bits(31, 16),
  pasid: bits(51, 32),
} as const;
export const VtdPasidCacheGranularity = { domain: 0, pasid: 1, global: 3 } as const;

/** § 6.5.2.3 */
export const VTD_IOTLB_DESCRIPTOR = {
  ...TYPE,
  /** {@link VtdIotlbGranularity} */
  granularity: bits(5, 4),
  drainWrites: bit(6),
  drainReads: bit(7),
  domainId: bits(31, 16),
  addressMask: bits(69, 64),
  /** Only entries of pages need to go, not those of tables above them. */
  invalidationHint: bit(70),
  frame: bits(127, 76),
} as const;
export const VtdIotlbGranularity = { global: 1, domain: 2, page: 3 } as const;

/** § 6.5.2.4 */
export const VTD_PASID_IOTLB_DESCRIPTOR = {
  ...TYPE,
  /** {@link VtdPasidIotlbGranularity} */
  granularity: bits(5, 4),
  domainId: bits(31, 16),
  pasid: bits(51, 32),
  addressMask: bits(69, 64),
  invalidationHint: bit(70),
  frame: bits(127, 76),
} as const;
export const VtdPasidIotlbGranularity = { pasid: 2, page: 3 } as const;

/** § 6.5.2.5 */
export const VTD_DEVICE_TLB_DESCRIPTOR = {
  ...TYPE,
  pfSourceIdLow: bits(15, 12),
  maximumPending: bits(20, 16),
  sourceId: bits(47, 32),
  pfSourceIdHigh: bits(63, 52),
  /** With it, low one bits of the frame give the size, as in ATS invalidation messages. */
  size: bit(64),
  frame: bits(127, 76),
} as const;

/** § 6.5.2.6 */
export const VTD_PASID_DEVICE_TLB_DESCRIPTOR = {
  ...TYPE,
  maximumPending: bits(8, 4),
  pfSourceIdLow: bits(15, 12),
  sourceId: bits(31, 16),
  pasid: bits(51, 32),
  pfSourceIdHigh: bits(63, 52),
  /** For every PASID of the device. */
  global: bit(64),
  size: bit(75),
  frame: bits(127, 76),
} as const;

/** § 6.5.2.7 */
export const VTD_INTERRUPT_ENTRY_CACHE_DESCRIPTOR = {
  ...TYPE,
  /** 0 all entries, 1 those of `index` and `indexMask`. */
  granularity: bit(4),
  indexMask: bits(31, 27),
  index: bits(47, 32),
} as const;

/** § 6.5.2.8 */
export const VTD_WAIT_DESCRIPTOR = {
  ...TYPE,
  interrupt: bit(4),
  statusWrite: bit(5),
  fence: bit(6),
  /** Page requests that arrived before are in the queue or answered. */
  pageRequestDrain: bit(7),
  statusData: bits(63, 32),
  /** Address bits 51:2 of the status word. */
  statusAddress: bits(115, 66),
} as const;

/** § 7.7.1 */
export const VTD_PAGE_GROUP_RESPONSE_DESCRIPTOR = {
  ...TYPE,
  pasidPresent: bit(4),
  responseCode: bits(15, 12),
  requesterId: bits(31, 16),
  pasid: bits(51, 32),
  lastPage: bit(66),
  groupIndex: bits(75, 67),
} as const;

/** § 7.7.1 and PCIe 6 § 10.4.2.2. */
export const PageResponseCode = { success: 0, invalidRequest: 1, failure: 15 } as const;

export const VTD_DESCRIPTOR_WORDS = 4;
export const VTD_WIDE_DESCRIPTOR_WORDS = 8;

/** The layout that a descriptor of each type has. */
export const VTD_DESCRIPTORS: Readonly<Record<number, Readonly<Record<string, BitField>>>> = {
  [VtdDescriptorType.contextCache]: VTD_CONTEXT_CACHE_DESCRIPTOR,
  [VtdDescriptorType.iotlb]: VTD_IOTLB_DESCRIPTOR,
  [VtdDescriptorType.deviceTlb]: VTD_DEVICE_TLB_DESCRIPTOR,
  [VtdDescriptorType.interruptEntryCache]: VTD_INTERRUPT_ENTRY_CACHE_DESCRIPTOR,
  [VtdDescriptorType.wait]: VTD_WAIT_DESCRIPTOR,
  [VtdDescriptorType.pasidIotlb]: VTD_PASID_IOTLB_DESCRIPTOR,
  [VtdDescriptorType.pasidCache]: VTD_PASID_CACHE_DESCRIPTOR,
  [VtdDescriptorType.pasidDeviceTlb]: VTD_PASID_DEVICE_TLB_DESCRIPTOR,
  [VtdDescriptorType.pageGroupResponse]: VTD_PAGE_GROUP_RESPONSE_DESCRIPTOR,
};

/**
 * The frame field of a device-TLB descriptor for 2^order pages from `pfn` on: with an order above 0
 * its lowest `order - 1` bits are ones below a zero, and `size` is 1 (PCIe 6 § 10.3.2).
 * @returns the value of `frame`; `size` is 1 when `order > 0`.
 * @throws RangeError when `pfn` is not aligned to the size.
 */
export function deviceTlbFrame(pfn: number, order: number): number {
  const size = 2 ** order;
  if (pfn % size !== 0) throw new RangeError(`frame ${pfn} is not aligned to ${size} pages`);
  return order === 0 ? pfn : pfn + size / 2 - 1;
}
