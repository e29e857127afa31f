/** World: a running system and the memory of one process, ready to be played. */
import type { DmaDevice } from "../driver/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import { FailingAllocations, RunningSystem } from "../system/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { plainDevice } from "./dma-devices.js";
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
}
