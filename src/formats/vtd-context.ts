/**
 * Intel VT-d 5.0 § 9.1-9.4: root and context entries, legacy and scalable.
 *
 * The root table is one frame of 256 entries of 16 bytes, one per bus. In legacy mode an entry
 * leads to a context table of 256 entries of 16 bytes, one per device and function. In scalable
 * mode it leads to two: functions 00h-7Fh in the lower, 80h-FFh in the upper, of 128 entries of
 * 32 bytes each. Frame fields hold a page frame number (address bits 63:12).
 */
import { bit, bits } from "./layout.js";

/** § 9.1, 128 bits. */
export const VTD_ROOT_ENTRY = {
  present: bit(0),
  contextTable: bits(63, 12),
} as const;

/** § 9.2, 128 bits. */
export const VTD_SCALABLE_ROOT_ENTRY = {
  lowerPresent: bit(0),
  lowerContextTable: bits(63, 12),
  upperPresent: bit(64),
  upperContextTable: bits(127, 76),
} as const;

/** § 9.3, 128 bits. */
export const VTD_CONTEXT_ENTRY = {
  present: bit(0),
  /** Fault processing disable: faults of this device are not recorded. */
  faultProcessingDisable: bit(1),
  /** {@link VtdTranslationType} */
  translationType: bits(3, 2),
  stage2Table: bits(63, 12),
  /** {@link VtdAddressWidth} */
  addressWidth: bits(66, 64),
  /** For software; hardware ignores it. */
  available: bits(70, 67),
  domainId: bits(87, 72),
} as const;

/** § 9.3, field TT. */
export const VtdTranslationType = {
  /** Untranslated requests go through the stage-2 table; translation and translated ones fault. */
  untranslatedOnly: 0,
  /** The same, and translation requests and translated requests are served (ECAP.DT). */
  withDeviceTlb: 1,
  /** Untranslated requests pass unchanged (ECAP.PT). */
  passThrough: 2,
} as const;

/** Field AW: levels of the stage-2 table are the value plus 2 (§ 9.3, § 9.6). */
export const VtdAddressWidth = { bits39: 1, bits48: 2, bits57: 3 } as const;

/** § 9.4, 256 bits. */
export const VTD_SCALABLE_CONTEXT_ENTRY = {
  present: bit(0),
  faultProcessingDisable: bit(1),
  /** Translation requests and translated requests are served. */
  deviceTlbEnable: bit(2),
  /** Requests with a PASID are served. */
  pasidEnable: bit(3),
  /** Page requests are served. */
  pageRequestEnable: bit(4),
  /** The directory covers 2^(value + 7) frames of 64 PASIDs: PASIDs below 2^(value + 13). */
  pasidDirectorySize: bits(11, 9),
  pasidDirectory: bits(63, 12),
  /** The PASID that requests without one use. */
  ridPasid: bits(83, 64),
  /** Requests without a PASID are privileged. */
  ridPrivileged: bit(84),
} as const;

export const VTD_ROOT_ENTRY_WORDS = 4;
export const VTD_CONTEXT_ENTRY_WORDS = 4;
export const VTD_SCALABLE_CONTEXT_ENTRY_WORDS = 8;

/** Byte offset of a requester ID's entry in the root table; both modes. */
export const vtdRootEntryOffset = (requester: number): number => (requester >>> 8) * 16;
/** Byte offset in the context table of legacy mode. */
export const vtdContextEntryOffset = (requester: number): number => (requester & 0xff) * 16;
/** Byte offset in the lower or upper context table of scalable mode. */
export const vtdScalableContextEntryOffset = (requester: number): number => (requester & 0x7f) * 32;
