/**
 * VfioFiles: the files of VFIO on one machine: /dev/vfio/vfio, /dev/vfio/N, and the devices' own.
 */
import { UapiError } from "../abi/index.js";
import type { MappedRegion, MmapRequest, OpenFile, UserProcess } from "../files/index.js";
import type { Bdf } from "../units/index.js";
import { VfioContainer } from "./container.js";
import { VfioContainerFile } from "./container-file.js";
import { type DeviceFileOptions, VfioDeviceFile } from "./device-file.js";
import { DeviceTable } from "./device-table.js";
import { VfioGroupFile } from "./group-file.js";
import { VfioGroups } from "./groups.js";
import { Irq } from "./interrupt-set.js";
import type { VfioPlatform } from "./platform-ports.js";
import { DeviceRegions } from "./regions.js";

/** See the head of the file. */
export class VfioFiles {
  readonly groups: VfioGroups;
  /** Devices that are open, and the tokens of PFs. */
  readonly table: DeviceTable;
  readonly #platform: VfioPlatform;

  constructor(platform: VfioPlatform) {
    this.#platform = platform;
    this.groups = new VfioGroups(platform.system);
    this.table = new DeviceTable(platform, this.groups);
    // Whoever resets a device that is open: its vectors are still its user's.
    platform.machine.onRestored = (bdf) => this.table.find(bdf)?.interrupts.restore();
  }

  /** /dev/vfio/vfio. Never fails. @param opener whoever opens it. */
  openContainer(opener: UserProcess, rdev?: OpenFile["rdev"]): VfioContainerFile {
    return new VfioContainerFile(new VfioContainer(this.#platform.system, opener), rdev);
  }

  /**
   * /dev/vfio/N.
   * @throws UapiError ENOENT there is no such group, or no VFIO driver has a device of it; EBUSY.
   */
  openGroup(id: number, rdev?: OpenFile["rdev"]): VfioGroupFile {
    const { machine, system } = this.#platform;
    for (const { bdf } of machine.fabric.functions) {
      if (system.isolation.groupOf(bdf)?.id !== id) continue;
      return new VfioGroupFile(this.table, this.groups.of(bdf), rdev);
    }
    throw new UapiError("ENOENT", `there is no group ${id}`, {
      cite: "Linux vfio_group_find_or_alloc()",
    });
  }

  /**
   * /dev/vfio/devices/vfioN of a device: it is to be bound.
   * @throws UapiError ENOENT no VFIO driver has it.
   */
  openDevice(bdf: Bdf, options: DeviceFileOptions): VfioDeviceFile {
    if (this.#platform.system.vfioDevice(bdf) === undefined) {
      throw new UapiError("ENOENT", "no VFIO driver has the device", {
        evidence: [{ kind: "no-vfio-driver", at: bdf }],
      });
    }
    return new VfioDeviceFile(this.table, bdf, options, undefined);
  }

  /**
   * Maps a BAR without the device being open: `resourceN` of sysfs.
   * @returns undefined when it cannot be mapped.
   * @throws UapiError EINVAL not shared, or beyond the end; ENOMEM.
   */
  mapBar(bdf: Bdf, bar: number, request: MmapRequest): MappedRegion | undefined {
    const { machine } = this.#platform;
    const fn = machine.isPresent(bdf) ? machine.fabric.function(bdf) : undefined;
    if (fn === undefined) return undefined;
    const gate = { memoryEnabled: true };
    const regions = new DeviceRegions(this.#platform, this.table.memories, fn, gate);
    return regions.isMappable(bar) ? regions.mmap(bar, request.offset, request) : undefined;
  }

  /** The device is wanted back: its user is told through the eventfd for that. */
  requestRelease(bdf: Bdf): void {
    this.table.find(bdf)?.interrupts.signal(Irq.request);
  }

  /** An error of the device: its user is told. */
  reportError(bdf: Bdf): void {
    this.table.find(bdf)?.interrupts.signal(Irq.error);
  }

  /** Some file has the device: it cannot leave its driver yet. */
  isInUse(bdf: Bdf): boolean {
    return this.table.find(bdf) !== undefined;
  }

  /** The machine is gone. */
  close(): void {
    this.table.memories.close();
  }

  /** vfio-pci lets go of the device, which nobody uses. */
  driverLeft(bdf: Bdf): void {
    this.table.tokens.forget(bdf);
  }
}
