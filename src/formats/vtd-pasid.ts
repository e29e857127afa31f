/**
 * Intel VT-d 5.0 § 9.5-9.6: PASID directory and PASID table entries.
 *
 * Bits 19:6 of a PASID choose the directory entry (8 bytes), bits 5:0 the entry (64 bytes) of the
 * table that it leads to; a table is one frame. Frame fields hold a page frame number.
 */
import { bit, bits } from "./layout.js";

/** § 9.5, 64 bits. */
export const VTD_PASID_DIRECTORY_ENTRY = {
  present: bit(0),
  faultProcessingDisable: bit(1),
  pasidTable: bits(63, 12),
} as const;

/** § 9.6, 512 bits. */
export const VTD_PASID_ENTRY = {
  present: bit(0),
  faultProcessingDisable: bit(1),
  /** Of the stage-2 table: levels are the value plus 2. */
  addressWidth: bits(4, 2),
  /** {@link VtdPasidTranslation} */
  translationType: bits(8, 6),
  /** Accessed and dirty bits in the stage-2 table (ECAP.SSADS). */
  stage2AccessedDirty: bit(9),
  stage2Table: bits(63, 12),
  domainId: bits(79, 64),
  /** Reads of stage-1 tables are snooped (ECAP.SMPWC). */
  pageWalkSnoop: bit(87),
  /** Accesses are snooped whatever the request says (ECAP.SC). */
  pageSnoop: bit(88),
  cacheDisable: bit(89),
  memoryTypeEnable: bit(90),
  memoryType: bits(95, 91),
  /** Privileged requests are served (ECAP.SRS). */
  supervisorRequestEnable: bit(128),
  /** Execute requests are served (ECAP.ERS). */
  executeRequestEnable: bit(129),
  /** {@link VtdStage1Mode} */
  stage1Mode: bits(131, 130),
  /** Read-only pages are read-only for privileged requests too. */
  writeProtectEnable: bit(132),
  noExecuteEnable: bit(133),
  /** Privileged execution of user pages is refused. */
  supervisorExecutePrevention: bit(134),
  extendedAccessedEnable: bit(135),
  stage1Table: bits(191, 140),
} as const;

/** § 9.6, field PGTT. */
export const VtdPasidTranslation = {
  stage1: 1,
  stage2: 2,
  nested: 3,
  passThrough: 4,
} as const;

/** § 9.6, field FSPM. */
export const VtdStage1Mode = { levels4: 0, levels5: 1 } as const;

export const VTD_PASID_ENTRY_WORDS = 16;
export const VTD_PASID_DIRECTORY_ENTRY_WORDS = 2;

/** Byte offset of a PASID's entry in the directory; it may lie in a later frame of it. */
export const vtdPasidDirectoryOffset = (pasid: number): number => (pasid >>> 6) * 8;
/** Byte offset of a PASID's entry in its table. */
export const vtdPasidEntryOffset = (pasid: number): number => (pasid & 63) * 64;
