/** From how a walk or a check ended to the code that VT-d records: VT-d 5.0 § 7.1.3. */
import { VtdFault, VtdPasidTranslation } from "../../formats/index.js";
import { Denial, Need } from "../rights.js";
import { WalkFault } from "../walk-result.js";
import { ProcessFlag } from "./process-line.js";

/** A walk of stage 2 alone, in legacy mode. */
export function legacyFault(fault: number, need: number): number {
  switch (fault) {
    case WalkFault.access:
    case WalkFault.update:
      return VtdFault.pagingAccess;
    case WalkFault.reserved:
      return VtdFault.pagingReserved;
    default:
      return (need & Need.write) !== 0 ? VtdFault.writeDenied : VtdFault.readDenied;
  }
}

/** A walk of stage 2 in scalable mode, alone or below stage 1. */
export function stage2Fault(fault: number, need: number): number {
  switch (fault) {
    case WalkFault.access:
    case WalkFault.update:
      return VtdFault.stage2Access;
    case WalkFault.reserved:
      return VtdFault.stage2Reserved;
    case WalkFault.notPresent:
      return VtdFault.stage2NotPresent;
    default:
      return (need & Need.write) !== 0 ? VtdFault.scalableWriteDenied : VtdFault.scalableReadDenied;
  }
}

/**
 * A walk of stage 1, alone or nested.
 * @param atRoot it ended at the entry of the root table.
 */
export function stage1Fault(
  fault: number,
  denial: number,
  belowFault: number,
  need: number,
  atRoot: boolean,
): number {
  switch (fault) {
    case WalkFault.access:
      return atRoot ? VtdFault.stage1RootAccess : VtdFault.stage1Access;
    case WalkFault.notPresent:
      return VtdFault.stage1NotPresent;
    case WalkFault.reserved:
      return VtdFault.stage1Reserved;
    case WalkFault.update:
      return VtdFault.stage1UpdateFailed;
    case WalkFault.tableBeyondStage2:
      return VtdFault.stage1AddressBeyondStage2;
    case WalkFault.tableReadDenied:
      return atRoot ? VtdFault.stage1RootReadDenied : VtdFault.stage1TableReadDenied;
    case WalkFault.tableWriteDenied:
      return VtdFault.stage1TableWriteDenied;
    case WalkFault.pageBeyondStage2:
      return VtdFault.stage2InputBeyondWidth;
    case WalkFault.stage2:
      return stage2Fault(belowFault, need);
    default:
      return denialFault(denial);
  }
}

/** A right of a page is missing, in scalable mode. */
export function denialFault(denial: number): number {
  switch (denial) {
    case Denial.read:
      return VtdFault.scalableReadDenied;
    case Denial.write:
      return VtdFault.scalableWriteDenied;
    case Denial.user:
      return VtdFault.userDenied;
    default:
      return VtdFault.executeDenied;
  }
}

/** § 9.6, SRE and ERE; they count where there is a stage 1. */
export function checkPrivilege(need: number, flags: number): number {
  const translation = flags & ProcessFlag.translation;
  const hasStage1 =
    translation === VtdPasidTranslation.stage1 || translation === VtdPasidTranslation.nested;
  if (!hasStage1) return 0;
  if ((need & Need.privileged) !== 0 && (flags & ProcessFlag.supervisorRequests) === 0) {
    return VtdFault.supervisorRequestDisabled;
  }
  if ((need & Need.execute) !== 0 && (flags & ProcessFlag.executeRequests) === 0) {
    return VtdFault.executeRequestDisabled;
  }
  return 0;
}
