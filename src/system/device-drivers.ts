/**
 * DeviceDrivers: which kernel driver has which function, and the rules of binding.
 *
 * A driver takes a function when the function's `driver_override` names it, when one of its dynamic
 * ids matches, or when its own table does. The table of a driver that a platform names holds the
 * ids of the functions that have it; VFIO's drivers have no table of their own. A driver that does
 * DMA takes the function's group for the kernel, one that leaves DMA alone does not.
 *
 * Linux drivers/base/bus.c, drivers/base/dd.c, drivers/pci/pci-driver.c, drivers/vfio/pci.
 */
import { UapiError } from "../abi/index.js";
import type { DmaOwnership, GroupPort } from "../driver/index.js";
import { leavesDmaAlone } from "../isolation/index.js";
import type { Machine } from "../machine/index.js";
import { type FunctionIds, type PciFunction, PortType } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { type DeviceId, matchesId } from "./device-id.js";
import { LowestFree } from "./lowest-free.js";

export const VFIO_PCI = "vfio-pci";

/** The driver hands functions to users: `vfio-pci`, `mlx5_vfio_pci`. */
export function isVfioDriver(name: string): boolean {
  return name === VFIO_PCI || /(?:^|[-_])vfio(?:[-_]|$)/.test(name);
}

/** What binding needs of the machine. */
export interface DriversPort {
  readonly machine: Machine;
  readonly ownership: DmaOwnership;
  readonly isolation: GroupPort;
}

/** Which functions VFIO's driver has when the system starts. */
export type BindAtStart = "unclaimed" | "all" | "none" | readonly Bdf[];

interface Driver {
  readonly name: string;
  readonly table: DeviceId[];
  readonly dynamic: DeviceId[];
}

/** See the head of the file. */
export class DeviceDrivers {
  /** A function is open by a user; unbinding waits for it. Set by whoever serves its files. */
  isOpen: (bdf: Bdf) => boolean = () => false;
  /** Asks the user of a function to let go of it (the REQ interrupt). */
  askBack: (bdf: Bdf) => void = () => {};
  /** A driver has let go of a function. */
  onRelease: (bdf: Bdf) => void = () => {};
  /** vfio-pci may switch on VFs (module parameter enable_sriov). */
  enableSriov = true;
  readonly #port: DriversPort;
  readonly #drivers = new Map<string, Driver>();
  readonly #bound = new Map<Bdf, string>();
  readonly #overrides = new Map<Bdf, string>();
  readonly #vfio = new Map<Bdf, number>();
  readonly #vfioNumbers = new LowestFree();

  /** @param start who has what; kernel drivers own their groups already. */
  constructor(port: DriversPort, start: BindAtStart) {
    this.#port = port;
    this.driver(VFIO_PCI);
    for (const fn of port.machine.fabric.functions) {
      const name = nativeDriver(fn);
      if (name === undefined) continue;
      const id = exactId(fn.ids);
      if (!isVfioDriver(name) && id !== undefined) this.#addId(this.driver(name).table, id);
    }
    for (const fn of port.machine.fabric.functions) this.#bindAtStart(fn, start);
  }

  /** Names of all drivers, in the order they came. */
  get names(): readonly string[] {
    return [...this.#drivers.keys()];
  }

  /** The driver that has a function; undefined: none has it. */
  of(bdf: Bdf): string | undefined {
    return this.#bound.get(bdf);
  }

  /** Functions that a driver has. */
  functionsOf(name: string): readonly Bdf[] {
    return [...this.#bound].filter(([, driver]) => driver === name).map(([bdf]) => bdf);
  }

  /** N of /dev/vfio/devices/vfioN; undefined when no VFIO driver has the function. */
  vfioNumberOf(bdf: Bdf): number | undefined {
    return this.#vfio.get(bdf);
  }

  overrideOf(bdf: Bdf): string | undefined {
    return this.#overrides.get(bdf);
  }

  /** @param name empty: none. */
  setOverride(bdf: Bdf, name: string): void {
    if (name === "") this.#overrides.delete(bdf);
    else this.#overrides.set(bdf, name);
  }

  /**
   * A write to the driver's `bind`.
   * @throws UapiError ENODEV (no such function, or not one of this driver's), EBUSY (a driver has
   * it, a user owns the group, or VFs are on), EINVAL (VFIO: a bridge, or no group).
   */
  bind(name: string, bdf: Bdf): void {
    const fn = this.#function(bdf);
    if (fn === undefined || !this.#matches(this.driver(name), fn)) {
      throw new UapiError("ENODEV", "the driver does not take this function", {
        evidence: [
          fn === undefined
            ? { kind: "device-gone", at: bdf }
            : { kind: "driver-match", at: bdf, driver: name },
        ],
        cite: "Linux bind_store()",
      });
    }
    const has = this.of(bdf);
    if (has !== undefined) {
      throw new UapiError("EBUSY", "a driver has the function", {
        evidence: [{ kind: "driver-bound", at: bdf, driver: has }],
        cite: "Linux __device_driver_lock(), device_driver_attach()",
      });
    }
    this.#probe(name, fn);
  }

  /**
   * A write to the driver's `unbind`. The kernel makes the writer wait while a user has the
   * function open; here the user is asked to let go, and the writer is to try again.
   * @throws UapiError ENODEV (the driver does not have it), EBUSY (a user has it open).
   */
  unbind(name: string, bdf: Bdf): void {
    if (this.of(bdf) !== name || !this.#port.machine.isPresent(bdf)) {
      throw new UapiError("ENODEV", "the driver does not have this function", {
        evidence: [{ kind: "driver-bound", at: bdf, driver: this.of(bdf) }],
        cite: "Linux unbind_store()",
      });
    }
    this.checkIdle([bdf]);
    this.release(bdf);
  }

  /** @throws UapiError EBUSY when a user has one of the functions open; it is asked back. */
  checkIdle(functions: readonly Bdf[]): void {
    const busy = functions.filter((bdf) => this.isOpen(bdf));
    if (busy.length === 0) return;
    for (const bdf of busy) this.askBack(bdf);
    throw new UapiError("EBUSY", "a user has the function open and was asked to let go of it", {
      evidence: busy.map((at) => ({ kind: "device-open", at })),
      cite: "Linux vfio_unregister_group_dev() waits here",
    });
  }

  /** The function's driver lets go of it, whatever it is. */
  release(bdf: Bdf): void {
    const name = this.#bound.get(bdf);
    if (name === undefined) return;
    this.#bound.delete(bdf);
    const number = this.#vfio.get(bdf);
    if (number !== undefined) this.#vfioNumbers.release(number);
    this.#vfio.delete(bdf);
    if (!leavesDmaAlone(name)) this.#port.ownership.releaseForKernel(bdf);
    this.onRelease(bdf);
  }

  /**
   * A function that has no driver gets the first one that takes it.
   * @returns whether it has one now. A driver that cannot take it is passed over, as in the kernel.
   */
  attach(bdf: Bdf): boolean {
    const fn = this.#function(bdf);
    if (fn === undefined) return false;
    if (this.of(bdf) !== undefined) return true;
    for (const driver of this.#drivers.values()) {
      if (!this.#matches(driver, fn)) continue;
      try {
        this.#probe(driver.name, fn);
        return true;
      } catch (error) {
        if (!UapiError.is(error)) throw error;
      }
    }
    return false;
  }

  /**
   * A write to the driver's `new_id`: every function without a driver that matches is taken.
   * @throws UapiError EEXIST when the driver takes such functions already.
   */
  newId(name: string, id: DeviceId): void {
    const driver = this.driver(name);
    if ([...driver.table, ...driver.dynamic].some((known) => covers(known, id))) {
      throw new UapiError("EEXIST", "the driver takes functions with these ids already", {
        cite: "Linux new_id_store()",
      });
    }
    driver.dynamic.push(id);
    for (const fn of this.#port.machine.fabric.functions) {
      if (this.of(fn.bdf) === undefined && this.#matches(driver, fn)) this.attach(fn.bdf);
    }
  }

  /** A write to the driver's `remove_id`. @throws UapiError ENODEV. */
  removeId(name: string, vendor: number, device: number): void {
    const { dynamic } = this.driver(name);
    const at = dynamic.findIndex((id) => id.vendor === vendor && id.device === device);
    if (at < 0) {
      throw new UapiError("ENODEV", "the driver was given no such ids", {
        cite: "Linux remove_id_store()",
      });
    }
    dynamic.splice(at, 1);
  }

  /** A function is there for the first time, or again. VFs of VFIO's PFs are VFIO's. */
  appeared(bdf: Bdf): void {
    const pf = this.#function(bdf)?.physfn;
    const owner = pf === undefined ? undefined : this.of(pf.bdf);
    if (owner !== undefined && isVfioDriver(owner)) this.setOverride(bdf, owner);
    this.attach(bdf);
  }

  /** A function has left: its driver is gone with it. */
  left(bdf: Bdf): void {
    this.release(bdf);
    this.#overrides.delete(bdf);
  }

  /** The driver with a name; it is there from now on. */
  driver(name: string): Driver {
    const found = this.#drivers.get(name);
    if (found !== undefined) return found;
    const made = { name, table: [], dynamic: [] };
    this.#drivers.set(name, made);
    return made;
  }

  #function(bdf: Bdf): PciFunction | undefined {
    const { machine } = this.#port;
    return machine.isPresent(bdf) ? machine.fabric.function(bdf) : undefined;
  }

  #matches(driver: Driver, fn: PciFunction): boolean {
    const override = this.#overrides.get(fn.bdf);
    if (override !== undefined) return override === driver.name;
    return [...driver.dynamic, ...driver.table].some((id) => matchesId(id, fn.ids));
  }

  #probe(name: string, fn: PciFunction): void {
    const { ownership } = this.#port;
    if (isVfioDriver(name)) this.#checkVfio(fn);
    else if (!leavesDmaAlone(name)) ownership.claimForKernel(fn.bdf);
    this.#take(name, fn.bdf);
  }

  #checkVfio(fn: PciFunction): void {
    if (fn.headerType !== undefined && fn.headerType !== 0) {
      throw new UapiError("EINVAL", "VFIO does not take bridges", {
        evidence: [{ kind: "bridge", at: fn.bdf }],
        cite: "Linux vfio_pci_core_register_device()",
      });
    }
    if (fn.sriov?.enabled === true) {
      throw new UapiError("EBUSY", "VFs of the function are on", {
        evidence: [{ kind: "vfs-on", at: fn.bdf }],
        cite: "Linux vfio_pci_core_register_device()",
      });
    }
    if (this.#port.isolation.groupOf(fn.bdf) === undefined) {
      throw new UapiError("EINVAL", "the function is in no isolation group: no IOMMU covers it", {
        evidence: [{ kind: "no-group", at: fn.bdf }],
        cite: "Linux vfio_group_find_or_alloc()",
      });
    }
  }

  #take(name: string, bdf: Bdf): void {
    this.driver(name);
    this.#bound.set(bdf, name);
    if (isVfioDriver(name)) this.#vfio.set(bdf, this.#vfioNumbers.take());
  }

  #bindAtStart(fn: PciFunction, start: BindAtStart): void {
    const native = nativeDriver(fn);
    const forVfio = fn.headerType === 0 && this.#port.isolation.groupOf(fn.bdf) !== undefined;
    const wanted =
      start === "all" ||
      (start === "unclaimed" && native === undefined && !isBridgeClass(fn)) ||
      (typeof start === "object" && start.includes(fn.bdf));
    if (forVfio && wanted) {
      if (native !== undefined && !leavesDmaAlone(native)) {
        this.#port.ownership.releaseForKernel(fn.bdf);
      }
      this.setOverride(fn.bdf, VFIO_PCI);
      this.#take(VFIO_PCI, fn.bdf);
      return;
    }
    if (native === undefined) return;
    if (isVfioDriver(native)) {
      if (!forVfio) return;
      this.setOverride(fn.bdf, native);
    }
    this.#take(native, fn.bdf);
  }

  #addId(table: DeviceId[], id: DeviceId): void {
    if (!table.some((known) => covers(known, id))) table.push(id);
  }
}

/** Host bridges, ISA bridges and their like: nobody wants them, though they look like endpoints. */
function isBridgeClass(fn: PciFunction): boolean {
  return (fn.ids.classCode ?? 0) >>> 16 === 0x06;
}

/** What has a function when the system starts: named, or the port driver for PCI Express ports. */
export function nativeDriver(fn: PciFunction): string | undefined {
  const { driver } = fn.description;
  if (typeof driver === "string") return driver;
  const { portType } = fn;
  if (driver === null || portType === undefined) return undefined;
  return portType >= PortType.RootPort && portType <= PortType.DownstreamPort
    ? "pcieport"
    : undefined;
}

function exactId({ vendor, device }: FunctionIds): DeviceId | undefined {
  if (vendor === undefined || device === undefined) return undefined;
  return {
    vendor,
    device,
    subVendor: undefined,
    subDevice: undefined,
    classCode: 0,
    classMask: 0,
  };
}

/** Whatever `id` matches, `known` matches too. */
function covers(known: DeviceId, id: DeviceId): boolean {
  return (
    known.vendor === id.vendor &&
    known.device === id.device &&
    (known.subVendor === undefined || known.subVendor === id.subVendor) &&
    (known.subDevice === undefined || known.subDevice === id.subDevice) &&
    (known.classMask & ~id.classMask) === 0 &&
    ((known.classCode ^ id.classCode) & known.classMask) === 0
  );
}
