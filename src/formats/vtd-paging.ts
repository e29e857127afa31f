/**
 * Intel VT-d 5.0 § 9.7-9.8: entries of stage-1 and stage-2 tables.
 *
 * Both are radix tables of 512 entries of 8 bytes per frame, 9 address bits per level above the
 * 12 bits of a page. Level 1 holds 4 KiB pages; at level 2 (2 MiB) and 3 (1 GiB) bit 7 turns an
 * entry into a page. Stage-1 entries are those of x86 processors. Frame fields hold a page frame
 * number; the low bits of a large page's frame are reserved and zero.
 */
import { bit, bits } from "./layout.js";

/** § 9.7, stage 1, 64 bits. */
export const VTD_STAGE1_ENTRY = {
  present: bit(0),
  write: bit(1),
  /** Requests that are not privileged may use it. */
  user: bit(2),
  writeThrough: bit(3),
  cacheDisable: bit(4),
  accessed: bit(5),
  /** In the entry of a page. */
  dirty: bit(6),
  /** At levels 2 and 3: this is a page. */
  pageSize: bit(7),
  global: bit(8),
  /** Set with `accessed` where the PASID entry asks for it. */
  extendedAccessed: bit(10),
  frame: bits(51, 12),
  executeDisable: bit(63),
} as const;

/** § 9.8, stage 2, 64 bits. */
export const VTD_STAGE2_ENTRY = {
  read: bit(0),
  write: bit(1),
  /** Ignored by hardware that does not check execution in stage 2. */
  execute: bit(2),
  /** Extended memory type and "ignore PAT", in the entry of a page. */
  memoryType: bits(5, 3),
  ignorePat: bit(6),
  /** At levels 2 and 3: this is a page. */
  pageSize: bit(7),
  accessed: bit(8),
  dirty: bit(9),
  /** In the entry of a page: accesses are snooped whatever the request says (ECAP.SC). */
  snoop: bit(11),
  frame: bits(51, 12),
} as const;

export const PAGING_ENTRY_WORDS = 2;
export const PAGING_LEVEL_BITS = 9;
export const PAGING_ENTRIES = 512;
