/**
 * From (requester, PASID) to process line: PASID directory and table, VT-d 5.0 § 3.4.3, § 9.5-9.6.
 *
 * The cache holds lines until software invalidates them; a context that changes does not change
 * them. Faults are codes of `VtdFault`; 0 is none. Entries that fault are not cached.
 */
import {
  getField,
  uncoveredBits,
  VTD_PASID_DIRECTORY_ENTRY,
  VTD_PASID_ENTRY,
  VtdFault,
  VtdPasidTranslation,
  VtdStage1Mode,
} from "../../formats/index.js";
import { cacheWords, EntryCache } from "../entry-cache.js";
import { Stage1Rules } from "../rights.js";
import { highBitsFrom, reservedHigh } from "../table-entry.js";
import type { VtdCapabilities } from "./capabilities.js";
import { CONTEXT_LINES, ContextWord, type DeviceTable } from "./device-table.js";
import type { EntryReader } from "./entry-reader.js";
import { ProcessFlag, ProcessWord } from "./process-line.js";

export const PASID_LINES = 1024;
const DIRECTORY_RESERVED = uncoveredBits(VTD_PASID_DIRECTORY_ENTRY, 2);
const ENTRY_RESERVED = uncoveredBits(VTD_PASID_ENTRY, 16);

export class PasidTable {
  readonly #reader: EntryReader;
  readonly #capabilities: VtdCapabilities;
  readonly #contexts: DeviceTable;
  readonly #reservedHigh: number;
  /** Process lines. Keys: requester, PASID. */
  readonly cache: EntryCache;
  line = -1;
  silent = false;

  constructor(reader: EntryReader, capabilities: VtdCapabilities, contexts: DeviceTable) {
    this.cache = new EntryCache(PASID_LINES, contexts.cache.data, cacheWords(CONTEXT_LINES));
    this.#reader = reader;
    this.#capabilities = capabilities;
    this.#contexts = contexts;
    this.#reservedHigh = reservedHigh(capabilities.hostAddressWidth);
  }

  /**
   * Finds or fetches the line of a PASID below the limit of the context.
   * @param context line of the context in its cache.
   * @returns a fault code, or 0.
   */
  lookup(requester: number, pasid: number, context: number): number {
    const line = this.cache.find(requester, pasid);
    if (line >= 0) {
      this.line = line;
      return 0;
    }
    this.silent = false;
    const contexts = this.#contexts.cache.data;
    const directoryLo = contexts[context + ContextWord.directoryLo] as number;
    return this.#load(
      requester,
      pasid,
      directoryLo,
      contexts[context + ContextWord.directoryHi] as number,
    );
  }

  #load(requester: number, pasid: number, directoryLo: number, directoryHi: number): number {
    const reader = this.#reader;
    const { words } = reader;
    // The directory has at most 128 KiB and begins at a frame: it may cross 4 GiB.
    const lo = directoryLo + (pasid >>> 6) * 8;
    const hi = directoryHi + (lo >>> 0 < directoryLo >>> 0 ? 1 : 0);
    if (!reader.read("pasid-directory-entry", lo | 0, hi, 8)) return VtdFault.directoryAccess;
    this.silent = getField(words, 0, VTD_PASID_DIRECTORY_ENTRY.faultProcessingDisable) !== 0;
    if (((words[0] as number) & 1) === 0) return VtdFault.directoryNotPresent;
    if (hasBits(words, DIRECTORY_RESERVED) || this.#isBeyond(words[1] as number)) {
      return VtdFault.directoryReserved;
    }
    const entryLo = ((words[0] as number) & ~0xfff) + (pasid & 63) * 64;
    if (!reader.read("pasid-entry", entryLo, words[1] as number, 64)) {
      return VtdFault.pasidEntryAccess;
    }
    if (getField(words, 0, VTD_PASID_ENTRY.faultProcessingDisable) !== 0) this.silent = true;
    if (((words[0] as number) & 1) === 0) return VtdFault.pasidEntryNotPresent;
    if (this.#isReserved()) return VtdFault.pasidEntryReserved;
    if (!this.#isSupported()) return VtdFault.pasidEntryInvalid;
    this.line = this.#keep(requester, pasid);
    return 0;
  }

  /** Reserved bits, and fields of features that the unit lacks: § 9.6. */
  #isReserved(): boolean {
    const { words } = this.#reader;
    const E = VTD_PASID_ENTRY;
    const can = this.#capabilities;
    const has = (field: { readonly low: number; readonly width: number }): boolean =>
      getField(words, 0, field) !== 0;
    return (
      hasBits(words, ENTRY_RESERVED) ||
      this.#isBeyond(words[1] as number) ||
      getField(words, 0, E.domainId) >= 2 ** can.domainIdBits ||
      (has(E.stage2AccessedDirty) && !can.stage2AccessedDirty) ||
      (has(E.pageSnoop) && !can.snoopControl) ||
      (has(E.supervisorRequestEnable) && !can.supervisorRequests) ||
      (has(E.executeRequestEnable) && !can.executeRequests) ||
      (has(E.extendedAccessedEnable) && !can.extendedAccessed)
    );
  }

  /** PGTT, AW and FSPM name what the unit can do: § 9.6. */
  #isSupported(): boolean {
    const { words } = this.#reader;
    const E = VTD_PASID_ENTRY;
    const can = this.#capabilities;
    const translation = getField(words, 0, E.translationType);
    const mode = getField(words, 0, E.stage1Mode);
    const levels = getField(words, 0, E.addressWidth) + 2;
    const stage1 =
      mode === VtdStage1Mode.levels4 || (mode === VtdStage1Mode.levels5 && can.stage1Levels5);
    const stage2 = ((can.stage2Levels >>> levels) & 1) !== 0;
    switch (translation) {
      case VtdPasidTranslation.stage1:
        // Without stage 2 the stage-1 table's pointer is a host address.
        return can.stage1 && stage1 && !this.#isBeyond(words[5] as number);
      case VtdPasidTranslation.stage2:
        return can.stage2 && stage2;
      case VtdPasidTranslation.nested:
        return can.nested && stage1 && stage2;
      case VtdPasidTranslation.passThrough:
        return can.passThrough;
      default:
        return false;
    }
  }

  #keep(requester: number, pasid: number): number {
    const { words } = this.#reader;
    const E = VTD_PASID_ENTRY;
    const { data } = this.cache;
    const line = this.cache.claim(requester, pasid);
    const flag = (field: { readonly low: number; readonly width: number }, bit: number): number =>
      getField(words, 0, field) !== 0 ? bit : 0;
    const stage1Levels = getField(words, 0, E.stage1Mode) === VtdStage1Mode.levels5 ? 5 : 4;
    data[line + ProcessWord.flags] =
      getField(words, 0, E.translationType) |
      (stage1Levels << ProcessFlag.stage1LevelsShift) |
      ((getField(words, 0, E.addressWidth) + 2) << ProcessFlag.stage2LevelsShift) |
      (this.silent ? ProcessFlag.faultProcessingDisable : 0) |
      flag(E.stage2AccessedDirty, ProcessFlag.stage2AccessedDirty) |
      flag(E.pageSnoop, ProcessFlag.pageSnoop) |
      flag(E.supervisorRequestEnable, ProcessFlag.supervisorRequests) |
      flag(E.executeRequestEnable, ProcessFlag.executeRequests);
    data[line + ProcessWord.domainId] = getField(words, 0, E.domainId);
    data[line + ProcessWord.stage1Lo] = (words[4] as number) & ~0xfff;
    data[line + ProcessWord.stage1Hi] = words[5] as number;
    data[line + ProcessWord.stage2Lo] = (words[0] as number) & ~0xfff;
    data[line + ProcessWord.stage2Hi] = words[1] as number;
    const levels = getField(words, 0, E.addressWidth) + 2;
    data[line + ProcessWord.stage2High] = highBitsFrom(12 + 9 * levels);
    data[line + ProcessWord.rules] =
      flag(E.writeProtectEnable, Stage1Rules.writeProtect) |
      flag(E.noExecuteEnable, Stage1Rules.noExecute) |
      flag(E.supervisorExecutePrevention, Stage1Rules.supervisorExecutePrevention) |
      flag(E.extendedAccessedEnable, Stage1Rules.extendedAccessed);
    return line;
  }

  /** A pointer's high half lies beyond the host's memory. */
  #isBeyond(high: number): boolean {
    return (high & (this.#reservedHigh | ~0xf_ffff)) !== 0;
  }
}

function hasBits(words: Int32Array, masks: Uint32Array): boolean {
  return masks.some((mask, i) => ((words[i] as number) & mask) !== 0);
}
