/**
 * From requester ID to context: root and context tables, VT-d 5.0 § 3.4 and § 9.1-9.4.
 *
 * The cache holds what hardware decoded, by requester ID, until software invalidates it. Faults are
 * codes of `VtdFault`; 0 is none. Entries that fault are not cached.
 */
import {
  getField,
  uncoveredBits,
  VTD_CONTEXT_ENTRY,
  VTD_SCALABLE_CONTEXT_ENTRY,
  VtdFault,
  VtdPasidTranslation,
  VtdRootTableMode,
  VtdTranslationType,
} from "../../formats/index.js";
import { EntryCache } from "../entry-cache.js";
import { highBitsFrom, reservedHigh } from "../table-entry.js";
import type { VtdCapabilities } from "./capabilities.js";
import type { EntryReader } from "./entry-reader.js";
import { ProcessFlag, ProcessWord } from "./process-line.js";

/** Words of a scalable context's line. */
export const ContextWord = {
  flags: 2,
  directoryLo: 3,
  directoryHi: 4,
  ridPasid: 5,
  /** Bits that a PASID must not have: beyond the directory, or beyond the unit's width. */
  pasidHigh: 6,
} as const;

export const ContextFlag = {
  deviceTlb: 1 << 0,
  pasid: 1 << 1,
  pageRequests: 1 << 2,
  ridPrivileged: 1 << 3,
  faultProcessingDisable: 1 << 4,
} as const;

export const CONTEXT_LINES = 1024;
/** Bits 11:1 of a root entry's halves. */
const ROOT_RESERVED_LOW = 0xffe;
const LEGACY_RESERVED = uncoveredBits(VTD_CONTEXT_ENTRY, 4);
const SCALABLE_RESERVED = uncoveredBits(VTD_SCALABLE_CONTEXT_ENTRY, 8);

export class DeviceTable {
  readonly #reader: EntryReader;
  readonly #capabilities: VtdCapabilities;
  readonly #reservedHigh: number;
  /** Legacy: process lines. Scalable: lines of {@link ContextWord}. Keys: requester, 0. */
  readonly cache: EntryCache;
  mode: number = VtdRootTableMode.legacy;
  /** Not legacy: scalable, or a mode that serves nobody. */
  isScalable = false;
  rootLo = 0;
  rootHi = 0;
  /** The line found, after a lookup without fault. */
  line = -1;
  /** The entry that faulted asks not to record faults. */
  silent = false;

  constructor(reader: EntryReader, capabilities: VtdCapabilities, storage: Int32Array) {
    this.cache = new EntryCache(CONTEXT_LINES, storage);
    this.#reader = reader;
    this.#capabilities = capabilities;
    this.#reservedHigh = reservedHigh(capabilities.hostAddressWidth);
  }

  /** Finds or fetches the line of a requester. @returns a fault code, or 0. */
  lookup(requester: number): number {
    const line = this.cache.find(requester, 0);
    if (line >= 0) {
      this.line = line;
      return 0;
    }
    this.silent = false;
    return this.mode === VtdRootTableMode.legacy
      ? this.#fetchLegacy(requester)
      : this.#fetchScalable(requester);
  }

  /** § 3.4.2: root entry, then context entry. */
  #fetchLegacy(requester: number): number {
    const reader = this.#reader;
    const { words } = reader;
    const rootLo = this.rootLo + (requester >>> 8) * 16;
    if (!reader.read("root-entry", rootLo, this.rootHi, 16)) return VtdFault.rootAccess;
    if (((words[0] as number) & 1) === 0) return VtdFault.rootNotPresent;
    const upper = (words[2] as number) | (words[3] as number);
    if (upper !== 0 || this.#isBadPointer(0, ROOT_RESERVED_LOW)) return VtdFault.rootReserved;
    const lo = ((words[0] as number) & ~0xfff) + (requester & 0xff) * 16;
    if (!reader.read("context-entry", lo, words[1] as number, 16)) return VtdFault.contextAccess;
    this.silent = getField(words, 0, VTD_CONTEXT_ENTRY.faultProcessingDisable) !== 0;
    if (((words[0] as number) & 1) === 0) return VtdFault.contextNotPresent;
    if (this.#hasReserved(LEGACY_RESERVED) || this.#isBadPointer(0, 0)) {
      return VtdFault.contextReserved;
    }
    return this.#decodeLegacy(requester);
  }

  /** § 9.3: is the entry programmed as this unit supports? */
  #decodeLegacy(requester: number): number {
    const { words } = this.#reader;
    const { deviceTlb, passThrough, stage2Levels, domainIdBits } = this.#capabilities;
    const type = getField(words, 0, VTD_CONTEXT_ENTRY.translationType);
    const domainId = getField(words, 0, VTD_CONTEXT_ENTRY.domainId);
    const levels = getField(words, 0, VTD_CONTEXT_ENTRY.addressWidth) + 2;
    if (domainId >= 2 ** domainIdBits) return VtdFault.contextReserved;
    if (type > VtdTranslationType.passThrough) return VtdFault.contextInvalid;
    if (type === VtdTranslationType.withDeviceTlb && !deviceTlb) return VtdFault.contextInvalid;
    if (type === VtdTranslationType.passThrough && !passThrough) return VtdFault.contextInvalid;
    if (((stage2Levels >>> levels) & 1) === 0) return VtdFault.contextInvalid;
    const { data } = this.cache;
    const line = this.cache.claim(requester, 0);
    const translation =
      type === VtdTranslationType.passThrough
        ? VtdPasidTranslation.passThrough
        : VtdPasidTranslation.stage2;
    data[line + ProcessWord.flags] =
      translation |
      (levels << ProcessFlag.stage2LevelsShift) |
      (this.silent ? ProcessFlag.faultProcessingDisable : 0);
    data[line + ProcessWord.domainId] = domainId;
    data[line + ProcessWord.stage2Lo] = (words[0] as number) & ~0xfff;
    data[line + ProcessWord.stage2Hi] = words[1] as number;
    data[line + ProcessWord.stage2High] = highBitsFrom(12 + 9 * levels);
    data[line + LegacyWord.deviceTlb] = type === VtdTranslationType.withDeviceTlb ? 1 : 0;
    this.line = line;
    return 0;
  }

  /** § 3.4.3: root entry, then context entry of the lower or upper table. */
  #fetchScalable(requester: number): number {
    const reader = this.#reader;
    const { words } = reader;
    const rootLo = this.rootLo + (requester >>> 8) * 16;
    if (!reader.read("root-entry", rootLo, this.rootHi, 16)) return VtdFault.scalableRootAccess;
    const half = (requester & 0x80) === 0 ? 0 : 2;
    if (((words[half] as number) & 1) === 0) return VtdFault.scalableRootNotPresent;
    if (this.#isBadPointer(half, ROOT_RESERVED_LOW)) return VtdFault.scalableRootReserved;
    const lo = ((words[half] as number) & ~0xfff) + (requester & 0x7f) * 32;
    if (!reader.read("context-entry", lo, words[half + 1] as number, 32)) {
      return VtdFault.scalableContextAccess;
    }
    this.silent = getField(words, 0, VTD_SCALABLE_CONTEXT_ENTRY.faultProcessingDisable) !== 0;
    if (((words[0] as number) & 1) === 0) return VtdFault.scalableContextNotPresent;
    if (this.#hasReserved(SCALABLE_RESERVED) || this.#isBadPointer(0, 0)) {
      return VtdFault.scalableContextReserved;
    }
    return this.#decodeScalable(requester);
  }

  /** § 9.4: fields of features that the unit lacks are reserved. */
  #decodeScalable(requester: number): number {
    const { words } = this.#reader;
    const C = VTD_SCALABLE_CONTEXT_ENTRY;
    const can = this.#capabilities;
    const has = (field: { readonly low: number; readonly width: number }): boolean =>
      getField(words, 0, field) !== 0;
    const unsupported =
      (has(C.deviceTlbEnable) && !can.deviceTlb) ||
      (has(C.pasidEnable) && !can.pasid) ||
      (has(C.pageRequestEnable) && !can.pageRequests) ||
      (has(C.ridPasid) && !can.ridPasid) ||
      (has(C.ridPrivileged) && !can.ridPrivileged);
    if (unsupported) return VtdFault.scalableContextReserved;
    if (has(C.pageRequestEnable) && !has(C.deviceTlbEnable)) {
      return VtdFault.scalableContextInvalid;
    }
    const { data } = this.cache;
    const line = this.cache.claim(requester, 0);
    data[line + ContextWord.flags] =
      (has(C.deviceTlbEnable) ? ContextFlag.deviceTlb : 0) |
      (has(C.pasidEnable) ? ContextFlag.pasid : 0) |
      (has(C.pageRequestEnable) ? ContextFlag.pageRequests : 0) |
      (has(C.ridPrivileged) ? ContextFlag.ridPrivileged : 0) |
      (this.silent ? ContextFlag.faultProcessingDisable : 0);
    const bits = Math.min(getField(words, 0, C.pasidDirectorySize) + 13, can.pasidBits);
    data[line + ContextWord.pasidHigh] = -1 << bits;
    data[line + ContextWord.directoryLo] = (words[0] as number) & ~0xfff;
    data[line + ContextWord.directoryHi] = words[1] as number;
    data[line + ContextWord.ridPasid] = getField(words, 0, C.ridPasid);
    this.line = line;
    return 0;
  }

  /** The pointer in words `at` and `at + 1` has reserved bits or lies beyond the host's memory. */
  #isBadPointer(at: number, reservedLow: number): boolean {
    const { words } = this.#reader;
    const low = (words[at] as number) & reservedLow;
    const high = (words[at + 1] as number) & (this.#reservedHigh | ~0xf_ffff);
    return low !== 0 || high !== 0;
  }

  #hasReserved(reserved: Uint32Array): boolean {
    const { words } = this.#reader;
    return reserved.some((mask, i) => ((words[i] as number) & mask) !== 0);
  }
}

/** A further word of legacy lines: translation requests are served. */
export const LegacyWord = { deviceTlb: 9 } as const;
