/**
 * VtdDriver: the driver port on VT-d units.
 *
 * A device is taken up at first use: its rows are made, not present. A slot then holds blocked (row
 * not present), the kernel's own domain, or a domain of a user. Every change goes from the old row to
 * the new one by way of not present, so identity or the kernel's domain never shows in between.
 *
 * Devices that share a requester ID share its row: the last attach stands. Giving all of them the
 * same domain is the business of the layer above, which knows alias sets.
 */
import { UapiError } from "../../abi/index.js";
import { type Bdf, makePasid, type Pasid, ridOf, type Span } from "../../units/index.js";
import { DeviceFeatures } from "../device-features.js";
import type { DriverHost, DriverOptions } from "../driver-host.js";
import type {
  BlockedDomain,
  DeviceCapabilities,
  Domain,
  DriverData,
  HardwareInfo,
  IommuDriver,
  PagingDomain,
  PagingFlags,
  ReservedSpan,
  VirtualIommu,
} from "../driver-port.js";
import { TableFrames } from "../table-frames.js";
import type { VtdDomain } from "./attachment.js";
import type { VtdDevice } from "./device.js";
import { VtdCapabilityReader } from "./device-capabilities.js";
import { PassThroughDomain, VtdBlockedDomain } from "./fixed-domains.js";
import { VtdNestedDomain } from "./nested-domain.js";
import { VtdPagingDomain } from "./paging-domain.js";
import type { Requester } from "./requester.js";
import { type PreparedRow, Rows } from "./rows.js";
import { VtdUnit } from "./unit.js";

/** IOMMU_HW_INFO_TYPE_INTEL_VTD. */
const HW_INFO_VTD = 1;
/** Compatibility and remappable interrupts: VT-d 5.0 § 3.14. */
const INTERRUPT_WINDOW: Span = { first: 0xfee0_0000n, last: 0xfeef_ffffn };
/** Row of requests without PASID. */
const NO_PASID = 0;

export class VtdDriver implements IommuDriver {
  readonly name = "vtd";
  readonly units: readonly VtdUnit[];
  /** Frames of all tables. */
  readonly frames: TableFrames;
  readonly #host: DriverHost;
  readonly #options: DriverOptions;
  readonly #rows = new Map<VtdUnit, Rows>();
  readonly #blocked = new Map<VtdUnit, VtdBlockedDomain>();
  readonly #devices = new Map<Bdf, VtdDevice>();
  /** The kernel's domain of each requester that was taken up. */
  readonly #kernel = new Map<Requester, VtdDomain>();
  /** Devices that use a requester, requesters that use a kernel's domain. */
  readonly #uses = new UseCount();
  readonly #identity = new PassThroughDomain();
  readonly #reader: VtdCapabilityReader;
  #serial = 0;

  /** Sets all units up and switches them on. @throws UapiError ENOMEM, EOPNOTSUPP. */
  constructor(host: DriverHost, options: DriverOptions = {}) {
    this.#host = host;
    this.#options = options;
    this.frames = new TableFrames(host.memory);
    this.units = host.units
      .filter((iommu) => iommu.kind === "vtd")
      .map((iommu) => new VtdUnit(iommu, this.frames, host.allocations, options));
    for (const unit of this.units) {
      this.#rows.set(unit, new Rows(unit));
      this.#blocked.set(unit, new VtdBlockedDomain(unit));
    }
    this.#reader = new VtdCapabilityReader(host);
  }

  /** @throws UapiError ENODEV. */
  instanceOf(device: Bdf): VtdUnit {
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
    return [...this.#host.reservedOf(device), { span: INTERRUPT_WINDOW, kind: "msi" }];
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
    return this.#blocked.get(this.instanceOf(device)) as VtdBlockedDomain;
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
    const record = this.#devices.get(device);
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
    const record = this.#devices.get(device);
    if (record === undefined) return;
    this.#withdraw(record, pasid);
    record.slots.delete(pasid);
  }

  /** PASIDs of the device that hold a domain, ascending. */
  pasidsOf(device: Bdf): readonly Pasid[] {
    const slots = this.#devices.get(device)?.slots.keys() ?? [];
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

  /** The device is gone: its rows are emptied and given back. */
  removeDevice(device: Bdf): void {
    const record = this.#devices.get(device);
    if (record === undefined) return;
    this.#devices.delete(device);
    for (const requester of record.requesters) this.#dropRequester(record, requester);
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

  /** The device's rows, made when it is first used. @throws UapiError ENODEV, ENOMEM. */
  #take(device: Bdf): VtdDevice {
    const found = this.#devices.get(device);
    if (found !== undefined) return found;
    const unit = this.instanceOf(device);
    const rows = this.#rows.get(unit) as Rows;
    const bits = this.#reader.pasidBits(device, unit);
    const requesters: Requester[] = [];
    try {
      for (const rid of this.#host.requesterIdsOf(device)) {
        requesters.push(unit.requester(rid, bits));
      }
      const kernel = this.#kernelOf(device, unit, requesters);
      const features = this.#featuresOf(device);
      const targets = this.#targetsOf(device, unit, requesters, features);
      const blocked = this.#blocked.get(unit) as VtdBlockedDomain;
      const slots = new Map<number, Domain | undefined>([[NO_PASID, blocked]]);
      const record = { bdf: device, unit, rows, requesters, targets, features, kernel, slots };
      this.#devices.set(device, record);
      for (const requester of requesters) this.#adopt(requester, record);
      return record;
    } catch (error) {
      for (const requester of requesters) {
        if (!this.#kernel.has(requester)) unit.dropRequester(requester);
      }
      throw error;
    }
  }

  #adopt(requester: Requester, record: VtdDevice): void {
    this.#uses.add(requester);
    if (this.#kernel.has(requester)) return;
    this.#kernel.set(requester, record.kernel);
    this.#uses.add(record.kernel);
    const pasid = this.#reader.pasidBits(record.bdf, record.unit) > 0;
    if (!pasid) return;
    requester.switches = { deviceTlb: false, pageRequests: false, pasid };
    record.rows.rewrite(requester);
  }

  /** @throws UapiError ENOMEM. */
  #kernelOf(device: Bdf, unit: VtdUnit, requesters: readonly Requester[]): VtdDomain {
    for (const requester of requesters) {
      const shared = this.#kernel.get(requester);
      if (shared !== undefined) return shared;
    }
    const { passThrough } = unit.capabilities;
    if (this.#options.defaultMode === "identity" && passThrough) return this.#identity;
    const stage = unit.capabilities.stage2 ? 2 : 1;
    const domain = this.#makePaging(unit, stage, { nestParent: false, dirtyTracking: false });
    try {
      for (const { span, kind } of this.#host.reservedOf(device)) {
        if (kind !== "direct" && kind !== "direct-relaxable") continue;
        const first = Number(span.first >> 12n);
        const count = Number(span.last >> 12n) - first + 1;
        domain.map(first, first, count, 3);
      }
    } catch (error) {
      domain.free();
      throw error;
    }
    return domain;
  }

  #featuresOf(device: Bdf): DeviceFeatures | undefined {
    const fn = this.#host.functionOf(device);
    const registers = this.#host.registersOf(device);
    if (fn === undefined || registers === undefined) return undefined;
    if (fn.physfn === undefined) return new DeviceFeatures(fn, registers);
    const physical = this.#host.registersOf(fn.physfn.bdf);
    return physical === undefined
      ? undefined
      : new DeviceFeatures(fn, registers, new DeviceFeatures(fn.physfn, physical));
  }

  #targetsOf(
    device: Bdf,
    unit: VtdUnit,
    requesters: readonly Requester[],
    features: DeviceFeatures | undefined,
  ) {
    const pf = this.#host.functionOf(device)?.physfn;
    const throttled = unit.capabilities.throttle;
    const physical = throttled ? ridOf(pf?.bdf ?? device) : 0;
    const depth = features?.queueDepth ?? 0;
    return new Map(requesters.map((r) => [r, { rid: r.rid, physical, depth }]));
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
  }

  #withdraw(record: VtdDevice, pasid: number): void {
    for (const requester of record.requesters) record.rows.withdraw(requester, pasid);
  }

  #setSwitches(record: VtdDevice, deviceTlb: boolean, pageRequests: boolean): void {
    for (const requester of record.requesters) {
      const old = requester.switches;
      if (old.deviceTlb === deviceTlb && old.pageRequests === pageRequests) continue;
      requester.switches = { ...old, deviceTlb, pageRequests };
      record.rows.rewrite(requester);
    }
  }

  /** The last device of a requester is gone. */
  #dropRequester(record: VtdDevice, requester: Requester): void {
    if (!this.#uses.drop(requester)) return;
    for (const pasid of record.rows.pasidsOf(requester)) record.rows.withdraw(requester, pasid);
    record.unit.dropRequester(requester);
    const kernel = this.#kernel.get(requester);
    this.#kernel.delete(requester);
    if (kernel === undefined || !this.#uses.drop(kernel)) return;
    if (kernel instanceof VtdPagingDomain) kernel.free();
  }
}

/** How often each thing is in use. */
class UseCount {
  readonly #counts = new Map<object, number>();

  add(thing: object): void {
    this.#counts.set(thing, (this.#counts.get(thing) ?? 0) + 1);
  }

  /** @returns whether that was the last use. */
  drop(thing: object): boolean {
    const left = (this.#counts.get(thing) ?? 0) - 1;
    if (left > 0) this.#counts.set(thing, left);
    else this.#counts.delete(thing);
    return left === 0;
  }
}

/** Why the unit cannot use the domain; undefined when it can. */
function misfit(unit: VtdUnit, domain: VtdPagingDomain | VtdNestedDomain): string | undefined {
  const paging = domain.kind === "nested" ? domain.parent : domain;
  const caps = unit.capabilities;
  if (domain.kind === "nested" && !(unit.scalable && caps.nested)) return "the unit cannot nest";
  if (domain.kind === "nested" && domain.instance !== unit) {
    return "the nested domain was made for another unit";
  }
  if (paging.translation === "stage1") {
    if (!unit.scalable || !caps.stage1) return "the unit has no stage-1 tables";
    if (!caps.stage1Levels.includes(paging.levels)) return "the unit has no tables of this depth";
  } else {
    if (unit.scalable && !caps.stage2) return "the unit has no stage-2 tables";
    if (!caps.stage2Levels.includes(paging.levels)) return "the unit has no tables of this depth";
    const largest = 1n << BigInt(12 + 9 * (caps.stage2Largest - 1));
    if (paging.pageSizes > 2n * largest - 1n) return "the unit has no pages of this size";
    if (paging.dirty !== undefined && !(unit.scalable && caps.dirty)) {
      return "the unit does not keep dirty bits";
    }
  }
  if (paging.enforcesCoherency && !caps.snoop) return "the unit cannot enforce snooping";
  if (paging.aperture.last >= 1n << BigInt(caps.addressBits)) {
    return "the domain's addresses are wider than the unit's";
  }
  return undefined;
}
