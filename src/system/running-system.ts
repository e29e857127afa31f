/**
 * RunningSystem: a machine with its software: IOMMU driver, ownership of groups, and the facts that
 * rules ask for.
 *
 * The facts follow the machine: after a change of topology they are worked out anew. Kernel drivers
 * that the platform names own their devices from the start; every other function with a group is in
 * the kernel's hands without a driver.
 */
import {
  type DmaDevice,
  DmaOwnership,
  HostDriver,
  machineAnalysis,
  machineHost,
} from "../driver/index.js";
import type { Iommufd, IsolationPort } from "../iommufd/index.js";
import { type Analysis, leavesDmaAlone } from "../isolation/index.js";
import { Machine } from "../machine/index.js";
import { ALLOCATE_ALWAYS, type AllocationPort } from "../memory/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import type { Bdf } from "../units/index.js";
import type { VfioSystem } from "../vfio/index.js";
import { GroupNumbers } from "./group-numbers.js";
import { isolationPort } from "./isolation-port.js";

/** Entries of a unit's interrupt remapping table: enough for every vector of many devices. */
const INTERRUPT_ENTRIES_LOG2 = 12;

/** See the head of the file. */
export abstract class RunningSystem implements VfioSystem {
  readonly machine: Machine;
  readonly rules: IsolationPort["rules"];
  readonly driver: HostDriver;
  readonly ownership: DmaOwnership;
  readonly isolation: IsolationPort;
  readonly groups: GroupNumbers;
  readonly allocations: AllocationPort;
  readonly analysis: () => Analysis;
  allowUnsafeInterrupts = false;
  /** Contexts that are open; page requests are offered to each. */
  readonly contexts = new Set<Iommufd>();

  /**
   * @param allocations may refuse each allocation of the system.
   * @throws UapiError ENOMEM, EOPNOTSUPP: the IOMMUs cannot be set up.
   */
  constructor(
    platform: BuiltPlatform,
    rules: IsolationPort["rules"],
    allocations: AllocationPort = ALLOCATE_ALWAYS,
  ) {
    this.rules = rules;
    this.machine = new Machine(platform);
    this.allocations = allocations;
    this.machine.memory.allocations = this.allocations;
    this.analysis = machineAnalysis(this.machine, { rules });
    const host = machineHost(this.machine, this.analysis, this.allocations);
    this.driver = new HostDriver(host, { interruptEntriesLog2: INTERRUPT_ENTRIES_LOG2 });
    this.groups = new GroupNumbers(this.machine, this.analysis);
    this.isolation = isolationPort(rules, this.groups, this.analysis, host);
    this.ownership = new DmaOwnership(this.isolation, this.driver);
    this.driver.onPageRequests = (device, pasid, group) => {
      for (const fd of this.contexts) if (fd.deliverFault(device, pasid, group)) return true;
      return false;
    };
    for (const group of this.groups.groups) {
      for (const member of group.members) this.driver.attachDefault(member);
    }
    for (const fn of this.machine.fabric.functions) {
      const { driver } = fn.description;
      if (typeof driver !== "string" || leavesDmaAlone(driver) || fn.isBridge) continue;
      this.ownership.claimForKernel(fn.bdf);
    }
  }

  abstract vfioDevice(bdf: Bdf): DmaDevice | undefined;
}
