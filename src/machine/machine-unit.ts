/**
 * An IOMMU unit in its machine: the hardware, and the half that turns the fabric's records into the
 * unit's and back (the translation agent of PCIe 6 § 10.1).
 */

import type { TranslationCompletion } from "../devices/index.js";
import {
  DmaAccess,
  DmaAddressType,
  DmaAnswer,
  DmaRequest,
  type DmaStatus,
  type Iommu,
  type IommuPorts,
} from "../iommu/index.js";
import { addressHigh, addressLow, frameOf, type PhysicalMemory } from "../memory/index.js";
import type { MemoryAccess, MemoryRequest } from "../pcie/index.js";
import type { IommuNode, UnitNode } from "../platform/index.js";

/** What a unit is made from. */
export interface UnitPlan {
  readonly name: string;
  readonly segment: number;
  /** As the firmware's table gives it. */
  readonly registerBase: bigint;
  /** Undefined: a captured unit of which nothing more is said. */
  readonly node: IommuNode | UnitNode | undefined;
  readonly requesterMatching: boolean;
  readonly interruptRemapping: boolean;
  /** Capability registers that a capture shows. */
  readonly captured: { readonly cap: bigint | undefined; readonly ecap: bigint | undefined };
}

/** Builds the hardware of a unit. */
export type UnitMaker = (plan: UnitPlan, memory: PhysicalMemory, ports: IommuPorts) => Iommu;

const ACCESS: Readonly<Record<MemoryAccess, DmaAccess>> = {
  read: DmaAccess.read,
  write: DmaAccess.write,
  atomic: DmaAccess.atomic,
};
const SOURCES = ["bypass", "cache", "walk"] as const;

/** A unit, its plan, and one pair of records that every request reuses. */
export class MachineUnit {
  readonly plan: UnitPlan;
  readonly iommu: Iommu;
  readonly request = new DmaRequest();
  readonly answer = new DmaAnswer();

  constructor(plan: UnitPlan, iommu: Iommu) {
    this.plan = plan;
    this.iommu = iommu;
  }

  get name(): string {
    return this.plan.name;
  }

  /** Runs one request; the answer is in {@link answer}. `requester` as it arrives. */
  translate(tlp: MemoryRequest, requester: number, addressType: number): DmaStatus {
    const { request, answer } = this;
    request.requester = requester;
    request.addressType = addressType as DmaAddressType;
    const { prefix } = tlp;
    request.hasPasid = prefix !== undefined;
    request.pasid = prefix?.pasid ?? 0;
    request.privileged = prefix?.privileged === true;
    request.execute = prefix?.execute === true;
    request.noSnoop = tlp.noSnoop;
    request.lo = addressLow(tlp.pfn, tlp.offset);
    request.hi = addressHigh(tlp.pfn);
    request.length = tlp.length;
    // The lowest address bit of a translation request says that nothing will be written.
    const asks = addressType === DmaAddressType.translationRequest;
    request.access = asks
      ? (tlp.offset & 1) !== 0
        ? DmaAccess.read
        : DmaAccess.atomic
      : ACCESS[tlp.access];
    if (asks) request.lo &= ~0xfff;
    this.iommu.translate(request, answer);
    return answer.status;
  }

  get pfn(): number {
    return frameOf(this.answer.lo, this.answer.hi);
  }

  get source(): (typeof SOURCES)[number] {
    return SOURCES[this.answer.source] ?? "walk";
  }

  /** The answer to a translation request as the device gets it. */
  translationCompletion(): TranslationCompletion {
    const { answer } = this;
    const shift = Math.min(answer.pageShift, 52) - 12;
    return {
      pfn: this.pfn,
      pageCount: 2 ** Math.max(shift, 0),
      read: answer.readable,
      write: answer.writable,
      execute: answer.executable,
      privileged: this.request.privileged,
      global: false,
      untranslatedOnly: false,
      noSnoop: !answer.snooped,
    };
  }
}
