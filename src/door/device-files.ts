/** The devices of a platform as programs open them: /dev/iommu and everything of VFIO. */
import { InterruptDomain } from "../driver/index.js";
import { BUFFER_MEMORY, type Call, type OpenFile, type SharedMemoryMaker } from "../files/index.js";
import { IommufdFile, type IommufdPorts } from "../iommufd/index.js";
import { SelftestFiles } from "../iommufd/selftest/index.js";
import type { HostSystem } from "../system/index.js";
import type { Bdf } from "../units/index.js";
import { VfioFiles } from "../vfio/index.js";
import {
  IOMMU_MINOR,
  MISC_MAJOR,
  VFIO_CONTAINER_MINOR,
  VFIO_DEVICE_MAJOR,
  VFIO_GROUP_MAJOR,
} from "./numbers.js";
import type { DeviceFiles } from "./tree-keeper.js";

export interface DeviceFilesOptions {
  /** What BARs and driver memory are made of; default buffers that nobody else maps. */
  readonly memory?: SharedMemoryMaker | undefined;
  /** Fills the first tokens of PFs; default zeros, which anybody can guess. */
  readonly fillRandom?: ((bytes: Uint8Array) => void) | undefined;
  readonly iommufd?: IommufdPorts | undefined;
  readonly sysfsPathOf?: ((device: Bdf) => string | undefined) | undefined;
}

/** See the head of the file. */
export class SystemDeviceFiles implements DeviceFiles {
  readonly interrupts: InterruptDomain;
  readonly vfio: VfioFiles;
  readonly #system: HostSystem;
  readonly #ports: IommufdPorts;
  /** On a platform for the kernel's own tests. */
  readonly selftest: SelftestFiles | undefined;

  /** Takes the interrupts of the machine over. */
  constructor(system: HostSystem, options: DeviceFilesOptions = {}) {
    const memory = options.memory ?? BUFFER_MEMORY;
    this.#system = system;
    this.#ports = { memory, ...options.iommufd };
    this.selftest = selftestOf(system, this.#ports);
    this.interrupts = new InterruptDomain(system.machine, system.driver);
    this.vfio = new VfioFiles({
      system,
      machine: system.machine,
      interrupts: this.interrupts,
      memory,
      fillRandom: options.fillRandom ?? (() => {}),
      sysfsPathOf: (device) => options.sysfsPathOf?.(device),
    });
  }

  iommufd(call: Call): OpenFile {
    const rdev = { major: MISC_MAJOR, minor: IOMMU_MINOR };
    if (this.selftest !== undefined) return this.selftest.open(call.process, { rdev });
    const file = new IommufdFile(this.#system, this.#ports, call.process, { rdev });
    const { contexts } = this.#system;
    contexts.add(file.iommufd);
    file.context.onClosed = () => contexts.delete(file.iommufd);
    return file;
  }

  container(call: Call): OpenFile {
    const rdev = { major: MISC_MAJOR, minor: VFIO_CONTAINER_MINOR };
    return this.vfio.openContainer(call.process, rdev);
  }

  group(_call: Call, id: number): OpenFile {
    return this.vfio.openGroup(id, { major: VFIO_GROUP_MAJOR, minor: id });
  }

  device(_call: Call, bdf: Bdf): OpenFile {
    const number = this.#system.drivers.vfioNumberOf(bdf) ?? 0;
    const rdev = { major: VFIO_DEVICE_MAJOR, minor: number };
    return this.vfio.openDevice(bdf, { label: `/dev/vfio/devices/vfio${number}`, rdev });
  }

  readonly barMemory: NonNullable<DeviceFiles["barMemory"]> = (bdf, bar, request) =>
    this.vfio.mapBar(bdf, bar, request);

  isOpen(bdf: Bdf): boolean {
    return this.vfio.isInUse(bdf);
  }

  askBack(bdf: Bdf): void {
    this.vfio.requestRelease(bdf);
  }

  /** Memory that users were given is taken away, and comes back with their interrupts. */
  aroundReset(bdf: Bdf, reset: () => void): void {
    const device = this.vfio.table.find(bdf);
    device?.beforeReset();
    reset();
    device?.afterReset();
  }

  driverLeft(bdf: Bdf): void {
    this.vfio.driverLeft(bdf);
  }
}

function selftestOf(system: HostSystem, ports: IommufdPorts): SelftestFiles | undefined {
  const { selftest } = system.machine.platform;
  if (selftest === undefined) return undefined;
  const kernel = selftest === "linux-6.12" ? "6.12" : "7.2";
  return new SelftestFiles({ kernel, allocations: system.allocations }, ports);
}
