/**
 * VtdDriver: the driver port on VT-d units.
 *
 * A device is taken up at first use: its rows are made, not present. A slot then holds blocked (row
 * not present), the kernel's own domain, or a domain of a user. Every change goes from the old row
 * to the new one by way of not present, so identity or the kernel's domain never shows in between.
 *
 * Devices that share a requester ID share its row: the last attach stands. Giving all of them the
 * same domain is the business of the layer above, which knows alias sets.
 */
import { UapiError } from "../../abi/index.js";
import { PageResponseCode } from "../../formats/index.js";
import { type Bdf, makePasid, type Pasid, type Span } from "../../units/index.js";
import type { DriverHost, DriverOptions } from "../driver-host.js";
import type {
  BlockedDomain,
  DeviceCapabilities,
  DmaFault,
  Domain,
  DriverData,
  HardwareInfo,
  IommuDriver,
  PageRequestGroup,
  PagingDomain,
  PagingFlags,
  ReservedSpan,
  VirtualIommu,
} from "../driver-port.js";
import { TableFrames } from "../table-frames.js";
import type { VtdDomain } from "./attachment.js";
import type { VtdDevice } from "./device.js";
import { VtdCapabilityReader } from "./device-capabilities.js";
import { DeviceRegister } from "./device-register.js";
import { takeFaults } from "./fault-records.js";
import { misfit } from "./fit.js";
import { VtdNestedDomain } from "./nested-domain.js";
import { VtdPagingDomain } from "./paging-domain.js";
import { vtdReservedSpans } from "./reserved-spans.js";
import type { PreparedRow } from "./rows.js";
import { VtdUnit } from "./unit.js";

/** IOMMU_HW_INFO_TYPE_INTEL_VTD. */
const HW_INFO_VTD = 1;
/** Compatibility and remappable interrupts: VT-d 5.0 § 3.14. */
const INTERRUPT_WINDOW: Span = { first: 0xfee0_0000n, last: 0xfeef_ffffn };
/** Row of requests without PASID. */
const NO_PASID = 0;

/** Drives every VT-d unit of a host. */
export class VtdDriver implements IommuDriver {
  readonly name = "vtd";
  readonly units: readonly VtdUnit[];
  onPageRequests:
    | ((device: Bdf, pasid: Pasid | undefined, group: PageRequestGroup) => boolean)
    | undefined;
  onFault: ((fault: DmaFault) => void) | undefined;
  /** Frames of all tables. */
  readonly frames: TableFrames;
  readonly #host: DriverHost;
  readonly #register: DeviceRegister;
  readonly #reader: VtdCapabilityReader;
  #serial = 0;

  /** Sets all units up and switches them on. @throws UapiError ENOMEM, EOPNOTSUPP. */
  constructor(host: DriverHost, options: DriverOptions = {}) {
    this.#host = host;
    this.frames = new TableFrames(host.memory);
    this.units = host.units
      .filter((iommu) => iommu.kind === "vtd")
      .map((iommu) => new VtdUnit(iommu, this.frames, host.allocations, options));
    this.#reader = new VtdCapabilityReader(host);
    this.#register = new DeviceRegister(host, options, this.frames, this.units, this.#reader);
  }

  /** The device was taken up and not removed. */
  knows(device: Bdf): boolean {
    return this.#register.find(device) !== undefined;
  }

  /** @throws UapiError ENODEV. */
  instanceOf(device: Bdf): VtdUnit {
    const known = this.#register.find(device);
    if (known !== undefined) return known.unit;
    const iommu = this.#host.unitOf(device);
    const unit = this.units.find((u) => u.iommu === iommu);
    if (unit === undefined || iommu === undefined) {
      throw new UapiError("ENODEV", "no IOMMU unit is in front of the device", {
        evidence: [{ kind: "outside-iommu-scope", at: device }],
      });
    }
    return unit;
  }

  capabilities(device: Bdf): DeviceCapabilities {
    return this.#reader.of(device, this.instanceOf(device));
  }

  reservedSpans(device: Bdf): readonly ReservedSpan[] {
    return [...vtdReservedSpans(this.#host, device), { span: INTERRUPT_WINDOW, kind: "msi" }];
  }

  /** 24 bytes: flags, reserved, capability and extended capability register. */
  hardwareInfo(device: Bdf, type: number): HardwareInfo {
    const { capability, extendedCapability } = this.instanceOf(device).capabilities;
    if (type !== 0 && type !== HW_INFO_VTD) {
      throw new UapiError("EOPNOTSUPP", "a VT-d unit has no information of this type");
    }
    const view = new DataView(new ArrayBuffer(24));
    view.setBigUint64(8, capability, true);
    view.setBigUint64(16, extendedCapability, true);
    return { type: HW_INFO_VTD, bytes: new Uint8Array(view.buffer) };
  }

  /** Stage 2 unless the unit has none. */
  allocPaging(device: Bdf, flags: PagingFlags, data: DriverData | undefined): VtdPagingDomain {
    const unit = this.instanceOf(device);
    const caps = unit.capabilities;
    if (data !== undefined) {
      throw new UapiError("EOPNOTSUPP", "a VT-d address space takes no data of the driver's");
    }
    if (flags.nestParent && !(unit.scalable && caps.nested)) {
      throw new UapiError("EOPNOTSUPP", "the unit cannot nest translations");
    }
    if (flags.dirtyTracking && !(unit.scalable && caps.dirty)) {
      throw new UapiError("EOPNOTSUPP", "the unit does not keep dirty bits in stage 2");
    }
    const stage = caps.stage2 && caps.stage2Levels.length > 0 ? 2 : 1;
    if (stage === 1 && (flags.nestParent || flags.dirtyTracking)) {
      throw new UapiError("EOPNOTSUPP", "the unit has no stage-2 tables");
    }
    return this.#makePaging(unit, stage, flags);
  }

  /** A stage-1 address space, as shared virtual addressing uses. @throws as `allocPaging`. */
  allocStage1(device: Bdf): VtdPagingDomain {
    const unit = this.instanceOf(device);
    if (!unit.scalable || !unit.capabilities.stage1) {
      throw new UapiError("EOPNOTSUPP", "the unit has no stage-1 tables");
    }
    return this.#makePaging(unit, 1, { nestParent: false, dirtyTracking: false });
  }

  allocNested(
    device: Bdf,
    parent: PagingDomain,
    data: DriverData,
    _flags: { readonly pasid: boolean },
  ): VtdNestedDomain {
    const unit = this.instanceOf(device);
    if (!(parent instanceof VtdPagingDomain)) {
      throw new UapiError("EINVAL", "the parent belongs to another driver");
    }
    if (!parent.nestParent) {
      throw new UapiError("EINVAL", "the parent was not made to be nested on");
    }
    return new VtdNestedDomain(unit, parent, `nested ${++this.#serial}`, data);
  }

  blocked(device: Bdf): BlockedDomain {
    return this.#register.blocked(this.instanceOf(device));
  }

  allocVirtualIommu(
    _device: Bdf,
    _parent: PagingDomain,
    _type: number,
    _data: DriverData | undefined,
  ): VirtualIommu {
    throw new UapiError("EOPNOTSUPP", "VT-d offers no virtual IOMMU", {
      cite: "Linux intel_iommu_ops: no viommu_init",
    });
  }

  attach(device: Bdf, pasid: Pasid | undefined, domain: Domain): void {
    const record = this.#take(device);
    const slot = pasid ?? NO_PASID;
    if (domain.kind === "blocked") {
      this.#withdraw(record, slot);
      if (slot === NO_PASID) record.slots.set(slot, domain);
      else record.slots.delete(slot);
      return;
    }
    if (!(domain instanceof VtdPagingDomain || domain instanceof VtdNestedDomain)) {
      throw new UapiError("EINVAL", "the domain belongs to another driver");
    }
    this.#checkFit(record, domain);
    if (slot !== NO_PASID) this.#checkPasid(record, slot);
    this.#install(record, slot, domain);
    record.slots.set(slot, domain);
  }

  attached(device: Bdf, pasid: Pasid | undefined): Domain | undefined {
    const record = this.#register.find(device);
    // Before it is taken up nothing passes.
    if (record === undefined) return pasid === undefined ? this.blocked(device) : undefined;
    return record.slots.get(pasid ?? NO_PASID);
  }

  attachDefault(device: Bdf): void {
    try {
      const record = this.#take(device);
      this.#install(record, NO_PASID, record.kernel);
      record.slots.set(NO_PASID, undefined);
    } catch (error) {
      // Without memory for its rows the device stays blocked, which is safe.
      if (!UapiError.is(error)) throw error;
    }
  }

  detachPasid(device: Bdf, pasid: Pasid): void {
    const record = this.#register.find(device);
    if (record === undefined) return;
    this.#withdraw(record, pasid);
    record.slots.delete(pasid);
  }

  /** PASIDs of the device that hold a domain, ascending. */
  pasidsOf(device: Bdf): readonly Pasid[] {
    const slots = this.#register.find(device)?.slots.keys() ?? [];
    return [...slots]
      .filter((pasid) => pasid !== NO_PASID)
      .sort((a, b) => a - b)
      .map(makePasid);
  }

  /** The kernel's own address space of a device; undefined where that is identity. */
  kernelDomain(device: Bdf): PagingDomain | undefined {
    const { kernel } = this.#take(device);
    return kernel instanceof VtdPagingDomain ? kernel : undefined;
  }

  /**
   * Lets the device use translation requests, or page requests too, as its driver declares.
   * @returns what is on now.
   */
  configure(
    device: Bdf,
    wanted: { readonly ats: boolean; readonly pageRequests: boolean },
  ): { readonly ats: boolean; readonly pageRequests: boolean } {
    const record = this.#take(device);
    const able = this.capabilities(device);
    const { features } = record;
    const ats = wanted.ats && able.ats && features !== undefined;
    const pri = ats && wanted.pageRequests && able.pageRequests;
    if (features !== undefined && !ats) {
      features.disablePageRequests();
      features.disableAts();
    }
    this.#setSwitches(record, ats, pri);
    if (features === undefined || !ats) return { ats: false, pageRequests: false };
    const atsOn = features.enableAts();
    const priOn = atsOn && pri && features.enablePageRequests();
    if (atsOn !== ats || priOn !== pri) this.#setSwitches(record, atsOn, priOn);
    return { ats: atsOn, pageRequests: priOn };
  }

  /** Whether the function may ask not to be snooped; on after power on. */
  allowNoSnoop(device: Bdf, allowed: boolean): void {
    this.#take(device).features?.allowNoSnoop(allowed);
  }

  poll(): void {
    for (const unit of this.units) {
      this.#takePageRequests(unit);
      for (const fault of takeFaults(unit.iommu, unit.capabilities)) {
        this.onFault?.({ ...fault, device: this.#register.deviceOf(unit, fault.rid) });
      }
    }
  }

  /** The device is gone: its rows are emptied and given back. */
  removeDevice(device: Bdf): void {
    const record = this.#register.find(device);
    if (record === undefined) return;
    for (const { rid } of record.requesters) record.unit.desk.cancel(rid, undefined, true);
    this.#register.drop(device);
    this.#writeSwitches(record);
  }

  /** @throws UapiError ENODEV, ENOMEM. */
  #take(device: Bdf): VtdDevice {
    return this.#register.take(device, this.instanceOf(device));
  }

  #makePaging(
    unit: VtdUnit,
    stage: 1 | 2,
    flags: { readonly nestParent: boolean; readonly dirtyTracking: boolean },
  ): VtdPagingDomain {
    return new VtdPagingDomain(unit, this.frames, `domain ${++this.#serial}`, {
      stage,
      nestParent: flags.nestParent,
      dirtyTracking: flags.dirtyTracking,
      snoop: unit.capabilities.snoop,
    });
  }

  #checkFit(record: VtdDevice, domain: VtdPagingDomain | VtdNestedDomain): void {
    const problem = misfit(record.unit, domain);
    if (problem === undefined) return;
    throw new UapiError("EINVAL", problem, {
      evidence: [{ kind: "domain-does-not-fit", at: record.bdf, unit: record.unit.label }],
    });
  }

  /** @throws UapiError EOPNOTSUPP, EINVAL; switches PASID on in the device. */
  #checkPasid(record: VtdDevice, pasid: number): void {
    const { maxPasids } = this.capabilities(record.bdf);
    const evidence = [{ kind: "pasid-limit", at: record.bdf, count: maxPasids }];
    if (maxPasids === 0) {
      const { because } = this.#host.pasidPath(record.bdf);
      throw new UapiError("EOPNOTSUPP", "the device cannot use PASIDs", { evidence: because });
    }
    if (pasid >= maxPasids) {
      throw new UapiError("EINVAL", "the PASID is too large for device or unit", { evidence });
    }
    if (record.features !== undefined && !record.features.enablePasid()) {
      throw new UapiError("EINVAL", "PASID is not switched on in the device", { evidence });
    }
  }

  #install(record: VtdDevice, pasid: number, domain: VtdDomain): void {
    const { rows, requesters, targets } = record;
    const prepared: PreparedRow[] = [];
    try {
      for (const requester of requesters) prepared.push(rows.prepare(requester, pasid, domain));
    } catch (error) {
      for (const row of prepared) rows.abandon(row);
      throw error;
    }
    for (const row of prepared) {
      const target = targets.get(row.requester);
      if (target !== undefined) rows.install(row, target);
    }
    if (prepared.some((row) => !row.kept)) this.#cancelRequests(record, pasid);
  }

  #withdraw(record: VtdDevice, pasid: number): void {
    for (const requester of record.requesters) record.rows.withdraw(requester, pasid);
    this.#cancelRequests(record, pasid);
  }

  /** Page requests of a slot that changes are answered "invalid", those in the queue too. */
  #cancelRequests(record: VtdDevice, pasid: number): void {
    const { unit } = record;
    if (unit.pageRequests === undefined) return;
    this.#takePageRequests(unit);
    const named = pasid === NO_PASID ? undefined : pasid;
    for (const { rid } of record.requesters) unit.desk.cancel(rid, named, false);
  }

  #takePageRequests(unit: VtdUnit): void {
    for (const request of unit.pageRequests?.take() ?? []) {
      const group = unit.desk.add(request);
      if (group === undefined) continue;
      const device = this.#register.deviceOf(unit, request.rid);
      const pasid = request.pasid === undefined ? undefined : makePasid(request.pasid);
      const taken = device !== undefined && this.onPageRequests?.(device, pasid, group) === true;
      if (!taken) group.respond(PageResponseCode.invalidRequest);
    }
  }

  #setSwitches(record: VtdDevice, deviceTlb: boolean, pageRequests: boolean): void {
    Object.assign(record.switches, { deviceTlb, pageRequests });
    this.#writeSwitches(record);
  }

  /** An entry that several devices share has what any of them has. */
  #writeSwitches({ requesters, rows, unit }: VtdDevice): void {
    for (const requester of requesters) {
      // Nobody is left who uses it.
      if (this.#register.deviceOf(unit, requester.rid) === undefined) continue;
      const old = requester.switches;
      const deviceTlb = this.#register.isOn(unit, requester.rid, "deviceTlb");
      const pageRequests = this.#register.isOn(unit, requester.rid, "pageRequests");
      if (old.deviceTlb === deviceTlb && old.pageRequests === pageRequests) continue;
      requester.switches = { ...old, deviceTlb, pageRequests };
      rows.rewrite(requester);
    }
  }
}
