/**
 * DriverHost: what the IOMMU driver needs of the machine it runs on.
 *
 * Hardware is reached through memory, the registers of IOMMU units and configuration space only.
 * Facts about devices (which unit, which requester IDs, what the path allows) come from firmware
 * and fabric; `isolation` computes them.
 */
import type { Iommu } from "../iommu/index.js";
import type { AllocationPort, PhysicalMemory } from "../memory/index.js";
import type { AccessLength, PciFunction } from "../pcie/index.js";
import type { Bdf, Rid } from "../units/index.js";
import type { ReservedSpan } from "./driver-port.js";

/** Whether something can be used, and the facts that decide. */
export interface PathVerdict {
  readonly ok: boolean;
  /** The only thing that is wrong are ACS bits on the path: an owner's policy may accept that. */
  readonly onlyAcs?: boolean | undefined;
  readonly because: readonly object[];
}

export interface DriverHost {
  readonly memory: PhysicalMemory;
  /** May refuse hardware tags (`domain-id`); frames are refused by `memory`. */
  readonly allocations?: AllocationPort | undefined;
  readonly units: readonly Iommu[];
  /** The unit that the device's requests reach; undefined when none does. */
  unitOf(device: Bdf): Iommu | undefined;
  /** Every requester ID under which its requests reach that unit, its own first. */
  requesterIdsOf(device: Bdf): readonly Rid[];
  functionOf(device: Bdf): PciFunction | undefined;
  /** Configuration accesses travel like any other: what they set off happens. */
  configRead(device: Bdf, offset: number, length: AccessLength): number;
  configWrite(device: Bdf, offset: number, length: AccessLength, value: number): void;
  /** Memory that firmware keeps for the device; without the interrupt range. */
  reservedOf(device: Bdf): readonly ReservedSpan[];
  pasidPath(device: Bdf): PathVerdict;
  atsPath(device: Bdf): PathVerdict;
}

/** `identity` where units can pass requests through, else translated. */
export type DefaultMode = "translated" | "identity";

export interface DriverOptions {
  /** The kernel's own domain of a device. Default `translated`. */
  readonly defaultMode?: DefaultMode | undefined;
  /** Scalable mode where a unit has it. Default true. */
  readonly scalable?: boolean | undefined;
  /** Interrupt remapping where a unit has it. Default true. */
  readonly remapInterrupts?: boolean | undefined;
  /** Interrupt remapping entries: 2^n, 1 to 16. Default 8. */
  readonly interruptEntriesLog2?: number | undefined;
}
