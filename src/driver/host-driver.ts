/**
 * HostDriver: the driver port on all units of a machine, of whatever make.
 *
 * Each call goes to the driver of the unit in front of the device.
 */
import { UapiError } from "../abi/index.js";
import type { Bdf, Pasid, Rid } from "../units/index.js";
import { DeviceFeatures } from "./device-features.js";
import type { DriverHost, DriverOptions } from "./driver-host.js";
import type {
  BlockedDomain,
  DeviceCapabilities,
  DmaFault,
  Domain,
  DriverData,
  HardwareInfo,
  IommuDriver,
  IommuInstance,
  NestedDomain,
  PageRequestGroup,
  PagingDomain,
  PagingFlags,
  ReservedSpan,
  VirtualIommu,
} from "./driver-port.js";
import { SingleTableDriver } from "./single/single-driver.js";
import type { InterruptTable } from "./vtd/interrupt-table.js";
import { VtdDriver } from "./vtd/vtd-driver.js";

/** What a device driver's declaration asks to be switched on. */
export interface WantedFeatures {
  readonly ats: boolean;
  readonly pageRequests: boolean;
}

/** The driver of every unit of a host. */
export class HostDriver implements IommuDriver {
  readonly name = "host";
  readonly vtd: VtdDriver;
  readonly single: SingleTableDriver;
  readonly #host: DriverHost;

  /** Sets all units up; nothing passes afterwards. @throws UapiError ENOMEM, EOPNOTSUPP. */
  constructor(host: DriverHost, options: DriverOptions = {}) {
    this.#host = host;
    this.vtd = new VtdDriver(host, options);
    this.single = new SingleTableDriver(host, options);
  }

  set onPageRequests(handler:
    | ((device: Bdf, pasid: Pasid | undefined, group: PageRequestGroup) => boolean)
    | undefined,) {
    this.vtd.onPageRequests = handler;
  }

  get onPageRequests() {
    return this.vtd.onPageRequests;
  }

  set onFault(handler: ((fault: DmaFault) => void) | undefined) {
    this.vtd.onFault = handler;
    this.single.onFault = handler;
  }

  get onFault() {
    return this.vtd.onFault;
  }

  poll(): void {
    this.vtd.poll();
    this.single.poll();
  }

  /** Frames of all tables. */
  get tableFrames(): number {
    return this.vtd.frames.held + this.single.frames.held;
  }

  instanceOf(device: Bdf): IommuInstance {
    return this.#of(device).instanceOf(device);
  }

  capabilities(device: Bdf): DeviceCapabilities {
    return this.#of(device).capabilities(device);
  }

  reservedSpans(device: Bdf): readonly ReservedSpan[] {
    return this.#of(device).reservedSpans(device);
  }

  hardwareInfo(device: Bdf, type: number): HardwareInfo {
    return this.#of(device).hardwareInfo(device, type);
  }

  allocPaging(device: Bdf, flags: PagingFlags, data: DriverData | undefined): PagingDomain {
    return this.#of(device).allocPaging(device, flags, data);
  }

  allocNested(
    device: Bdf,
    parent: PagingDomain,
    data: DriverData,
    flags: { readonly pasid: boolean },
  ): NestedDomain {
    return this.#of(device).allocNested(device, parent, data, flags);
  }

  blocked(device: Bdf): BlockedDomain {
    return this.#of(device).blocked(device);
  }

  allocVirtualIommu(
    device: Bdf,
    parent: PagingDomain,
    type: number,
    data: DriverData | undefined,
  ): VirtualIommu {
    return this.#of(device).allocVirtualIommu(device, parent, type, data);
  }

  attach(device: Bdf, pasid: Pasid | undefined, domain: Domain): void {
    this.#of(device).attach(device, pasid, domain);
  }

  attached(device: Bdf, pasid: Pasid | undefined): Domain | undefined {
    return this.#of(device).attached(device, pasid);
  }

  /** A device without a unit in front of it is nobody's to block. */
  attachDefault(device: Bdf): void {
    if (this.#isServed(device)) this.#of(device).attachDefault(device);
  }

  detachPasid(device: Bdf, pasid: Pasid): void {
    if (this.#isServed(device)) this.#of(device).detachPasid(device, pasid);
  }

  /** The kernel's own address space of a device; undefined for identity, or without a unit. */
  kernelDomain(device: Bdf): PagingDomain | undefined {
    return this.#isServed(device) ? this.#of(device).kernelDomain(device) : undefined;
  }

  /** Whether the function may ask not to be snooped; on after power on. */
  allowNoSnoop(device: Bdf, allowed: boolean): void {
    const fn = this.#host.functionOf(device);
    if (fn !== undefined) new DeviceFeatures(fn, this.#host).allowNoSnoop(allowed);
  }

  /** The table that remaps the device's interrupts; undefined where none does. */
  interruptTableOf(device: Bdf): InterruptTable | undefined {
    const driver = this.#isServed(device) ? this.#of(device) : undefined;
    return driver instanceof VtdDriver ? driver.instanceOf(device).interrupts : undefined;
  }

  /** Requester IDs under which the device's interrupts reach their unit, its own first. */
  requesterIdsOf(device: Bdf): readonly Rid[] {
    return this.#host.requesterIdsOf(device);
  }

  /** Switches ATS and page requests on or off, as far as possible. @returns what is on now. */
  configure(device: Bdf, wanted: WantedFeatures): WantedFeatures {
    const driver = this.#of(device);
    if (driver instanceof VtdDriver) return driver.configure(device, wanted);
    return { ats: false, pageRequests: false };
  }

  /** The device is gone. */
  removeDevice(device: Bdf): void {
    this.vtd.removeDevice(device);
    this.single.removeDevice(device);
  }

  #isServed(device: Bdf): boolean {
    return (
      this.vtd.knows(device) || this.single.knows(device) || this.#host.unitOf(device) !== undefined
    );
  }

  #of(device: Bdf): VtdDriver | SingleTableDriver {
    if (this.vtd.knows(device)) return this.vtd;
    if (this.single.knows(device)) return this.single;
    const kind = this.#host.unitOf(device)?.kind;
    if (kind === "vtd") return this.vtd;
    if (kind === "single-table") return this.single;
    throw new UapiError("ENODEV", "no IOMMU unit is in front of the device", {
      evidence: [{ kind: "outside-iommu-scope", at: device }],
    });
  }
}
