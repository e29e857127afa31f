/**
 * A driver without hardware, for tests of everything above drivers. It behaves as the driver that
 * Linux's iommufd selftest brings along, and counts what it hands out.
 *
 * Quirk kept from there: PASID 1024 refuses the second table in a row on a device once, with
 * ENOMEM.
 *
 * The selftest driver of Linux 6.12 has no PASIDs, no vIOMMU and no data for paging tables; large
 * pages are a property of the device, in tables whose smallest page is 2 KiB.
 */
import { UapiError } from "../../abi/index.js";
import type { Bdf, Pasid } from "../../units/index.js";
import type {
  BlockedDomain,
  DeviceCapabilities,
  Domain,
  DriverData,
  HardwareInfo,
  IommuDriver,
  IommuInstance,
  NestedDomain,
  PagingDomain,
  PagingFlags,
  ReservedSpan,
  VirtualIommu,
} from "../driver-port.js";
import { dataLength } from "../driver-port.js";
import { MockPagingDomain, type MockPermit, type MockTableType } from "./mock-domain.js";
import {
  CACHE_DEFAULT,
  checkMockData,
  MOCK_VIOMMU_TYPE,
  MockNestedDomain,
  MockViommu,
  readIotlb,
} from "./mock-nested.js";

export interface MockDeviceOptions {
  readonly dirtyTracking?: boolean | undefined;
  /** PASIDs; default 0. The selftest's are 2^20. */
  readonly maxPasids?: number | undefined;
  readonly reserved?: readonly ReservedSpan[] | undefined;
  readonly cacheCoherent?: boolean | undefined;
  readonly isolatedMsi?: boolean | undefined;
  /** Linux 6.12: its tables have pages of 1 MiB too. */
  readonly largePages?: boolean | undefined;
  /** The IOMMU that it is behind; default one for all. */
  readonly instance?: IommuInstance | undefined;
}

/** Whose selftest driver it behaves as. */
export type MockKernel = "7.2" | "6.12";

interface MockDevice {
  readonly options: MockDeviceOptions;
  /** Undefined: the kernel's default domain. */
  rid: Domain | undefined;
  readonly pasids: Map<Pasid, Domain>;
  readonly cache: Uint32Array;
  /** PASID 1024 was set once. */
  isErrorArmed: boolean;
}

const INFO_TYPE = 0xfeedbeef;
const ERROR_PASID = 1024;

/** The mock driver; devices are added by address. */
export class MockDriver implements IommuDriver {
  readonly name = "mock";
  readonly instance: IommuInstance = { label: "mock" };
  readonly domains: MockPagingDomain[] = [];
  readonly #devices = new Map<Bdf, MockDevice>();
  readonly #blocked = new Map<IommuInstance, BlockedDomain>();
  readonly #permit: MockPermit;
  readonly #kernel: MockKernel;

  constructor(permit: MockPermit = { permit: () => true }, kernel: MockKernel = "7.2") {
    this.#permit = permit;
    this.#kernel = kernel;
  }

  addDevice(device: Bdf, options: MockDeviceOptions = {}): void {
    const cache = new Uint32Array(4).fill(CACHE_DEFAULT);
    const pasids = new Map<Pasid, Domain>();
    this.#devices.set(device, { options, rid: undefined, pasids, cache, isErrorArmed: false });
  }

  removeDevice(device: Bdf): void {
    this.#devices.delete(device);
  }

  instanceOf(device: Bdf): IommuInstance {
    return this.#get(device).options.instance ?? this.instance;
  }

  capabilities(device: Bdf): DeviceCapabilities {
    const { options } = this.#get(device);
    return {
      cacheCoherent: options.cacheCoherent ?? true,
      enforcesCoherency: false,
      dirtyTracking: options.dirtyTracking ?? true,
      maxPasids: options.maxPasids ?? 0,
      pasidExecute: false,
      pasidPrivileged: false,
      ats: false,
      pageRequests: true,
      isolatedMsi: options.isolatedMsi ?? true,
    };
  }

  reservedSpans(device: Bdf): readonly ReservedSpan[] {
    return this.#get(device).options.reserved ?? [];
  }

  hardwareInfo(_device: Bdf, type: number): HardwareInfo {
    if (type !== 0 && type !== INFO_TYPE) {
      throw new UapiError("EOPNOTSUPP", `hardware information of type ${type} is not known`);
    }
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setUint32(4, 0xdeadbeef, true);
    return { type: INFO_TYPE, bytes };
  }

  allocPaging(device: Bdf, flags: PagingFlags, data: DriverData | undefined): PagingDomain {
    const type = this.#kernel === "6.12" ? this.#oldType(device, flags, data) : tableType(data);
    if (!this.#permit.permit("domain")) throw new UapiError("ENOMEM", "no memory for a domain");
    const made = new MockPagingDomain(this.instanceOf(device), type, flags, this.#permit);
    this.domains.push(made);
    return made;
  }

  allocNested(_device: Bdf, parent: PagingDomain, data: DriverData): NestedDomain {
    const iotlb = readIotlb(data, this.#kernel === "6.12" ? 4 : 8);
    if (!this.#permit.permit("domain")) throw new UapiError("ENOMEM", "no memory for a domain");
    return new MockNestedDomain(parent, undefined, iotlb);
  }

  blocked(device: Bdf): BlockedDomain {
    const instance = this.instanceOf(device);
    const found = this.#blocked.get(instance) ?? { kind: "blocked", instance };
    this.#blocked.set(instance, found);
    return found;
  }

  virtualIommuTypes(): readonly number[] {
    return [MOCK_VIOMMU_TYPE];
  }

  allocVirtualIommu(
    _device: Bdf,
    parent: PagingDomain,
    type: number,
    data: DriverData | undefined,
  ): VirtualIommu {
    if (type !== MOCK_VIOMMU_TYPE || this.#kernel === "6.12") {
      throw new UapiError("EOPNOTSUPP", `virtual IOMMUs of type ${type} are not known`);
    }
    if (!this.#permit.permit("viommu")) throw new UapiError("ENOMEM", "no memory for a vIOMMU");
    return new MockViommu(parent, data, (device) => this.cacheOf(device));
  }

  attach(device: Bdf, pasid: Pasid | undefined, domain: Domain): void {
    const found = this.#get(device);
    this.#check(device, found, pasid, domain);
    // Taking a device from the kernel may fail; the end of an attachment never does.
    const mayFail = domain.kind !== "blocked" || found.rid === undefined;
    if (mayFail && !this.#permit.permit("attach")) {
      throw new UapiError("ENOMEM", "no memory to attach");
    }
    if (pasid === undefined) {
      count(found.rid, -1);
      found.rid = domain;
    } else {
      count(found.pasids.get(pasid), -1);
      found.pasids.set(pasid, domain);
      if (pasid === ERROR_PASID) found.isErrorArmed = true;
    }
    count(domain, 1);
  }

  attached(device: Bdf, pasid: Pasid | undefined): Domain | undefined {
    const found = this.#get(device);
    if (pasid === undefined) return found.rid;
    return found.pasids.get(pasid) ?? this.blocked(device);
  }

  attachDefault(device: Bdf): void {
    const found = this.#get(device);
    count(found.rid, -1);
    found.rid = undefined;
  }

  detachPasid(device: Bdf, pasid: Pasid): void {
    const found = this.#get(device);
    count(found.pasids.get(pasid), -1);
    found.pasids.delete(pasid);
    if (pasid === ERROR_PASID) found.isErrorArmed = false;
  }

  /** PASIDs of a device that have a table. */
  pasidsOf(device: Bdf): readonly Pasid[] {
    return [...this.#get(device).pasids.keys()];
  }

  /** The cache slots of a device, which a guest invalidates. */
  cacheOf(device: Bdf): Uint32Array {
    return this.#get(device).cache;
  }

  #check(device: Bdf, found: MockDevice, pasid: Pasid | undefined, domain: Domain): void {
    if (pasid === ERROR_PASID && found.isErrorArmed && domain.kind !== "blocked") {
      found.isErrorArmed = false;
      throw new UapiError("ENOMEM", "PASID 1024 refuses its second table");
    }
    const tracksNothing = found.options.dirtyTracking === false;
    if (pasid === undefined && domain.kind === "paging" && domain.dirty && tracksNothing) {
      throw new UapiError("EINVAL", "the device cannot track what the table tracks");
    }
    if (!(domain instanceof MockNestedDomain)) return;
    const { viommu } = domain;
    if (viommu !== undefined && !viommu.hasDevice(device)) {
      throw new UapiError("ENOENT", "the device has no number in the vIOMMU");
    }
  }

  #oldType(device: Bdf, flags: PagingFlags, data: DriverData | undefined): MockTableType {
    if (flags.pasid || data !== undefined) {
      throw new UapiError("EOPNOTSUPP", "paging tables of this driver take no data and no PASIDs");
    }
    return this.#get(device).options.largePages === true ? "default+large" : "default";
  }

  #get(device: Bdf): MockDevice {
    const found = this.#devices.get(device);
    if (found !== undefined) return found;
    throw new UapiError("ENODEV", "the mock driver does not know the device");
  }
}

function tableType(data: DriverData | undefined): MockTableType {
  if (data === undefined || data.type === 0) return "default";
  checkMockData(data);
  const type = dataLength(data) >= 8 ? data.bytes.getUint32(4, true) : 0;
  if (type === 0) return "default";
  if (type === 1) return "huge";
  throw new UapiError("EOPNOTSUPP", `page tables of type ${type} are not known`);
}

function count(domain: Domain | undefined, by: number): void {
  if (domain instanceof MockPagingDomain) domain.attachCount += by;
}
