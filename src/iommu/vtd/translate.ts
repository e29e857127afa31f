/**
 * What a VT-d unit does with a request to memory, step by step in the order of the specification:
 * VT-d 5.0 § 3 (remapping), § 4 (ATS), § 7.1 (faults).
 *
 * 1 interrupt range (§ 3.14) · 2 context (§ 3.4) · 3 may the device ask so (§ 9.3, § 9.4)
 * · 4 PASID entry (§ 9.5, § 9.6) · 5 privilege and execution (§ 9.6) · 6 width of the address (§ 3.6,
 * § 3.7) · 7 IOTLB (§ 6.2) · 8 walk (§ 3.6-3.8) · 9 result (§ 3.14)
 *
 * Each step returns a code of `VtdFault`, or 0. Nothing here allocates.
 */
import { VtdFault, VtdPasidTranslation, VtdRootTableMode } from "../../formats/index.js";
import type { Iotlb } from "../iotlb.js";
import { Denial, denialOf, Need, Rights } from "../rights.js";
import { highBitsFrom } from "../table-entry.js";
import {
  DmaAddressType,
  type DmaAnswer,
  type DmaRequest,
  DmaSource,
  DmaStatus,
} from "../translation.js";
import { WalkFault } from "../walk-result.js";
import type { Stage1Walk } from "../walk-stage1.js";
import type { Stage2Walk } from "../walk-stage2.js";
import {
  answerNothing,
  answerZeroLength,
  identity,
  isMissing,
  isMissingStage1,
  isTableAccess,
} from "./answers.js";
import type { VtdCapabilities } from "./capabilities.js";
import { ContextFlag, ContextWord, type DeviceTable, LegacyWord } from "./device-table.js";
import type { EventLog } from "./event-log.js";
import type { PasidTable } from "./pasid-table.js";
import { ProcessFlag, ProcessWord } from "./process-line.js";
import { denialFault, legacyFault, stage1Fault, stage2Fault } from "./walk-faults.js";

/** The parts that a translation uses. */
export interface TranslatorParts {
  readonly capabilities: VtdCapabilities;
  readonly contexts: DeviceTable;
  readonly pasids: PasidTable;
  readonly iotlb: Iotlb;
  readonly stage1: Stage1Walk;
  readonly stage2: Stage2Walk;
  readonly log: EventLog;
}

const INTERRUPT_PREFIX = 0xfee;

export class Translator {
  readonly #can: VtdCapabilities;
  readonly #contexts: DeviceTable;
  readonly #pasids: PasidTable;
  readonly #iotlb: Iotlb;
  readonly #stage1: Stage1Walk;
  readonly #stage2: Stage2Walk;
  readonly #log: EventLog;
  /** Bits of an address's high half above the unit's input width. */
  readonly #inputHigh: number;
  /** Translation is enabled (GSTS.TES). */
  isEnabled = false;
  /** The process line of the current request, in the cache it came from. */
  #data: Int32Array;
  #line = 0;
  /** The PASID that counts, and whether faults stay unrecorded. */
  #pasid = 0;
  #silent = false;
  #scalable = false;
  #need = 0;

  constructor(parts: TranslatorParts) {
    this.#can = parts.capabilities;
    this.#contexts = parts.contexts;
    this.#pasids = parts.pasids;
    this.#iotlb = parts.iotlb;
    this.#stage1 = parts.stage1;
    this.#stage2 = parts.stage2;
    this.#log = parts.log;
    this.#data = parts.contexts.cache.data;
    this.#inputHigh = highBitsFrom(parts.capabilities.inputAddressWidth);
  }

  /** Answers a request of any address type. */
  translate(request: DmaRequest, answer: DmaAnswer): void {
    answer.reason = 0;
    answer.completion = "success";
    answer.recorded = false;
    answer.domainId = undefined;
    if (!this.isEnabled) {
      this.#bypass(request, answer);
      return;
    }
    this.#silent = false;
    this.#scalable = this.#contexts.mode !== VtdRootTableMode.legacy;
    if (request.hi === 0 && request.lo >>> 20 === INTERRUPT_PREFIX && !request.hasPasid) {
      this.#interruptRange(request, answer);
      return;
    }
    let fault = this.#findProcess(request);
    if (fault === 0) {
      if (request.addressType === DmaAddressType.translated) {
        this.#passTranslated(request, answer);
        return;
      }
      fault = this.#translateThrough(request, answer);
    }
    if (fault !== 0) this.#refuse(request, answer, fault);
  }

  /** Steps 2 to 5: which table serves the request. */
  #findProcess(request: DmaRequest): number {
    const contexts = this.#contexts;
    if (contexts.mode > VtdRootTableMode.scalable) return this.#abort();
    const fault = contexts.lookup(request.requester);
    if (fault !== 0) {
      this.#silent = contexts.silent;
      return fault;
    }
    return this.#scalable ? this.#findPasid(request) : this.#useContext(request);
  }

  /** § 11.4.6: a mode that serves nobody; refusals of the abort mode are not recorded. */
  #abort(): number {
    this.#silent = this.#contexts.mode === VtdRootTableMode.abort;
    return VtdFault.rootTableMode;
  }

  /** Step 3, legacy: § 9.3. */
  #useContext(request: DmaRequest): number {
    const { data } = this.#contexts.cache;
    const { line } = this.#contexts;
    this.#data = data;
    this.#line = line;
    this.#pasid = 0;
    this.#need = request.access;
    const flags = data[line + ProcessWord.flags] as number;
    this.#silent = (flags & ProcessFlag.faultProcessingDisable) !== 0;
    if (request.hasPasid) return VtdFault.pasidInLegacyMode;
    const isAts = request.addressType !== DmaAddressType.untranslated;
    if (isAts && data[line + LegacyWord.deviceTlb] === 0) return VtdFault.translationTypeBlocks;
    return 0;
  }

  /** Steps 3 to 5, scalable: § 9.4, § 9.5, § 9.6. */
  #findPasid(request: DmaRequest): number {
    const { data } = this.#contexts.cache;
    const { line } = this.#contexts;
    const flags = data[line + ContextWord.flags] as number;
    this.#silent = (flags & ContextFlag.faultProcessingDisable) !== 0;
    const isAts = request.addressType !== DmaAddressType.untranslated;
    if (isAts && (flags & ContextFlag.deviceTlb) === 0) return VtdFault.deviceTlbDisabled;
    if (request.addressType === DmaAddressType.translated) return 0;
    const bits = ((flags >>> ContextFlag.directorySizeShift) & 7) + 13;
    let pasid = request.pasid;
    if (request.hasPasid) {
      if ((flags & ContextFlag.pasid) === 0) return VtdFault.pasidDisabled;
      if (pasid >>> bits !== 0 || pasid >>> this.#can.pasidBits !== 0) {
        return VtdFault.pasidBeyondDirectory;
      }
    } else {
      pasid = data[line + ContextWord.ridPasid] as number;
      if (pasid >>> bits !== 0) return VtdFault.ridPasidInvalid;
    }
    const fault = this.#pasids.lookup(request.requester, pasid, line);
    if (fault !== 0) {
      this.#silent ||= this.#pasids.silent;
      return fault;
    }
    this.#pasid = pasid;
    this.#data = this.#pasids.cache.data;
    this.#line = this.#pasids.line;
    return this.#checkPrivilege(request, (flags & ContextFlag.ridPrivileged) !== 0);
  }

  /** Step 5: § 9.6, SRE and ERE. */
  #checkPrivilege(request: DmaRequest, ridPrivileged: boolean): number {
    const flags = this.#data[this.#line + ProcessWord.flags] as number;
    this.#silent ||= (flags & ProcessFlag.faultProcessingDisable) !== 0;
    let need: number = request.access;
    const isPrivileged = request.hasPasid ? request.privileged : ridPrivileged;
    if (isPrivileged) need |= Need.privileged;
    if (request.hasPasid && request.execute) need |= Need.execute;
    this.#need = need;
    const translation = flags & ProcessFlag.translation;
    const hasStage1 =
      translation === VtdPasidTranslation.stage1 || translation === VtdPasidTranslation.nested;
    if (!hasStage1) return 0;
    if (isPrivileged && (flags & ProcessFlag.supervisorRequests) === 0) {
      return VtdFault.supervisorRequestDisabled;
    }
    if ((need & Need.execute) !== 0 && (flags & ProcessFlag.executeRequests) === 0) {
      return VtdFault.executeRequestDisabled;
    }
    return 0;
  }

  /** Steps 6 to 9. */
  #translateThrough(request: DmaRequest, answer: DmaAnswer): number {
    const flags = this.#data[this.#line + ProcessWord.flags] as number;
    const translation = flags & ProcessFlag.translation;
    if (translation === VtdPasidTranslation.passThrough) {
      return this.#passThrough(request, answer, flags);
    }
    const hasStage1 = translation !== VtdPasidTranslation.stage2;
    const width = hasStage1
      ? this.#checkCanonical(request, flags)
      : this.#checkStage2Width(request, flags);
    if (width !== 0) return width;
    const domainId = this.#data[this.#line + ProcessWord.domainId] as number;
    const pasid = hasStage1 ? this.#pasid : 0;
    const iotlb = this.#iotlb;
    const isAts = request.addressType === DmaAddressType.translationRequest;
    answer.domainId = domainId;
    if (iotlb.find(domainId, pasid, hasStage1, request.lo, request.hi)) {
      // A write must go to the table while a dirty bit is still to be set.
      const isUsable = (request.access & Need.write) === 0 || (iotlb.rights & Rights.dirty) !== 0;
      if (isUsable) return this.#useCached(request, answer, flags, isAts);
    }
    return hasStage1
      ? this.#walkStage1(request, answer, flags, domainId, isAts)
      : this.#walkStage2(request, answer, flags, domainId, isAts);
  }

  /** § 3.6: bits above the levels repeat the highest one of them. */
  #checkCanonical(request: DmaRequest, flags: number): number {
    const levels = (flags >>> ProcessFlag.stage1LevelsShift) & ProcessFlag.levels;
    const sign = request.hi >> (levels === 5 ? 24 : 15);
    return sign === 0 || sign === -1 ? 0 : VtdFault.notCanonical;
  }

  /** § 3.7: the address lies within the unit's width and the table's. */
  #checkStage2Width(request: DmaRequest, flags: number): number {
    if ((request.hi & this.#inputHigh) !== 0) {
      return this.#scalable ? VtdFault.inputBeyondWidth : VtdFault.addressBeyondWidth;
    }
    const levels = (flags >>> ProcessFlag.stage2LevelsShift) & ProcessFlag.levels;
    if ((request.hi & highBitsFrom(12 + 9 * levels)) !== 0) {
      return this.#scalable ? VtdFault.stage2InputBeyondWidth : VtdFault.addressBeyondWidth;
    }
    return 0;
  }

  /** Step 7. */
  #useCached(request: DmaRequest, answer: DmaAnswer, flags: number, isAts: boolean): number {
    const { lo, hi, rights, pageShift } = this.#iotlb;
    answer.source = DmaSource.cache;
    if (!isAts) {
      const denied = this.#deny(request, rights);
      if (denied !== 0) return denied;
    }
    return this.#finish(request, answer, flags, lo, hi, rights, pageShift);
  }

  /** Step 8, stage 2 alone. */
  #walkStage2(
    request: DmaRequest,
    answer: DmaAnswer,
    flags: number,
    domainId: number,
    isAts: boolean,
  ): number {
    const data = this.#data;
    const line = this.#line;
    const walk = this.#stage2;
    const tableLo = data[line + ProcessWord.stage2Lo] as number;
    const tableHi = data[line + ProcessWord.stage2Hi] as number;
    const levels = (flags >>> ProcessFlag.stage2LevelsShift) & ProcessFlag.levels;
    const tracks = (flags & ProcessFlag.stage2AccessedDirty) !== 0;
    const { lo: fromLo, hi: fromHi } = request;
    const need = isAts ? this.#need & Need.write : this.#need & (Need.read | Need.write);
    let fault = walk.walk(tableLo, tableHi, levels, fromLo, fromHi, need, tracks);
    if (fault === WalkFault.denied && isAts) {
      fault = walk.walk(tableLo, tableHi, levels, fromLo, fromHi, 0, tracks);
    }
    answer.source = DmaSource.walk;
    if (fault !== WalkFault.none) {
      if (isAts && isMissing(fault)) return answerNothing(answer);
      if (fault === WalkFault.denied && this.#isZeroLengthRead(request, walk.rights)) {
        return answerZeroLength(request, answer);
      }
      return this.#scalable ? stage2Fault(fault, need) : legacyFault(fault, need);
    }
    const { lo, hi, pageShift, rights } = walk;
    this.#iotlb.insert(domainId, 0, false, fromLo, fromHi, lo, hi, pageShift, rights);
    return this.#finish(request, answer, flags, lo, hi, rights, pageShift);
  }

  /** Step 8, stage 1 alone or nested in stage 2. */
  #walkStage1(
    request: DmaRequest,
    answer: DmaAnswer,
    flags: number,
    domainId: number,
    isAts: boolean,
  ): number {
    const data = this.#data;
    const line = this.#line;
    const walk = this.#stage1;
    const isNested = (flags & ProcessFlag.translation) === VtdPasidTranslation.nested;
    if (isNested) {
      walk.nested.lo = data[line + ProcessWord.stage2Lo] as number;
      walk.nested.hi = data[line + ProcessWord.stage2Hi] as number;
      walk.nested.levels = (flags >>> ProcessFlag.stage2LevelsShift) & ProcessFlag.levels;
      walk.nested.tracksDirty = (flags & ProcessFlag.stage2AccessedDirty) !== 0;
    }
    const levels = (flags >>> ProcessFlag.stage1LevelsShift) & ProcessFlag.levels;
    const tableLo = data[line + ProcessWord.stage1Lo] as number;
    const tableHi = data[line + ProcessWord.stage1Hi] as number;
    const rules = data[line + ProcessWord.rules] as number;
    const { lo: fromLo, hi: fromHi } = request;
    const need = isAts ? this.#need & (Need.privileged | Need.write) : this.#need;
    let fault = walk.walk(tableLo, tableHi, levels, fromLo, fromHi, need, rules, isNested);
    if (isAts && isMissingStage1(fault, walk.stage2Fault)) {
      const who = need & Need.privileged;
      fault = walk.walk(tableLo, tableHi, levels, fromLo, fromHi, who, rules, isNested);
    }
    answer.source = DmaSource.walk;
    if (fault !== WalkFault.none) {
      if (isAts && isMissingStage1(fault, walk.stage2Fault)) return answerNothing(answer);
      return stage1Fault(fault, walk.denial, walk.stage2Fault, need, walk.level === levels);
    }
    const { lo, hi, pageShift, rights } = walk;
    this.#iotlb.insert(domainId, this.#pasid, true, fromLo, fromHi, lo, hi, pageShift, rights);
    return this.#finish(request, answer, flags, lo, hi, rights, pageShift);
  }

  /** Step 9: § 3.14, the translated address must not be that of interrupts. */
  #finish(
    request: DmaRequest,
    answer: DmaAnswer,
    flags: number,
    lo: number,
    hi: number,
    rights: number,
    pageShift: number,
  ): number {
    if (hi === 0 && lo >>> 20 === INTERRUPT_PREFIX) {
      return this.#scalable ? VtdFault.scalableInterruptAddress : VtdFault.interruptAddress;
    }
    const isAts = request.addressType === DmaAddressType.translationRequest;
    answer.status = isAts ? DmaStatus.completed : DmaStatus.translated;
    answer.lo = isAts ? lo & ~((1 << pageShift) - 1) : lo;
    answer.hi = hi;
    answer.pageShift = pageShift;
    answer.snooped =
      (rights & Rights.snoop) !== 0 || (flags & ProcessFlag.pageSnoop) !== 0 || !request.noSnoop;
    answer.privilegedPage = (rights & Rights.stage1User) === 0;
    const rules = this.#data[this.#line + ProcessWord.rules] as number;
    const who = this.#need & Need.privileged;
    answer.readable = denialOf(rights, who | Need.read, rules) === Denial.none;
    answer.writable = denialOf(rights, who | Need.write, rules) === Denial.none;
    answer.executable =
      (this.#need & Need.execute) !== 0 &&
      denialOf(rights, who | Need.read | Need.execute, rules) === Denial.none;
    // A device may keep a right to write only once the dirty bit is set: § 4.2.3.
    if (isAts && (rights & Rights.dirty) === 0) answer.writable = false;
    return 0;
  }

  /** Rights of a cached translation. */
  #deny(request: DmaRequest, rights: number): number {
    const rules = this.#data[this.#line + ProcessWord.rules] as number;
    const denial = denialOf(rights, this.#need, rules);
    if (denial === Denial.none || this.#isZeroLengthRead(request, rights)) return 0;
    if (this.#scalable) return denialFault(denial);
    return denial === Denial.write ? VtdFault.writeDenied : VtdFault.readDenied;
  }

  /** § 11.4.2, ZLR: a read of no bytes may go to a page that can only be written. */
  #isZeroLengthRead(request: DmaRequest, rights: number): boolean {
    const isOne = request.length === 0 && request.access === Need.read && this.#can.zeroLengthRead;
    return isOne && (rights & Rights.stage2Write) !== 0;
  }

  #bypass(request: DmaRequest, answer: DmaAnswer): void {
    if (request.addressType === DmaAddressType.translationRequest) {
      this.#silent = true;
      this.#refuse(request, answer, VtdFault.translationTypeBlocks);
      return;
    }
    if (
      request.hi === 0 &&
      request.lo >>> 20 === INTERRUPT_PREFIX &&
      request.access === Need.write
    ) {
      answer.status = DmaStatus.interrupt;
      return;
    }
    identity(request, answer);
  }

  /** Step 1: § 3.14. Writes without PASID are interrupts, all else is refused. */
  #interruptRange(request: DmaRequest, answer: DmaAnswer): void {
    const isUntranslated = request.addressType === DmaAddressType.untranslated;
    if (request.access === Need.write && isUntranslated) {
      answer.status = DmaStatus.interrupt;
      answer.source = DmaSource.bypass;
      return;
    }
    const reason = this.#scalable ? VtdFault.scalableInterruptAddress : VtdFault.interruptAddress;
    this.#refuse(request, answer, reason);
  }

  /** § 4.2.1: a translated request of a device that may send them is not checked further. */
  #passTranslated(request: DmaRequest, answer: DmaAnswer): void {
    const high = highBitsFrom(this.#can.hostAddressWidth);
    if ((request.hi & high) !== 0) {
      const reason = this.#scalable ? VtdFault.inputBeyondWidth : VtdFault.addressBeyondWidth;
      this.#refuse(request, answer, reason);
      return;
    }
    identity(request, answer);
  }

  #passThrough(request: DmaRequest, answer: DmaAnswer, flags: number): number {
    const high = this.#inputHigh | highBitsFrom(this.#can.hostAddressWidth);
    if ((request.hi & high) !== 0) {
      return this.#scalable ? VtdFault.inputBeyondWidth : VtdFault.addressBeyondWidth;
    }
    identity(request, answer);
    answer.domainId = this.#data[this.#line + ProcessWord.domainId] as number;
    if ((flags & ProcessFlag.pageSnoop) !== 0) answer.snooped = true;
    if (request.addressType === DmaAddressType.translationRequest) {
      answer.status = DmaStatus.completed;
      answer.lo &= ~0xfff;
      answer.pageShift = 12;
    }
    return 0;
  }

  #refuse(request: DmaRequest, answer: DmaAnswer, reason: number): void {
    answer.status = DmaStatus.fault;
    answer.reason = reason;
    answer.completion = isTableAccess(reason) ? "completer-abort" : "unsupported-request";
    answer.recorded = !this.#silent;
    if (!this.#silent) this.#log.recordDma(request, reason);
  }
}
