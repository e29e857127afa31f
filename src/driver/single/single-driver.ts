/**
 * SingleTableDriver: the driver port on an IOMMU that cannot match requesters.
 *
 * All devices behind the unit use one table, so a domain given to one is given to all: the last
 * attach stands, and the layer above, which sees them as one alias set, gives all the same. There
 * are no PASIDs, no device TLBs, and interrupts are not isolated.
 */
import { UapiError } from "../../abi/index.js";
import { SingleTableRegister } from "../../iommu/index.js";
import { type Bdf, bdfFromRid, type Pasid } from "../../units/index.js";
import type { DriverHost, DriverOptions } from "../driver-host.js";
import type {
  BlockedDomain,
  DeviceCapabilities,
  DmaFault,
  Domain,
  DriverData,
  HardwareInfo,
  IommuDriver,
  NestedDomain,
  PagingDomain,
  PagingFlags,
  ReservedSpan,
  VirtualIommu,
} from "../driver-port.js";
import { TableFrames } from "../table-frames.js";
import { SingleBlockedDomain, SinglePagingDomain, SingleUnit } from "./single-domain.js";

/** Interrupts on x86. */
const INTERRUPT_WINDOW = { first: 0xfee0_0000n, last: 0xfeef_ffffn } as const;

const CAPABILITIES: DeviceCapabilities = {
  cacheCoherent: true,
  enforcesCoherency: true,
  dirtyTracking: false,
  maxPasids: 0,
  pasidExecute: false,
  pasidPrivileged: false,
  ats: false,
  pageRequests: false,
  isolatedMsi: false,
};

interface UnitState {
  readonly unit: SingleUnit;
  readonly blocked: SingleBlockedDomain;
  /** An empty table. */
  readonly empty: SinglePagingDomain;
  /** The kernel's own address space; undefined: requests pass unchanged. */
  readonly kernel: SinglePagingDomain | undefined;
  /** What each device that was attached holds; undefined: the kernel's own. */
  readonly slots: Map<Bdf, Domain | undefined>;
  /** What the unit walks now. */
  active: Domain | undefined;
}

/** Drives every single-table unit of a host. */
export class SingleTableDriver implements IommuDriver {
  readonly name = "single-table";
  readonly frames: TableFrames;
  onFault: ((fault: DmaFault) => void) | undefined;
  readonly #host: DriverHost;
  readonly #units: readonly UnitState[];
  #serial = 0;

  /** Blocks everything. @throws UapiError ENOMEM. */
  constructor(host: DriverHost, options: DriverOptions = {}) {
    this.#host = host;
    this.frames = new TableFrames(host.memory);
    this.#units = host.units
      .filter((iommu) => iommu.kind === "single-table")
      .map((iommu) => this.#start(new SingleUnit(iommu), options));
  }

  /** The device was attached and not removed. */
  knows(device: Bdf): boolean {
    return this.#units.some(({ slots }) => slots.has(device));
  }

  instanceOf(device: Bdf): SingleUnit {
    return this.#of(device).unit;
  }

  capabilities(device: Bdf): DeviceCapabilities {
    this.#of(device);
    return CAPABILITIES;
  }

  reservedSpans(device: Bdf): readonly ReservedSpan[] {
    return [...this.#host.reservedOf(device), { span: INTERRUPT_WINDOW, kind: "msi" }];
  }

  hardwareInfo(device: Bdf, type: number): HardwareInfo {
    this.#of(device);
    if (type !== 0) throw new UapiError("EOPNOTSUPP", "the unit has no information to give");
    return { type: 0, bytes: new Uint8Array(0) };
  }

  allocPaging(device: Bdf, flags: PagingFlags, data: DriverData | undefined): SinglePagingDomain {
    if (flags.nestParent || flags.dirtyTracking || flags.pasid || data !== undefined) {
      throw new UapiError("EOPNOTSUPP", "the unit has plain address spaces only");
    }
    const { unit } = this.#of(device);
    return new SinglePagingDomain(unit, this.frames, `domain ${++this.#serial}`);
  }

  allocNested(
    _device: Bdf,
    _parent: PagingDomain,
    _data: DriverData,
    _flags: { readonly pasid: boolean },
  ): NestedDomain {
    throw new UapiError("EOPNOTSUPP", "the unit cannot nest translations");
  }

  blocked(device: Bdf): BlockedDomain {
    return this.#of(device).blocked;
  }

  allocVirtualIommu(
    _device: Bdf,
    _parent: PagingDomain,
    _type: number,
    _data: DriverData | undefined,
  ): VirtualIommu {
    throw new UapiError("EOPNOTSUPP", "the unit offers no virtual IOMMU");
  }

  attach(device: Bdf, pasid: Pasid | undefined, domain: Domain): void {
    const state = this.#of(device);
    if (pasid !== undefined && pasid !== 0) {
      throw new UapiError("EOPNOTSUPP", "an IOMMU that cannot match requesters has no PASIDs", {
        evidence: [{ kind: "iommu-unmatched", at: device }],
      });
    }
    if (domain.instance !== state.unit) {
      throw new UapiError("EINVAL", "the domain was made for another unit");
    }
    this.#give(state, device, domain);
  }

  attached(device: Bdf, pasid: Pasid | undefined): Domain | undefined {
    const { slots, blocked } = this.#of(device);
    if (pasid !== undefined && pasid !== 0) return undefined;
    return slots.has(device) ? slots.get(device) : blocked;
  }

  attachDefault(device: Bdf): void {
    this.#give(this.#of(device), device, undefined);
  }

  detachPasid(_device: Bdf, _pasid: Pasid): void {}

  /** The kernel's own address space; undefined where that is identity. */
  kernelDomain(device: Bdf): PagingDomain | undefined {
    return this.#of(device).kernel;
  }

  /** The device is gone; a table that only it held is not walked any longer. */
  removeDevice(device: Bdf): void {
    for (const state of this.#units) {
      const old = state.slots.get(device);
      if (!state.slots.delete(device)) continue;
      if (!(old instanceof SinglePagingDomain) || --old.users > 0) continue;
      if (state.active === old) this.#show(state, state.blocked);
    }
  }

  /** The unit keeps the last fault only. */
  poll(): void {
    for (const { unit } of this.#units) {
      const status = unit.iommu.readRegister32(SingleTableRegister.faultStatus);
      if (status === 0) continue;
      const code = status & 0xff;
      const rid = status >>> 16;
      const address = unit.iommu.readRegister64(SingleTableRegister.faultAddress) & ~0xfffn;
      unit.iommu.writeRegister32(SingleTableRegister.faultStatus, 0);
      const reason = unit.iommu.faultName(code);
      // It does not match requesters, but says which one it refused, and not what that wanted.
      const device = bdfFromRid(0, rid);
      const known = this.#host.unitOf(device) === unit.iommu;
      const fault = { unit: unit.label, rid, pasid: undefined, address, write: false };
      this.onFault?.({ ...fault, device: known ? device : undefined, code, reason });
    }
  }

  #start(unit: SingleUnit, options: DriverOptions): UnitState {
    const empty = new SinglePagingDomain(unit, this.frames, "blocked");
    const kernel =
      options.defaultMode === "identity"
        ? undefined
        : new SinglePagingDomain(unit, this.frames, "kernel");
    unit.use(empty.root);
    const blocked = new SingleBlockedDomain(unit);
    return { unit, blocked, empty, kernel, slots: new Map(), active: blocked };
  }

  #give(state: UnitState, device: Bdf, domain: Domain | undefined): void {
    const old = state.slots.get(device);
    if (domain instanceof SinglePagingDomain) domain.users++;
    this.#show(state, domain);
    if (old instanceof SinglePagingDomain) old.users--;
    state.slots.set(device, domain);
  }

  #show(state: UnitState, domain: Domain | undefined): void {
    if (domain === state.active) return;
    if (domain instanceof SinglePagingDomain) state.unit.use(domain.root);
    else if (domain !== undefined) state.unit.use(state.empty.root);
    else if (state.kernel === undefined) state.unit.bypass();
    else state.unit.use(state.kernel.root);
    state.active = domain;
  }

  #of(device: Bdf): UnitState {
    const iommu = this.#host.unitOf(device);
    const state = this.#units.find((s) => s.unit.iommu === iommu || s.slots.has(device));
    if (state !== undefined) return state;
    throw new UapiError("ENODEV", "no IOMMU unit is in front of the device", {
      evidence: [{ kind: "outside-iommu-scope", at: device }],
    });
  }
}
