/**
 * DeviceRegister: the devices that were taken up, with their rows and the kernel's own domain.
 *
 * A requester's rows live as long as a device uses them. Devices that share a requester share the
 * kernel's domain too.
 */
import { type Bdf, formatBdf, ridOf } from "../../units/index.js";
import { DeviceFeatures } from "../device-features.js";
import type { DriverHost, DriverOptions } from "../driver-host.js";
import type { Domain } from "../driver-port.js";
import type { TableFrames } from "../table-frames.js";
import type { VtdDomain } from "./attachment.js";
import type { VtdDevice } from "./device.js";
import type { VtdCapabilityReader } from "./device-capabilities.js";
import { PassThroughDomain, VtdBlockedDomain } from "./fixed-domains.js";
import { VtdPagingDomain } from "./paging-domain.js";
import type { Requester } from "./requester.js";
import { vtdReservedSpans } from "./reserved-spans.js";
import { Rows } from "./rows.js";
import type { VtdUnit } from "./unit.js";

const NO_PASID = 0;

export class DeviceRegister {
  readonly #host: DriverHost;
  readonly #options: DriverOptions;
  readonly #frames: TableFrames;
  readonly #reader: VtdCapabilityReader;
  readonly #units = new Map<VtdUnit, UnitDevices>();
  readonly #devices = new Map<Bdf, VtdDevice>();
  /** The kernel's domain of each requester that was taken up. */
  readonly #kernel = new Map<Requester, VtdDomain>();
  /** Devices that use a requester, requesters that use a kernel's domain. */
  readonly #uses = new UseCount();
  readonly #identity = new PassThroughDomain();

  constructor(
    host: DriverHost,
    options: DriverOptions,
    frames: TableFrames,
    units: readonly VtdUnit[],
    reader: VtdCapabilityReader,
  ) {
    this.#host = host;
    this.#options = options;
    this.#frames = frames;
    this.#reader = reader;
    for (const unit of units) {
      const blocked = new VtdBlockedDomain(unit);
      this.#units.set(unit, { rows: new Rows(unit), blocked, byRid: new Map() });
    }
  }

  blocked(unit: VtdUnit): VtdBlockedDomain {
    return this.#of(unit).blocked;
  }

  /** Undefined before it is taken up. */
  find(device: Bdf): VtdDevice | undefined {
    return this.#devices.get(device);
  }

  #of(unit: VtdUnit): UnitDevices {
    const found = this.#units.get(unit);
    if (found === undefined) throw new Error(`unit ${unit.label} is not driven`);
    return found;
  }

  /** The device's rows, made when it is first used. @throws UapiError ENOMEM. */
  take(device: Bdf, unit: VtdUnit): VtdDevice {
    const found = this.#devices.get(device);
    if (found !== undefined) return found;
    const { rows, blocked } = this.#of(unit);
    const bits = this.#reader.pasidBits(device, unit);
    const requesters: Requester[] = [];
    try {
      for (const rid of this.#host.requesterIdsOf(device)) {
        requesters.push(unit.requester(rid, bits));
      }
      const kernel = this.#kernelOf(device, unit, requesters);
      const features = this.#featuresOf(device);
      const targets = this.#targetsOf(device, unit, requesters, features);
      const slots = new Map<number, Domain | undefined>([[NO_PASID, blocked]]);
      const switches = { deviceTlb: false, pageRequests: false };
      const parts = { bdf: device, unit, rows, requesters, targets, features };
      const record = { ...parts, kernel, switches, slots };
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
    const { byRid } = this.#of(record.unit);
    byRid.set(requester.rid, [...(byRid.get(requester.rid) ?? []), record]);
    if (!this.#kernel.has(requester)) {
      this.#kernel.set(requester, record.kernel);
      this.#uses.add(record.kernel);
    }
    // One entry serves all devices that send with this ID: PASIDs pass as soon as one has them.
    const pasid = this.#reader.pasidBits(record.bdf, record.unit) > 0;
    if (!pasid || requester.switches.pasid) return;
    requester.switches = { ...requester.switches, pasid };
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
    const { snoop } = unit.capabilities;
    const shape = { stage, nestParent: false, dirtyTracking: false, snoop } as const;
    const domain = new VtdPagingDomain(
      unit,
      this.#frames,
      `kernel's of ${formatBdf(device)}`,
      shape,
    );
    try {
      for (const { span, kind } of vtdReservedSpans(this.#host, device)) {
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
    return fn === undefined ? undefined : new DeviceFeatures(fn, this.#host);
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

  /** The device with that requester ID: one that has it as its own, else one that sends with it. */
  deviceOf(unit: VtdUnit, rid: number): Bdf | undefined {
    const users = this.#of(unit).byRid.get(rid) ?? [];
    return users.find((record) => ridOf(record.bdf) === rid)?.bdf ?? users[0]?.bdf;
  }

  /** Some device that sends with that requester ID has it on. */
  isOn(unit: VtdUnit, rid: number, what: keyof VtdDevice["switches"]): boolean {
    return (this.#of(unit).byRid.get(rid) ?? []).some((record) => record.switches[what]);
  }

  /** Empties the device's rows and gives them back. */
  drop(device: Bdf): void {
    const record = this.#devices.get(device);
    if (record === undefined) return;
    this.#devices.delete(device);
    for (const requester of record.requesters) this.#dropRequester(record, requester);
  }

  /** The last device of a requester is gone. */
  #dropRequester(record: VtdDevice, requester: Requester): void {
    const { byRid } = this.#of(record.unit);
    const left = (byRid.get(requester.rid) ?? []).filter((other) => other !== record);
    if (left.length > 0) byRid.set(requester.rid, left);
    else byRid.delete(requester.rid);
    if (!this.#uses.drop(requester)) return;
    for (const pasid of record.rows.pasidsOf(requester)) record.rows.withdraw(requester, pasid);
    record.unit.dropRequester(requester);
    const kernel = this.#kernel.get(requester);
    this.#kernel.delete(requester);
    if (kernel === undefined || !this.#uses.drop(kernel)) return;
    if (kernel instanceof VtdPagingDomain) kernel.free();
  }
}

interface UnitDevices {
  readonly rows: Rows;
  readonly blocked: VtdBlockedDomain;
  /** Devices by requester ID. */
  readonly byRid: Map<number, readonly VtdDevice[]>;
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
