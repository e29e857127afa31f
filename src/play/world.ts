/** World: a running system and the memory of one process, ready to be played. */
import {
  type DmaDevice,
  type DriverDeclaration,
  hasPasidCapability,
  plainDevice,
} from "../driver/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import { FailingAllocations, RunningSystem } from "../system/index.js";
import type { Bdf } from "../units/index.js";
import { ProcessMemory } from "./process-memory.js";
import type { PlayRules } from "./scenario-shape.js";

/** Machine and software of one play. */
export class World extends RunningSystem {
  override readonly rules: PlayRules;
  override readonly allocations: FailingAllocations;
  readonly process: ProcessMemory;

  constructor(platform: BuiltPlatform, rules: PlayRules) {
    const allocations = new FailingAllocations();
    super(platform, rules, allocations);
    this.allocations = allocations;
    this.rules = rules;
    this.process = new ProcessMemory(this.machine.memory);
  }

  /** A function that no kernel driver has: VFIO's is there for every one of them. */
  override vfioDevice(bdf: Bdf): DmaDevice | undefined {
    const fn = this.machine.isPresent(bdf) ? this.machine.fabric.function(bdf) : undefined;
    if (fn === undefined || fn.isBridge) return undefined;
    if (this.ownership.kernelUsersOf(bdf).has(bdf)) return undefined;
    const options = { hasPasids: hasPasidCapability(fn) };
    return plainDevice(this.driver, bdf, LEGACY, options);
  }
}

/** What programs with groups know: requests without PASID. */
const LEGACY: DriverDeclaration = {
  name: "vfio-pci",
  routing: "rid",
  pasids: 0,
  noSnoop: true,
  ats: true,
  pri: true,
  translatedOnly: false,
};
