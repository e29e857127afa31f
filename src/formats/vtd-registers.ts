/**
 * Intel VT-d 5.0 § 11.4: registers of a remapping unit, by byte offset, and their fields.
 */
import { bit, bits } from "./layout.js";

export const VtdRegister = {
  version: 0x00,
  capability: 0x08,
  extendedCapability: 0x10,
  globalCommand: 0x18,
  globalStatus: 0x1c,
  rootTable: 0x20,
  contextCommand: 0x28,
  faultStatus: 0x34,
  faultEventControl: 0x38,
  faultEventData: 0x3c,
  faultEventAddress: 0x40,
  faultEventUpperAddress: 0x44,
  protectedMemoryEnable: 0x64,
  protectedLowBase: 0x68,
  protectedLowLimit: 0x6c,
  protectedHighBase: 0x70,
  protectedHighLimit: 0x78,
  queueHead: 0x80,
  queueTail: 0x88,
  queueAddress: 0x90,
  invalidationStatus: 0x9c,
  invalidationEventControl: 0xa0,
  invalidationEventData: 0xa4,
  invalidationEventAddress: 0xa8,
  invalidationEventUpperAddress: 0xac,
  queueError: 0xb0,
  interruptTable: 0xb8,
  pageRequestHead: 0xc0,
  pageRequestTail: 0xc8,
  pageRequestAddress: 0xd0,
  pageRequestStatus: 0xdc,
  pageRequestEventControl: 0xe0,
  pageRequestEventData: 0xe4,
  pageRequestEventAddress: 0xe8,
  pageRequestEventUpperAddress: 0xec,
} as const;

/** § 11.4.2 */
export const VTD_CAPABILITY = {
  /** 2^(4 + 2 * value) domain ids. */
  domainIds: bits(2, 0),
  requiresWriteBufferFlush: bit(4),
  protectedLowMemory: bit(5),
  protectedHighMemory: bit(6),
  cachingMode: bit(7),
  /** Stage-2 tables: bit 1 of 3 levels, bit 2 of 4, bit 3 of 5. */
  stage2Levels: bits(12, 8),
  /** Width of an input address, minus 1. */
  maximumAddressWidth: bits(21, 16),
  zeroLengthRead: bit(22),
  /** Fault records, in units of 16 bytes. */
  faultRecordOffset: bits(33, 24),
  /** Stage-2 pages: bit 0 of 2 MiB, bit 1 of 1 GiB. */
  stage2LargePages: bits(37, 34),
  pageSelective: bit(39),
  /** Fault records, minus 1. */
  faultRecords: bits(47, 40),
  maximumAddressMask: bits(53, 48),
  drainWrites: bit(54),
  drainReads: bit(55),
  stage1Pages1G: bit(56),
  postedInterrupts: bit(59),
  stage1Levels5: bit(60),
} as const;

/** § 11.4.3 */
export const VTD_EXTENDED_CAPABILITY = {
  coherentWalk: bit(0),
  queuedInvalidation: bit(1),
  deviceTlb: bit(2),
  interruptRemapping: bit(3),
  extendedInterrupts: bit(4),
  passThrough: bit(6),
  snoopControl: bit(7),
  iotlbRegisterOffset: bits(17, 8),
  maximumHandleMask: bits(23, 20),
  nested: bit(26),
  pageRequests: bit(29),
  executeRequests: bit(30),
  supervisorRequests: bit(31),
  noWriteFlag: bit(33),
  extendedAccessed: bit(34),
  /** PASIDs have this many bits, minus 1. */
  pasidSize: bits(39, 35),
  pasid: bit(40),
  deviceTlbInvalidationThrottle: bit(41),
  pageRequestDrain: bit(42),
  scalableMode: bit(43),
  stage2AccessedDirty: bit(45),
  stage2: bit(46),
  stage1: bit(47),
  pageWalkCoherency: bit(48),
  ridPasid: bit(49),
  abortDma: bit(52),
  ridPrivileged: bit(53),
} as const;

/** § 11.4.4-11.4.5: bits of the global command and status registers. */
export const VTD_GLOBAL_COMMAND = {
  compatibilityInterrupts: bit(23),
  setInterruptTable: bit(24),
  interruptRemapping: bit(25),
  queuedInvalidation: bit(26),
  setRootTable: bit(30),
  translation: bit(31),
} as const;

/** § 11.4.6 */
export const VTD_ROOT_TABLE_REGISTER = {
  /** {@link VtdRootTableMode} */
  mode: bits(11, 10),
  rootTable: bits(63, 12),
} as const;
export const VtdRootTableMode = { legacy: 0, scalable: 1, abort: 3 } as const;

/** § 11.4.7. Granularities are those of {@link VtdContextGranularity}. */
export const VTD_CONTEXT_COMMAND = {
  domainId: bits(15, 0),
  sourceId: bits(31, 16),
  functionMask: bits(33, 32),
  /** What the unit did; 0: the request was incorrect, nothing was done. */
  actualGranularity: bits(60, 59),
  granularity: bits(62, 61),
  /** Set by software to begin, cleared by the unit at the end. */
  invalidate: bit(63),
} as const;

/** § 11.4.8.2: at {@link VTD_EXTENDED_CAPABILITY}.iotlbRegisterOffset. */
export const VTD_INVALIDATE_ADDRESS = {
  addressMask: bits(5, 0),
  invalidationHint: bit(6),
  frame: bits(63, 12),
} as const;

/**
 * § 11.4.8.1: 8 bytes behind the address. Granularities are those of {@link VtdIotlbGranularity}.
 */
export const VTD_IOTLB_COMMAND = {
  domainId: bits(47, 32),
  drainWrites: bit(48),
  drainReads: bit(49),
  /** As of the context command. */
  actualGranularity: bits(58, 57),
  granularity: bits(61, 60),
  invalidate: bit(63),
} as const;

/** § 11.4.16 */
export const VTD_PROTECTED_MEMORY_ENABLE = { status: bit(0), enable: bit(31) } as const;

/** § 11.4.9 */
export const VTD_FAULT_STATUS = {
  /** A fault could not be recorded. */
  primaryOverflow: bit(0),
  primaryPending: bit(1),
  queueError: bit(4),
  completionError: bit(5),
  timeOut: bit(6),
  /** First record that holds a fault. */
  recordIndex: bits(15, 8),
} as const;

/** § 11.4.10 and its likes for invalidation and page requests. */
export const VTD_EVENT_CONTROL = { pending: bit(30), mask: bit(31) } as const;

/** § 11.4.19-11.4.21: head and tail count bytes from the first descriptor. */
export const VTD_QUEUE_ADDRESS = {
  /** 2^value frames. */
  size: bits(2, 0),
  wideDescriptors: bit(11),
  frame: bits(63, 12),
} as const;

/** § 11.4.26: why the queue stopped. */
export const VTD_QUEUE_ERROR = { information: bits(3, 0) } as const;
export const VtdQueueError = {
  none: 0,
  tailInvalid: 1,
  descriptorAccess: 2,
  typeInvalid: 3,
  reservedField: 4,
  widthInvalid: 5,
  tailNotAligned: 6,
} as const;

/** § 11.4.27 */
export const VTD_INTERRUPT_TABLE = {
  /** 2^(value + 1) entries. */
  size: bits(3, 0),
  extendedMode: bit(11),
  frame: bits(63, 12),
} as const;

/** § 11.4.30: 2^value frames of 32-byte requests. */
export const VTD_PAGE_REQUEST_ADDRESS = { size: bits(2, 0), frame: bits(63, 12) } as const;
/** § 11.4.31 */
export const VTD_PAGE_REQUEST_STATUS = { pending: bit(0), overflow: bit(1) } as const;
