/**
 * Devices that are open, by function; and what outlives the time between a close and the next open.
 */
import type { Bdf } from "../units/index.js";
import { BarMemories } from "./bar-memories.js";
import type { VfioGroups } from "./groups.js";
import { PciDevice } from "./pci-device.js";
import type { VfioPlatform } from "./platform-ports.js";
import { VfTokens } from "./vf-tokens.js";

/** See the head of the file. */
export class DeviceTable {
  readonly platform: VfioPlatform;
  readonly groups: VfioGroups;
  readonly tokens: VfTokens;
  readonly memories: BarMemories;
  readonly #devices = new Map<Bdf, PciDevice>();

  constructor(platform: VfioPlatform, groups: VfioGroups) {
    this.platform = platform;
    this.groups = groups;
    this.tokens = new VfTokens(platform);
    this.memories = new BarMemories(platform);
  }

  /** Undefined when no file of it is open. */
  find(bdf: Bdf): PciDevice | undefined {
    return this.#devices.get(bdf);
  }

  /** All that are open. */
  all(): Iterable<PciDevice> {
    return this.#devices.values();
  }

  /** Opens a device once more. @throws UapiError ENODEV it is not there. */
  open(bdf: Bdf): PciDevice {
    const device = this.#devices.get(bdf) ?? new PciDevice(this.platform, this.memories, bdf);
    device.open();
    this.#devices.set(bdf, device);
    this.tokens.count(bdf, 1);
    return device;
  }

  close(device: PciDevice): void {
    device.close();
    this.tokens.count(device.bdf, -1);
    if (!device.isOpen) this.#devices.delete(device.bdf);
  }
}
