/**
 * World: a machine with its software, ready to be played: IOMMU driver, ownership of groups, and
 * the facts that rules ask for.
 *
 * The facts follow the machine: after a change of topology they are worked out anew. Kernel drivers
 * that the platform names own their devices from the start.
 */
import {
  type DmaDevice,
  DmaOwnership,
  type GroupMembers,
  HostDriver,
  machineAnalysis,
  machineHost,
} from "../driver/index.js";
import type { Iommufd, IsolationPort, PasidPath } from "../iommufd/index.js";
import { type Analysis, leavesDmaAlone } from "../isolation/index.js";
import { Machine } from "../machine/index.js";
import type { AllocationPort } from "../memory/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import type { VfioSystem } from "../vfio/index.js";
import { plainDevice } from "./dma-devices.js";
import { misroutedWindows } from "./misrouted-windows.js";
import { ProcessMemory } from "./process-memory.js";
import type { PlayRules } from "./scenario-shape.js";

/** Machine and software of one play. */
export class World implements VfioSystem {
  readonly machine: Machine;
  readonly rules: PlayRules;
  readonly driver: HostDriver;
  readonly ownership: DmaOwnership;
  readonly isolation: IsolationPort;
  readonly allocations: FailingAllocations;
  readonly process: ProcessMemory;
  readonly analysis: () => Analysis;
  allowUnsafeInterrupts = false;
  /** Contexts that are open; page requests are offered to each. */
  readonly contexts = new Set<Iommufd>();

  constructor(platform: BuiltPlatform, rules: PlayRules) {
    this.rules = rules;
    this.machine = new Machine(platform);
    this.allocations = new FailingAllocations();
    this.machine.memory.allocations = this.allocations;
    this.analysis = machineAnalysis(this.machine, { rules });
    const host = machineHost(this.machine, this.analysis, this.allocations);
    this.driver = new HostDriver(host);
    this.process = new ProcessMemory(this.machine.memory);
    this.isolation = isolationOf(this, stableGroups(this), host.pasidPath);
    this.ownership = new DmaOwnership(this.isolation, this.driver);
    this.driver.onPageRequests = (device, pasid, group) => {
      for (const fd of this.contexts) if (fd.deliverFault(device, pasid, group)) return true;
      return false;
    };
    this.#boot();
  }

  /** A function that no kernel driver has: VFIO's is there for every one of them. */
  vfioDevice(bdf: Bdf): DmaDevice | undefined {
    const fn = this.machine.isPresent(bdf) ? this.machine.fabric.function(bdf) : undefined;
    if (fn === undefined || fn.isBridge) return undefined;
    if (this.ownership.kernelUsersOf(bdf).has(bdf)) return undefined;
    return plainDevice(this.driver, fn, formatBdf(bdf), {
      name: "vfio-pci",
      routing: "rid",
      pasids: 0,
      noSnoop: true,
      ats: true,
      pri: true,
      translatedOnly: false,
    });
  }

  /** Every function with a group is in the kernel's hands; kernel drivers take their devices. */
  #boot(): void {
    const { fabric } = this.machine;
    const { partition } = this.analysis();
    for (const group of partition.groups) {
      for (const member of group) this.driver.attachDefault(member);
    }
    for (const fn of fabric.functions) {
      const { driver } = fn.description;
      if (typeof driver !== "string" || leavesDmaAlone(driver) || fn.isBridge) continue;
      this.ownership.claimForKernel(fn.bdf);
    }
  }
}

/** Lets the n-th allocation from now on fail, once. */
export class FailingAllocations implements AllocationPort {
  #left = 0;
  /** It has failed since {@link failNth}. */
  failed = false;

  failNth(n: number): void {
    this.#left = n;
    this.failed = false;
  }

  permit(): boolean {
    if (this.#left === 0) return true;
    this.#left--;
    if (this.#left > 0) return true;
    this.failed = true;
    return false;
  }
}

/**
 * Groups as they were made at the start. A device that leaves and comes back is in its old group,
 * as in Linux, where a group is made when a device is first seen.
 *
 * Linux puts all devices of an IOMMU that cannot match requester IDs into one group
 * (generic_single_device_group()).
 */
function stableGroups(world: World): (device: Bdf) => GroupMembers | undefined {
  const { partition, facts } = world.analysis();
  const { groupOf } = partition;
  const one = facts.requesterMatching === false;
  const groups = one ? [partition.groups.flat()] : partition.groups;
  const { machine } = world;
  return (device) => {
    const found = groupOf.get(device);
    const id = one && found !== undefined ? 0 : found;
    const members = id === undefined ? undefined : groups[id];
    if (id === undefined || members === undefined) return undefined;
    const isWhole = members.every((member) => machine.isPresent(member));
    return { id, members: isWhole ? members : members.filter((m) => machine.isPresent(m)) };
  };
}

function isolationOf(
  world: World,
  groupOf: (device: Bdf) => GroupMembers | undefined,
  pasidPath: (device: Bdf) => { ok: boolean; onlyAcs?: boolean | undefined },
): IsolationPort {
  const { rules, analysis } = world;
  return {
    rules,
    groupOf,
    aliasSetOf: (device) => {
      const { aliasSets } = analysis();
      const set = aliasSets.setOf.get(device);
      return set === undefined ? [device] : (aliasSets.sets[set] ?? [device]);
    },
    aliasEvidence: (device) => analysis().deviceReport(device)?.mustShare.because ?? [],
    pasidPath: (device): PasidPath => {
      const because = analysis().deviceReport(device)?.pasid.because ?? [];
      const { ok, onlyAcs = false } = pasidPath(device);
      return { ok, onlyPath: onlyAcs, because };
    },
    sharesPageRequests: (device) => {
      const pf = analysis().fabric.function(device)?.physfn;
      return pf?.pri !== undefined && pf.pri !== null;
    },
    peerWindows: (device) => misroutedWindows(analysis(), device),
  };
}
