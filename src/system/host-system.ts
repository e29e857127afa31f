/**
 * HostSystem: a running system whose functions have drivers that people bind and unbind, and whose
 * functions come and go: VFs switched on and off, functions removed and found again.
 */
import { UapiError } from "../abi/index.js";
import { type DmaDevice, hasPasidCapability, PlainDriver } from "../driver/index.js";
import type { IsolationPort } from "../iommufd/index.js";
import type { AllocationPort } from "../memory/index.js";
import type { PciFunction } from "../pcie/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import type { Bdf } from "../units/index.js";
import { type BindAtStart, DeviceDrivers, isVfioDriver } from "./device-drivers.js";
import type { DeviceId } from "./device-id.js";
import { RunningSystem } from "./running-system.js";

export interface HostSystemOptions {
  readonly rules: IsolationPort["rules"];
  /** Default `unclaimed`: VFIO has every endpoint that no driver is named for, but bridges. */
  readonly bind?: BindAtStart | undefined;
  readonly allocations?: AllocationPort | undefined;
}

/** Offsets in the SR-IOV capability (PCIe 6 § 9.3.3). */
const CONTROL = 0x08;
const NUM_VFS = 0x10;
const VF_ENABLE = 0x0001;
/** VF Memory Space Enable. */
const VF_MEMORY = 0x0008;

const CITE_NUM_VFS = "Linux sriov_numvfs_store()";

/** See the head of the file. */
export class HostSystem extends RunningSystem {
  readonly drivers: DeviceDrivers;
  /** Runs a reset of a function; whoever has it open learns of it before and after. */
  aroundReset: (bdf: Bdf, reset: () => void) => void = (_bdf, reset) => reset();
  /** Called after functions came, left, or got other drivers. */
  onChange: (() => void) | undefined;
  readonly #devices = new Map<Bdf, PlainDriver>();
  /** Whether VFs of a PF find drivers when they appear; default on. */
  readonly #autoprobeOff = new Set<Bdf>();
  /** What was removed, by the function it was removed with. */
  readonly #removed = new Map<Bdf, readonly Bdf[]>();

  /** @throws UapiError ENOMEM, EOPNOTSUPP: the IOMMUs cannot be set up. */
  constructor(platform: BuiltPlatform, options: HostSystemOptions) {
    super(platform, options.rules, options.allocations);
    this.drivers = new DeviceDrivers(this, options.bind ?? "unclaimed");
  }

  /** A function that a VFIO driver has, as that driver hands it out. */
  override vfioDevice(bdf: Bdf): DmaDevice | undefined {
    const name = this.machine.isPresent(bdf) ? this.drivers.of(bdf) : undefined;
    const known = this.#devices.get(bdf);
    if (name === undefined || !isVfioDriver(name)) {
      known?.release();
      this.#devices.delete(bdf);
      return undefined;
    }
    if (known !== undefined) return known.devices[0];
    const fn = this.machine.fabric.function(bdf);
    const ats = fn?.ats !== undefined && fn.ats !== null;
    const made = new PlainDriver(
      this.driver,
      bdf,
      {
        name,
        routing: "rid+pasid",
        pasids: 0,
        noSnoop: true,
        ats,
        pri: ats && fn?.pri !== undefined && fn.pri !== null,
        translatedOnly: false,
      },
      { hasPasids: hasPasidCapability(fn) },
    );
    this.#devices.set(bdf, made);
    return made.devices[0];
  }

  /** @throws UapiError as {@link DeviceDrivers.bind}. */
  bind(driver: string, bdf: Bdf): void {
    this.drivers.bind(driver, bdf);
    this.onChange?.();
  }

  /** @throws UapiError as {@link DeviceDrivers.unbind}. */
  unbind(driver: string, bdf: Bdf): void {
    // A driver that lets go of a PF switches its VFs off.
    const virtual = this.drivers.of(bdf) === driver ? this.virtualOf(bdf) : [];
    this.drivers.checkIdle(virtual);
    this.drivers.unbind(driver, bdf);
    const sriov = this.machine.fabric.function(bdf)?.sriov;
    for (const vf of virtual) this.#leave(vf);
    if (sriov && virtual.length > 0) this.#writeVirtual(bdf, sriov.offset, 0);
    this.vfioDevice(bdf);
    this.onChange?.();
  }

  /** @throws UapiError as {@link DeviceDrivers.newId}. */
  newId(driver: string, id: DeviceId): void {
    this.drivers.newId(driver, id);
    this.onChange?.();
  }

  /** A function without a driver gets the first that takes it, if any. */
  probe(bdf: Bdf): void {
    if (this.drivers.attach(bdf)) this.onChange?.();
  }

  autoprobesVirtual(pf: Bdf): boolean {
    return !this.#autoprobeOff.has(pf);
  }

  setAutoprobeVirtual(pf: Bdf, on: boolean): void {
    if (on) this.#autoprobeOff.delete(pf);
    else this.#autoprobeOff.add(pf);
  }

  /** VFs of a PF that are there, in order. */
  virtualOf(pf: Bdf): readonly Bdf[] {
    const fn = this.machine.fabric.function(pf);
    if (!fn?.sriov) return [];
    const found = this.machine.fabric.functions.filter((each) => each.physfn === fn);
    return found.map((each) => each.bdf).sort((a, b) => a - b);
  }

  /**
   * Switches VFs on, or with 0 off: a write to `sriov_numvfs`.
   * @throws UapiError ERANGE (more than TotalVFs), ENOENT (no driver, or one without SR-IOV), EBUSY
   * (VFs are on already, or a user has one open).
   */
  setVirtualCount(pf: Bdf, count: number): void {
    const fn = this.machine.fabric.function(pf);
    const sriov = fn?.sriov;
    if (!sriov) throw new UapiError("ENOENT", "the function has no VFs", { cite: CITE_NUM_VFS });
    const evidence = [{ kind: "vf-limit", at: pf, count: sriov.totalVfs ?? 0 }];
    if (count > (sriov.totalVfs ?? 0)) {
      throw new UapiError("ERANGE", "the function has fewer VFs", { evidence, cite: CITE_NUM_VFS });
    }
    const on = this.virtualOf(pf);
    if (on.length === count) return;
    const driver = this.drivers.of(pf);
    if (driver === undefined || (isVfioDriver(driver) && !this.drivers.enableSriov)) {
      throw new UapiError("ENOENT", "no driver of the function can switch VFs on", {
        evidence: [{ kind: "driver-bound", at: pf, driver }],
        cite: CITE_NUM_VFS,
      });
    }
    if (count > 0 && on.length > 0) {
      throw new UapiError("EBUSY", "other VFs are on: they must be switched off first", {
        evidence: [{ kind: "vf-count", at: pf, count: on.length }],
        cite: CITE_NUM_VFS,
      });
    }
    this.drivers.checkIdle(on);
    for (const vf of on) this.#leave(vf);
    this.#writeVirtual(pf, sriov.offset, count);
    for (const vf of this.virtualOf(pf)) this.#appear(vf, this.autoprobesVirtual(pf));
    this.onChange?.();
  }

  /**
   * Takes a function out of the system, with everything below it: a write to `remove`.
   * @throws UapiError EBUSY when a user has one of the functions open.
   */
  remove(bdf: Bdf): void {
    const gone = this.machine.below(bdf);
    if (gone.length === 0) return;
    this.drivers.checkIdle(gone);
    const { fabric } = this.machine;
    const physical = gone.filter((each) => fabric.function(each)?.isVirtual !== true);
    for (const each of gone) this.#leave(each);
    this.machine.unplug(bdf);
    this.#removed.set(bdf, physical);
    this.onChange?.();
  }

  /** Finds functions again that were removed; what stands above them must be there. */
  rescan(): void {
    const back = [...this.#removed.values()].flat();
    if (back.length === 0) return;
    this.#removed.clear();
    this.machine.plug(back);
    for (const each of back) this.#appear(each, true);
    this.onChange?.();
  }

  /** For the facts that only the function itself has. @throws UapiError ENODEV. */
  function(bdf: Bdf): PciFunction {
    const fn = this.machine.isPresent(bdf) ? this.machine.fabric.function(bdf) : undefined;
    if (fn !== undefined) return fn;
    throw new UapiError("ENODEV", "the function is gone", {
      evidence: [{ kind: "device-gone", at: bdf }],
    });
  }

  #leave(bdf: Bdf): void {
    this.drivers.left(bdf);
    this.vfioDevice(bdf);
    this.driver.removeDevice(bdf);
  }

  #appear(bdf: Bdf, probe: boolean): void {
    const owned = this.ownership.ownerOf(bdf) !== undefined;
    if (this.isolation.groupOf(bdf) !== undefined) {
      if (owned) this.driver.attach(bdf, undefined, this.driver.blocked(bdf));
      else this.driver.attachDefault(bdf);
    }
    if (probe) this.drivers.appeared(bdf);
  }

  #writeVirtual(pf: Bdf, offset: number, count: number): void {
    const { machine } = this;
    const control = machine.configRead(pf, offset + CONTROL, 2) & ~(VF_ENABLE | VF_MEMORY);
    machine.configWrite(pf, offset + CONTROL, 2, control);
    machine.configWrite(pf, offset + NUM_VFS, 2, count);
    if (count > 0) machine.configWrite(pf, offset + CONTROL, 2, control | VF_ENABLE | VF_MEMORY);
  }
}
