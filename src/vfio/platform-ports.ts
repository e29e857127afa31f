/** What VFIO's files need of the machine, beyond what groups and containers do. */
import type { InterruptDomain } from "../driver/index.js";
import type { SharedMemoryMaker } from "../files/index.js";
import type { Machine } from "../machine/index.js";
import type { Bdf } from "../units/index.js";
import type { VfioSystem } from "./ports.js";

/** One machine with its software, as the files of VFIO see it. */
export interface VfioPlatform {
  readonly system: VfioSystem;
  readonly machine: Machine;
  readonly interrupts: InterruptDomain;
  /** Makes the memory of BARs that programs map. */
  readonly memory: SharedMemoryMaker;
  /** Fills bytes that nobody can guess: the first token of a PF. */
  fillRandom(bytes: Uint8Array): void;
  /** Where a device is in sysfs, for fdinfo: `/sys/devices/pci0000:00/...`. Absent: not known. */
  sysfsPathOf?(device: Bdf): string | undefined;
}
