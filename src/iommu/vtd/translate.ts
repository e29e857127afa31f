/**
 * What a VT-d unit does with a request to memory, step by step in the order of the specification:
 * VT-d 5.0 § 3 (remapping), § 4 (ATS), § 7.1 (faults).
 *
 * 1 interrupt range (§ 3.14) · 2 context (§ 3.4) · 3 may the device ask so (§ 9.3, § 9.4)
 * · 4 PASID entry (§ 9.5, § 9.6) · 5 privilege and execution (§ 9.6) · 6 width of the address (§
 * 3.6, § 3.7) · 7 IOTLB (§ 6.2) · 8 walk (§ 3.6-3.8) · 9 result (§ 3.14)
 *
 * Each step returns a code of `VtdFault`, or 0. Nothing here allocates.
 */
import {
  VTD_PROTECTED_MEMORY_REFUSAL,
  VtdFault,
  VtdPasidTranslation,
  VtdRootTableMode,
} from "../../formats/index.js";
import type { EntryCache } from "../entry-cache.js";
import type { Iotlb } from "../iotlb.js";
import { isInterruptWrite } from "../message-interrupt.js";
import { allowedNeeds, Denial, denialOf, Need, Rights } from "../rights.js";
import { highBitsFrom } from "../table-entry.js";
import {
  CompletionStatus,
  DmaAddressType,
  type DmaAnswer,
  type DmaRequest,
  DmaSource,
  DmaStatus,
  PageRight,
} from "../translation.js";
import { identity, isTableAccess, isZeroLengthRead } from "./answers.js";
import type { VtdCapabilities } from "./capabilities.js";
import { ContextFlag, ContextWord, type DeviceTable, LegacyWord } from "./device-table.js";
import type { EventLog } from "./event-log.js";
import { ANSWERED, PageWalk } from "./page-walk.js";
import type { PasidTable } from "./pasid-table.js";
import { ProcessFlag, ProcessWord } from "./process-line.js";
import type { ProtectedMemory } from "./protected-memory.js";
import type { TranslatorParts } from "./translator-parts.js";
import { checkPrivilege, denialFault } from "./walk-faults.js";

const INTERRUPT_PREFIX = 0xfee;

/*
 * Copies of what the loops need from other modules: a constant of this module is part of the
 * compiled code, an imported one is fetched and checked at every use.
 */
const READ = Need.read;
const WRITE = Need.write;
const EXECUTE = Need.execute;
const PRIVILEGED = Need.privileged;
const DIRTY = Rights.dirty;
const SNOOP = Rights.snoop;
const USER = Rights.stage1User;
const P_FLAGS = ProcessWord.flags;
const P_DOMAIN = ProcessWord.domainId;
const P_RULES = ProcessWord.rules;
const P_STAGE2_HIGH = ProcessWord.stage2High;
const F_SILENT = ProcessFlag.faultProcessingDisable;
const F_TRANSLATION = ProcessFlag.translation;
const F_SNOOP = ProcessFlag.pageSnoop;
const F_STAGE1_SHIFT = ProcessFlag.stage1LevelsShift;
const F_LEVELS = ProcessFlag.levels;
const C_FLAGS = ContextWord.flags;
const C_RID_PASID = ContextWord.ridPasid;
const C_PASID_HIGH = ContextWord.pasidHigh;
const C_SILENT = ContextFlag.faultProcessingDisable;
const C_DEVICE_TLB = ContextFlag.deviceTlb;
const C_PASID = ContextFlag.pasid;
const C_RID_PRIVILEGED = ContextFlag.ridPrivileged;
const UNTRANSLATED = DmaAddressType.untranslated;
const TRANSLATION_REQUEST = DmaAddressType.translationRequest;
const TRANSLATED = DmaAddressType.translated;
const STAGE2 = VtdPasidTranslation.stage2;
const PASS_THROUGH = VtdPasidTranslation.passThrough;
const DONE = DmaStatus.translated;
const COMPLETED = DmaStatus.completed;
const FROM_CACHE = DmaSource.cache;
const PRIVILEGED_PAGE = PageRight.privilegedPage;
const SNOOPED = PageRight.snooped;
const SUCCESS = CompletionStatus.success;
const allowedBy = allowedNeeds;
const NOBODY = -1;
/** Needs that a page grants or not. */
const ACCESS = READ | WRITE | EXECUTE;

/** Step 6: § 3.6, bits above the levels repeat the highest one of them. */
const isCanonical = (hi: number, flags: number): boolean => {
  const levels = (flags >>> F_STAGE1_SHIFT) & F_LEVELS;
  const sign = hi >> (levels === 5 ? 24 : 15);
  return sign === 0 || sign === -1;
};

/** Translates the requests of one unit. */
export class Translator {
  readonly #can: VtdCapabilities;
  readonly #contexts: DeviceTable;
  readonly #pasids: PasidTable;
  readonly #contextCache: EntryCache;
  readonly #pasidCache: EntryCache;
  readonly #iotlb: Iotlb;
  readonly #walk: PageWalk;
  readonly #log: EventLog;
  readonly #protection: ProtectedMemory;
  /** Bits of an address's high half above the unit's input width. */
  readonly #inputHigh: number;
  #isEnabled = false;
  /** Lines of contexts and of PASIDs; that of the current request. */
  readonly #data: Int32Array;
  #line = 0;
  /** The PASID that counts, and whether faults stay unrecorded. */
  #pasid = 0;
  #silent = false;
  #need = 0;
  /**
   * The requester of the last request that reached a translation by way of steps 2 to 5, its PASID
   * (-1 without prefix) and what it needs beyond its access; nobody once a cached line changed.
   * Until then `#line`, `#pasid` and `#silent` are those of that request.
   */
  #lastRequester = NOBODY;
  #lastPasid = -1;
  #lastNeed = 0;

  constructor(parts: TranslatorParts) {
    this.#can = parts.capabilities;
    this.#contexts = parts.contexts;
    this.#pasids = parts.pasids;
    this.#contextCache = parts.contexts.cache;
    this.#pasidCache = parts.pasids.cache;
    this.#iotlb = parts.iotlb;
    this.#walk = new PageWalk(parts);
    this.#log = parts.log;
    this.#protection = parts.protection;
    this.#data = parts.contexts.cache.data;
    this.#inputHigh = highBitsFrom(parts.capabilities.inputAddressWidth);
    const forget = (): void => {
      this.#lastRequester = NOBODY;
    };
    parts.contexts.cache.onChange = forget;
    parts.pasids.cache.onChange = forget;
  }

  /** Translation is enabled (GSTS.TES). */
  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  set isEnabled(value: boolean) {
    this.#isEnabled = value;
    this.#lastRequester = NOBODY;
  }

  /** Answers a request of any address type. */
  translate(request: DmaRequest, answer: DmaAnswer): void {
    answer.reason = 0;
    answer.completionStatus = SUCCESS;
    answer.recorded = false;
    answer.domainId = undefined;
    if (request.requester !== this.#lastRequester || this.#isAsLast(request) === false) {
      this.#translateOther(request, answer);
      return;
    }
    this.#need = request.access | this.#lastNeed;
    const fault = this.#translateThrough(request, answer);
    if (fault !== 0) this.#refuse(request, answer, fault);
  }

  /** Steps 1 to 5 would find what they found for the request before, of this requester. */
  #isAsLast(request: DmaRequest): boolean {
    if (request.addressType !== UNTRANSLATED) return false;
    if (request.hasPasid === false) {
      return this.#lastPasid < 0 && (request.hi !== 0 || request.lo >>> 20 !== INTERRUPT_PREFIX);
    }
    if (request.pasid !== this.#lastPasid) return false;
    return request.privileged === false && request.execute === false;
  }

  #translateOther(request: DmaRequest, answer: DmaAnswer): void {
    this.#lastRequester = NOBODY;
    const isInterrupt =
      request.hi === 0 && request.lo >>> 20 === INTERRUPT_PREFIX && request.hasPasid === false;
    if (this.#isEnabled === false || isInterrupt === true) {
      if (this.#isEnabled) this.#interruptRange(request, answer);
      else this.#bypass(request, answer);
      return;
    }
    let fault =
      this.#contexts.isScalable === true ? this.#findPasid(request) : this.#findContext(request);
    if (fault === 0) {
      if (request.addressType === TRANSLATED) {
        this.#passTranslated(request, answer);
        return;
      }
      if (this.#contexts.isScalable) this.#remember(request);
      fault = this.#translateThrough(request, answer);
    }
    if (fault !== 0) this.#refuse(request, answer, fault);
  }

  /** Steps 2 to 5 have found a line: the next request of this kind needs not go through them. */
  #remember(request: DmaRequest): void {
    const { hasPasid, privileged, execute } = request;
    if (hasPasid && (privileged || execute)) return;
    this.#lastRequester = request.requester;
    this.#lastPasid = hasPasid ? request.pasid : -1;
    this.#lastNeed = this.#need & PRIVILEGED;
  }

  /** Steps 2 and 3, legacy: § 3.4.2, § 9.3. */
  #findContext(request: DmaRequest): number {
    const contexts = this.#contexts;
    const fault = contexts.lookup(request.requester);
    if (fault !== 0) {
      this.#silent = contexts.silent;
      return fault;
    }
    const data = this.#data;
    const { line } = contexts;
    this.#line = line;
    this.#pasid = 0;
    this.#need = request.access;
    const flags = data[line | P_FLAGS] as number;
    this.#silent = (flags & F_SILENT) !== 0;
    if (request.hasPasid) return VtdFault.pasidInLegacyMode;
    const isAts = request.addressType !== UNTRANSLATED;
    if (isAts && data[line + LegacyWord.deviceTlb] === 0) return VtdFault.translationTypeBlocks;
    return 0;
  }

  /** Steps 2 to 5, scalable: § 3.4.3, § 9.4, § 9.5, § 9.6. */
  #findPasid(request: DmaRequest): number {
    const contexts = this.#contexts;
    const { requester, hasPasid, addressType } = request;
    const data = this.#data;
    let context = this.#contextCache.find(requester, 0);
    if (context < 0) {
      const fault = this.#loadContext(requester);
      if (fault !== 0) return fault;
      context = contexts.line;
    }
    const contextFlags = data[context | C_FLAGS] as number;
    this.#silent = (contextFlags & C_SILENT) !== 0;
    if (addressType !== UNTRANSLATED) {
      if ((contextFlags & C_DEVICE_TLB) === 0) return VtdFault.deviceTlbDisabled;
      if (addressType === TRANSLATED) return 0;
    }
    let pasid = request.pasid | 0;
    let need = request.access | 0;
    if (hasPasid === true) {
      if ((contextFlags & C_PASID) === 0) return VtdFault.pasidDisabled;
      if (request.privileged === true) need |= PRIVILEGED;
      if (request.execute === true) need |= EXECUTE;
    } else {
      pasid = data[context | C_RID_PASID] as number;
      if ((contextFlags & C_RID_PRIVILEGED) !== 0) need |= PRIVILEGED;
    }
    if ((pasid & (data[context | C_PASID_HIGH] as number)) !== 0) {
      return hasPasid ? VtdFault.pasidBeyondDirectory : VtdFault.ridPasidInvalid;
    }
    let line = this.#pasidCache.find(requester, pasid);
    if (line < 0) {
      const fault = this.#loadPasid(requester, pasid, context);
      if (fault !== 0) return fault;
      line = this.#pasids.line;
    }
    this.#pasid = pasid;
    this.#line = line;
    this.#need = need;
    const flags = data[line | P_FLAGS] as number;
    if ((flags & F_SILENT) !== 0) this.#silent = true;
    return (need & (PRIVILEGED | EXECUTE)) === 0 ? 0 : checkPrivilege(need, flags);
  }

  #loadContext(requester: number): number {
    const contexts = this.#contexts;
    if (contexts.mode > VtdRootTableMode.scalable) {
      // § 11.4.6: a mode that serves nobody; refusals of the abort mode are not recorded.
      this.#silent = contexts.mode === VtdRootTableMode.abort;
      return VtdFault.rootTableMode;
    }
    const fault = contexts.lookup(requester);
    if (fault !== 0) this.#silent = contexts.silent;
    return fault;
  }

  #loadPasid(requester: number, pasid: number, context: number): number {
    const fault = this.#pasids.lookup(requester, pasid, context);
    if (fault !== 0 && this.#pasids.silent) this.#silent = true;
    return fault;
  }

  /** Steps 6 to 9. */
  #translateThrough(request: DmaRequest, answer: DmaAnswer): number {
    const data = this.#data;
    const line = this.#line;
    const flags = data[line | P_FLAGS] as number;
    const translation = flags & F_TRANSLATION;
    if (translation === PASS_THROUGH) {
      return this.#passThrough(request, answer, flags);
    }
    const hasStage1 = translation !== STAGE2;
    const { lo, hi } = request;
    if (hasStage1) {
      if (isCanonical(hi, flags) === false) return VtdFault.notCanonical;
    } else if ((hi & (this.#inputHigh | (data[line | P_STAGE2_HIGH] as number))) !== 0) {
      return this.#beyondWidth(hi);
    }
    const domainId = data[line | P_DOMAIN] as number;
    const iotlb = this.#iotlb;
    answer.domainId = domainId;
    const found = iotlb.find(domainId, hasStage1 ? this.#pasid : 0, hasStage1, lo, hi);
    let rights = 0;
    // A write must go to the table while a dirty bit is still to be set.
    if (found && ((request.access & WRITE) === 0 || (iotlb.rights & DIRTY) !== 0)) {
      answer.source = FROM_CACHE;
      rights = iotlb.rights;
      answer.lo = iotlb.lo;
      answer.hi = iotlb.hi;
      answer.pageShift = iotlb.pageShift;
    } else {
      const walk = this.#walk;
      walk.line = line;
      walk.pasid = this.#pasid;
      walk.need = this.#need;
      const fault = hasStage1
        ? walk.stage1(request, answer, flags, found)
        : walk.stage2(request, answer, flags, found);
      if (fault !== 0) return fault === ANSWERED ? 0 : fault;
      rights = walk.rights;
    }
    return this.#finish(request, answer, flags, rights);
  }

  /** § 3.7: the address lies beyond the unit's width, or the table's. */
  #beyondWidth(hi: number): number {
    if (!this.#contexts.isScalable) return VtdFault.addressBeyondWidth;
    const isBeyondUnit = (hi & this.#inputHigh) !== 0;
    return isBeyondUnit ? VtdFault.inputBeyondWidth : VtdFault.stage2InputBeyondWidth;
  }

  /** Step 9: rights, bits of `Rights`; § 3.14, the target must not be that of interrupts. */
  #finish(request: DmaRequest, answer: DmaAnswer, flags: number, rights: number): number {
    const need = this.#need;
    const rules = this.#data[this.#line | P_RULES] as number;
    const isAts = request.addressType === TRANSLATION_REQUEST;
    let allowed = allowedBy(rights, need & PRIVILEGED, rules);
    if ((need & ~allowed & ACCESS) !== 0 && isAts === false) {
      const denied = this.#deny(request, rights, rules);
      if (denied !== 0) return denied;
    }
    if (answer.hi === 0 && answer.lo >>> 20 === INTERRUPT_PREFIX) return this.#interruptFault();
    if ((need & EXECUTE) === 0) allowed &= ~EXECUTE;
    if ((rights & USER) === 0) allowed |= PRIVILEGED_PAGE;
    if ((rights & SNOOP) !== 0 || (flags & F_SNOOP) !== 0 || request.noSnoop === false) {
      allowed |= SNOOPED;
    }
    answer.status = DONE;
    answer.rights = allowed;
    if (isAts) this.#complete(answer, rights);
    return 0;
  }

  /** What a translation request is told of a page that is there. */
  #complete(answer: DmaAnswer, rights: number): void {
    answer.status = COMPLETED;
    answer.lo &= ~((1 << answer.pageShift) - 1);
    // A device may keep a right to write only once the dirty bit is set: § 4.2.3.
    if ((rights & DIRTY) === 0) answer.rights &= ~WRITE;
  }

  #interruptFault(): number {
    return this.#contexts.isScalable
      ? VtdFault.scalableInterruptAddress
      : VtdFault.interruptAddress;
  }

  /** The right that a cached translation lacks. */
  #deny(request: DmaRequest, rights: number, rules: number): number {
    if (isZeroLengthRead(request, rights, this.#can.zeroLengthRead)) return 0;
    const denial = denialOf(rights, this.#need, rules);
    if (this.#contexts.isScalable) return denialFault(denial);
    return denial === Denial.write ? VtdFault.writeDenied : VtdFault.readDenied;
  }

  #bypass(request: DmaRequest, answer: DmaAnswer): void {
    if (request.addressType === TRANSLATION_REQUEST) {
      this.#silent = true;
      this.#refuse(request, answer, VtdFault.translationTypeBlocks);
      return;
    }
    const inRange = request.hi === 0 && request.lo >>> 20 === INTERRUPT_PREFIX;
    if (inRange && isInterruptWrite(request)) {
      answer.status = DmaStatus.interrupt;
      return;
    }
    if (this.#isProtected(request)) this.#refuse(request, answer, this.#block());
    else identity(request, answer);
  }

  /** Step 1: § 3.14. Writes of a doubleword are interrupts, all else is refused. */
  #interruptRange(request: DmaRequest, answer: DmaAnswer): void {
    this.#silent = false;
    if (isInterruptWrite(request)) {
      answer.status = DmaStatus.interrupt;
      answer.source = DmaSource.bypass;
      return;
    }
    this.#refuse(request, answer, this.#interruptFault());
  }

  /** § 4.2.1: a translated request of a device that may send them is not checked further. */
  #passTranslated(request: DmaRequest, answer: DmaAnswer): void {
    const high = highBitsFrom(this.#can.hostAddressWidth);
    if ((request.hi & high) !== 0) {
      const reason = this.#contexts.isScalable
        ? VtdFault.inputBeyondWidth
        : VtdFault.addressBeyondWidth;
      this.#refuse(request, answer, reason);
      return;
    }
    if (this.#isProtected(request)) this.#refuse(request, answer, this.#block());
    else identity(request, answer);
  }

  #passThrough(request: DmaRequest, answer: DmaAnswer, flags: number): number {
    const high = this.#inputHigh | highBitsFrom(this.#can.hostAddressWidth);
    if ((request.hi & high) !== 0) {
      return this.#contexts.isScalable ? VtdFault.inputBeyondWidth : VtdFault.addressBeyondWidth;
    }
    if (this.#isProtected(request)) return this.#block();
    identity(request, answer);
    answer.domainId = this.#data[this.#line | P_DOMAIN] as number;
    if ((flags & F_SNOOP) !== 0) answer.rights |= SNOOPED;
    if (request.addressType === TRANSLATION_REQUEST) {
      answer.status = COMPLETED;
      answer.lo &= ~0xfff;
      answer.pageShift = 12;
    }
    return 0;
  }

  /** § 11.4.16: no table decides about this access, and it goes to a protected region. */
  #isProtected(request: DmaRequest): boolean {
    if (request.addressType === TRANSLATION_REQUEST) return false;
    return this.#protection.covers(request.lo, request.hi);
  }

  /** Such refusals are not recorded. */
  #block(): number {
    this.#silent = true;
    this.#lastRequester = NOBODY;
    return VTD_PROTECTED_MEMORY_REFUSAL;
  }

  #refuse(request: DmaRequest, answer: DmaAnswer, reason: number): void {
    answer.status = DmaStatus.fault;
    answer.reason = reason;
    answer.completionStatus = isTableAccess(reason)
      ? CompletionStatus.completerAbort
      : CompletionStatus.unsupportedRequest;
    answer.recorded = !this.#silent;
    if (!this.#silent) this.#log.recordDma(request, reason);
  }
}
