/**
 * Step 8 of a translation: the walk of the tables that a PASID's entry names, VT-d 5.0 § 3.6-3.8,
 * and what becomes of it: a page in the answer and the IOTLB, an answer without a page, or a fault.
 *
 * Who walks is set in fields before: a walk allocates nothing, and few arguments pass quickly.
 */
import { VtdPasidTranslation } from "../../formats/index.js";
import type { Iotlb } from "../iotlb.js";
import { Need } from "../rights.js";
import { DmaAddressType, type DmaAnswer, type DmaRequest, DmaSource } from "../translation.js";
import { WalkFault } from "../walk-result.js";
import type { Stage1Walk } from "../walk-stage1.js";
import type { Stage2Walk } from "../walk-stage2.js";
import {
  answerNothing,
  answerZeroLength,
  isMissing,
  isMissingStage1,
  isZeroLengthRead,
} from "./answers.js";
import type { DeviceTable } from "./device-table.js";
import { ProcessFlag, ProcessWord } from "./process-line.js";
import type { TranslatorParts } from "./translator-parts.js";
import { legacyFault, stage1Fault, stage2Fault } from "./walk-faults.js";

/* Copies, as in `translate.ts`. */
const READ = Need.read;
const WRITE = Need.write;
const PRIVILEGED = Need.privileged;
const P_DOMAIN = ProcessWord.domainId;
const P_RULES = ProcessWord.rules;
const P_STAGE1_LO = ProcessWord.stage1Lo;
const P_STAGE1_HI = ProcessWord.stage1Hi;
const P_STAGE2_LO = ProcessWord.stage2Lo;
const P_STAGE2_HI = ProcessWord.stage2Hi;
const F_TRANSLATION = ProcessFlag.translation;
const F_STAGE1_SHIFT = ProcessFlag.stage1LevelsShift;
const F_STAGE2_SHIFT = ProcessFlag.stage2LevelsShift;
const F_LEVELS = ProcessFlag.levels;
const F_STAGE2_DIRTY = ProcessFlag.stage2AccessedDirty;
const UNTRANSLATED = DmaAddressType.untranslated;
const TRANSLATION_REQUEST = DmaAddressType.translationRequest;
const NESTED = VtdPasidTranslation.nested;
const FROM_WALK = DmaSource.walk;
const NONE = WalkFault.none;
/** Of a walk: the answer is complete. */
export const ANSWERED = -1;

/** Walks for the requests of one unit. Its methods return a code of `VtdFault`, 0 or `ANSWERED`. */
export class PageWalk {
  readonly #contexts: DeviceTable;
  readonly #iotlb: Iotlb;
  readonly #stage1: Stage1Walk;
  readonly #stage2: Stage2Walk;
  readonly #zeroLengthRead: boolean;
  /** Lines of contexts and of PASIDs. */
  readonly #data: Int32Array;
  /** The line that the request goes by, its PASID, and bits of `Need`. */
  line = 0;
  pasid = 0;
  need = 0;
  /** Of the page found: bits of `Rights`. */
  rights = 0;

  constructor(parts: TranslatorParts) {
    this.#contexts = parts.contexts;
    this.#iotlb = parts.iotlb;
    this.#stage1 = parts.stage1;
    this.#stage2 = parts.stage2;
    this.#zeroLengthRead = parts.capabilities.zeroLengthRead;
    this.#data = parts.contexts.cache.data;
  }

  /** Step 8, stage 2 alone. @param isHeld the IOTLB has the page, but not what is needed. */
  stage2(request: DmaRequest, answer: DmaAnswer, flags: number, isHeld: boolean): number {
    answer.source = FROM_WALK;
    const data = this.#data;
    const line = this.line;
    const walk = this.#stage2;
    const need = this.need & (request.addressType === UNTRANSLATED ? READ | WRITE : WRITE);
    let fault = walk.walk(
      data[line | P_STAGE2_LO] as number,
      data[line | P_STAGE2_HI] as number,
      (flags >>> F_STAGE2_SHIFT) & F_LEVELS,
      request.lo,
      request.hi,
      need,
      (flags & F_STAGE2_DIRTY) !== 0,
    );
    if (fault !== NONE) {
      fault = this.#failStage2(request, answer, flags, need, fault);
      if (fault !== NONE) return fault;
    }
    const { lo, hi, pageShift, rights } = walk;
    answer.lo = lo;
    answer.hi = hi;
    answer.pageShift = pageShift;
    this.rights = rights;
    if (isHeld || pageShift !== 12) this.#insert(request, answer, false);
    else this.#iotlb.insertMissed(lo, hi, rights);
    return NONE;
  }

  /** Stage 2 refused: again for what it grants (ATS), an answer without a page, or a fault. */
  #failStage2(
    request: DmaRequest,
    answer: DmaAnswer,
    flags: number,
    need: number,
    first: number,
  ): number {
    const isAts = request.addressType === TRANSLATION_REQUEST;
    const data = this.#data;
    const line = this.line;
    const walk = this.#stage2;
    let fault = first;
    if (fault === WalkFault.denied && isAts) {
      const tableLo = data[line | P_STAGE2_LO] as number;
      const tableHi = data[line | P_STAGE2_HI] as number;
      const levels = (flags >>> F_STAGE2_SHIFT) & F_LEVELS;
      const tracks = (flags & F_STAGE2_DIRTY) !== 0;
      fault = walk.walk(tableLo, tableHi, levels, request.lo, request.hi, 0, tracks);
    }
    if (fault === NONE) return NONE;
    if (isAts && isMissing(fault)) {
      answerNothing(answer);
      return ANSWERED;
    }
    if (
      fault === WalkFault.denied &&
      isZeroLengthRead(request, walk.rights, this.#zeroLengthRead)
    ) {
      answerZeroLength(request, answer);
      return ANSWERED;
    }
    return this.#contexts.isScalable ? stage2Fault(fault, need) : legacyFault(fault, need);
  }

  /** Step 8, stage 1 alone or nested in stage 2. @param isHeld as of {@link stage2}. */
  stage1(request: DmaRequest, answer: DmaAnswer, flags: number, isHeld: boolean): number {
    answer.source = FROM_WALK;
    const data = this.#data;
    const line = this.line;
    const walk = this.#stage1;
    const isNested = (flags & F_TRANSLATION) === NESTED;
    if (isNested) this.#setNested(flags);
    let fault = walk.walk(
      data[line | P_STAGE1_LO] as number,
      data[line | P_STAGE1_HI] as number,
      (flags >>> F_STAGE1_SHIFT) & F_LEVELS,
      request.lo,
      request.hi,
      this.need & (request.addressType === UNTRANSLATED ? -1 : PRIVILEGED | WRITE),
      data[line | P_RULES] as number,
      isNested,
    );
    if (fault !== NONE) {
      fault = this.#failStage1(request, answer, flags, fault);
      if (fault !== NONE) return fault;
    }
    const { lo, hi, pageShift, rights } = walk;
    answer.lo = lo;
    answer.hi = hi;
    answer.pageShift = pageShift;
    this.rights = rights;
    if (isHeld || pageShift !== 12) this.#insert(request, answer, true);
    else this.#iotlb.insertMissed(lo, hi, rights);
    return NONE;
  }

  /** The stage-2 table below a stage-1 table. */
  #setNested(flags: number): void {
    const data = this.#data;
    const line = this.line;
    const { nested } = this.#stage1;
    nested.lo = data[line | P_STAGE2_LO] as number;
    nested.hi = data[line | P_STAGE2_HI] as number;
    nested.levels = (flags >>> F_STAGE2_SHIFT) & F_LEVELS;
    nested.tracksDirty = (flags & F_STAGE2_DIRTY) !== 0;
  }

  /** Stage 1 refused: as {@link #failStage2}. */
  #failStage1(request: DmaRequest, answer: DmaAnswer, flags: number, first: number): number {
    const isAts = request.addressType === TRANSLATION_REQUEST;
    const data = this.#data;
    const line = this.line;
    const walk = this.#stage1;
    const isNested = (flags & F_TRANSLATION) === NESTED;
    const levels = (flags >>> F_STAGE1_SHIFT) & F_LEVELS;
    const need = isAts ? this.need & (PRIVILEGED | WRITE) : this.need;
    let fault = first;
    if (isAts && isMissingStage1(fault, walk.stage2Fault)) {
      const tableLo = data[line | P_STAGE1_LO] as number;
      const tableHi = data[line | P_STAGE1_HI] as number;
      const rules = data[line | P_RULES] as number;
      const { lo, hi } = request;
      const who = need & PRIVILEGED;
      fault = walk.walk(tableLo, tableHi, levels, lo, hi, who, rules, isNested);
    }
    if (fault === NONE) return NONE;
    if (isAts && isMissingStage1(fault, walk.stage2Fault)) {
      answerNothing(answer);
      return ANSWERED;
    }
    return stage1Fault(fault, walk.denial, walk.stage2Fault, need, walk.level === levels);
  }

  /** Puts the answer into the IOTLB; any page size, over one that is there. */
  #insert(request: DmaRequest, answer: DmaAnswer, isStage1: boolean): void {
    const domainId = this.#data[this.line | P_DOMAIN] as number;
    const pasid = isStage1 ? this.pasid : 0;
    const { lo: fromLo, hi: fromHi } = request;
    const { lo, hi, pageShift } = answer;
    const rights = this.rights;
    this.#iotlb.insert(domainId, pasid, isStage1, fromLo, fromHi, lo, hi, pageShift, rights);
  }
}
