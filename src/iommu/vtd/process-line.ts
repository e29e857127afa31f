/**
 * How one (requester, PASID) is translated, as a line of an `EntryCache`.
 *
 * Legacy mode fills it from the context entry, scalable mode from the PASID entry; from here on the
 * two modes are one.
 */
import { VtdPasidTranslation } from "../../formats/index.js";

/** Words of the line after its two keys. */
export const ProcessWord = {
  /** Bits of {@link ProcessFlag}. */
  flags: 2,
  domainId: 3,
  stage1Lo: 4,
  stage1Hi: 5,
  stage2Lo: 6,
  stage2Hi: 7,
  /** Bits of `Stage1Rules`. */
  rules: 8,
  /** Bits of an address's high half that the stage-2 table does not cover. */
  stage2High: 10,
} as const;

/** Flags of a process line. Levels: 3, 4 or 5. */
export const ProcessFlag = {
  /** 3 bits: one of `VtdPasidTranslation`. */
  translation: 7,
  stage1LevelsShift: 3,
  stage2LevelsShift: 6,
  levels: 7,
  faultProcessingDisable: 1 << 9,
  stage2AccessedDirty: 1 << 10,
  pageSnoop: 1 << 11,
  supervisorRequests: 1 << 12,
  executeRequests: 1 << 13,
} as const;

export const PROCESS_TRANSLATIONS = {
  [VtdPasidTranslation.stage1]: "stage1",
  [VtdPasidTranslation.stage2]: "stage2",
  [VtdPasidTranslation.nested]: "nested",
  [VtdPasidTranslation.passThrough]: "pass-through",
} as const;
