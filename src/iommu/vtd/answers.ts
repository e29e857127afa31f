/** How the answers of a VT-d unit are filled in, where no table entry decides. */
import { VtdFault } from "../../formats/index.js";
import { Rights } from "../rights.js";
import {
  DmaAccess,
  type DmaAnswer,
  type DmaRequest,
  DmaSource,
  DmaStatus,
  PageRight,
} from "../translation.js";
import { WalkFault } from "../walk-result.js";

/**
 * § 11.4.2, ZLR: a read of no bytes, which may go to a page that can only be written.
 * @param rights bits of `Rights` of that page.
 * @param isSupported the unit does so.
 */
export function isZeroLengthRead(
  request: DmaRequest,
  rights: number,
  isSupported: boolean,
): boolean {
  const isOne = request.length === 0 && request.access === DmaAccess.read && isSupported;
  return isOne && (rights & Rights.stage2Write) !== 0;
}

/** A zero-length read of a page that can only be written. */
export function answerZeroLength(request: DmaRequest, answer: DmaAnswer): void {
  answer.status = DmaStatus.translated;
  answer.lo = request.lo;
  answer.hi = request.hi;
  answer.rights = PageRight.write;
}

/** A translation request finds no page: success, and no rights (VT-d 5.0 § 4.2.3). */
export function answerNothing(answer: DmaAnswer): void {
  answer.status = DmaStatus.completed;
  answer.lo = 0;
  answer.hi = 0;
  answer.pageShift = 12;
  answer.rights = 0;
}

/** The request goes on with its own address. */
export function identity(request: DmaRequest, answer: DmaAnswer): void {
  answer.status = DmaStatus.translated;
  answer.lo = request.lo;
  answer.hi = request.hi;
  answer.pageShift = 63;
  const mayExecute = request.hasPasid && request.execute;
  answer.rights =
    PageRight.read |
    PageRight.write |
    (mayExecute ? PageRight.execute : 0) |
    (request.noSnoop ? 0 : PageRight.snooped);
  answer.source = DmaSource.bypass;
  answer.domainId = undefined;
}

/** What a translation request is told as "no page" rather than as a fault. */
export function isMissing(fault: number): boolean {
  return fault === WalkFault.notPresent || fault === WalkFault.denied;
}

/** The same after a walk of stage 1, alone or nested. */
export function isMissingStage1(fault: number, stage2: number): boolean {
  if (isMissing(fault)) return true;
  return fault === WalkFault.stage2 && isMissing(stage2);
}

/** Memory did not give a table's entry. */
export function isTableAccess(reason: number): boolean {
  switch (reason) {
    case VtdFault.pagingAccess:
    case VtdFault.rootAccess:
    case VtdFault.contextAccess:
    case VtdFault.scalableRootAccess:
    case VtdFault.scalableContextAccess:
    case VtdFault.directoryAccess:
    case VtdFault.pasidEntryAccess:
    case VtdFault.stage1Access:
    case VtdFault.stage1RootAccess:
    case VtdFault.stage2Access:
      return true;
    default:
      return false;
  }
}
