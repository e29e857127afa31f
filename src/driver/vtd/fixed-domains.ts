/** Domains without a table that a user fills: blocked, and the kernel's own. */
import {
  buildWords,
  VTD_CONTEXT_ENTRY,
  VTD_PASID_ENTRY,
  VtdPasidTranslation,
  VtdTranslationType,
} from "../../formats/index.js";
import type { BlockedDomain } from "../driver-port.js";
import type { DomainTag, VtdDomain } from "./attachment.js";
import type { VtdUnit } from "./unit.js";

/** The row is not present. */
export class VtdBlockedDomain implements BlockedDomain {
  readonly kind = "blocked";
  readonly instance: VtdUnit;

  constructor(instance: VtdUnit) {
    this.instance = instance;
  }
}

/** Requests pass unchanged. */
export class PassThroughDomain implements VtdDomain {
  readonly label = "identity";
  readonly translation = "pass-through";
  readonly tags = new Map<VtdUnit, DomainTag>();

  row(unit: VtdUnit, domainId: number, _deviceTlb: boolean): Uint32Array {
    const addressWidth = (unit.capabilities.stage2Levels[0] ?? 4) - 2;
    if (unit.scalable) {
      return buildWords(VTD_PASID_ENTRY, 16, {
        present: true,
        translationType: VtdPasidTranslation.passThrough,
        addressWidth,
        domainId,
      });
    }
    return buildWords(VTD_CONTEXT_ENTRY, 4, {
      present: true,
      translationType: VtdTranslationType.passThrough,
      addressWidth,
      domainId,
    });
  }
}
