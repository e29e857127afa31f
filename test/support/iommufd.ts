/**
 * A machine for tests of the object layer: mock driver, groups given by hand, memory that counts
 * its pins.
 */
import { UapiError } from "../../src/abi/index.js";
import {
  type DmaDevice,
  DmaOwnership,
  type DriverDeclaration,
  type GroupMembers,
  type HardwareSlot,
} from "../../src/driver/index.js";
import { type MockDeviceOptions, MockDriver } from "../../src/driver/mock/index.js";
import {
  type AllocationPermit,
  Iommufd,
  type IommufdSystem,
  type IsolationPort,
  type LockedMemory,
  type PageSource,
  type PasidPath,
  type PeerWindow,
  type UserProcess,
} from "../../src/iommufd/index.js";
import { type Bdf, makeBdf, type Pasid } from "../../src/units/index.js";

export const device = (n: number): Bdf => makeBdf(0, 1 + (n >> 5), n & 31, 0);

/** Memory of `pages` pages from page `first` on; frame of page p is `base` + p. */
export class TestMemory implements PageSource {
  readonly label = "test memory";
  readonly kind: PageSource["kind"];
  readonly pins = new Map<number, number>();
  readonly bytes = new Map<number, Uint8Array>();
  first: number;
  end: number;
  base: number;
  /** Pages that lie together; frames of odd runs are far away. */
  runPages = 0;

  constructor(options: { first?: number; pages?: number; kind?: PageSource["kind"] } = {}) {
    this.first = options.first ?? 0;
    this.end = this.first + (options.pages ?? 2 ** 30);
    this.kind = options.kind ?? "process";
    this.base = 0x100000;
  }

  frameOf(page: number): number {
    const run = this.runPages;
    if (run > 0 && Math.floor(page / run) % 2 === 1) return this.base + page + 2 ** 20;
    return this.base + page;
  }

  pin(page: number, count: number, _writable: boolean, frames: Float64Array): void {
    if (page < this.first || page + count > this.end) {
      throw new UapiError(this.kind === "process" ? "EFAULT" : "EINVAL", "no memory is there");
    }
    for (let i = 0; i < count; i++) {
      frames[i] = this.frameOf(page + i);
      this.pins.set(page + i, (this.pins.get(page + i) ?? 0) + 1);
    }
  }

  unpin(page: number, count: number): void {
    for (let i = page; i < page + count; i++) {
      const pins = this.pins.get(i) ?? 0;
      if (pins === 0) throw new Error(`page ${i} is not pinned`);
      if (pins === 1) this.pins.delete(i);
      else this.pins.set(i, pins - 1);
    }
  }

  read(page: number, offset: number, into: Uint8Array): void {
    this.#check(page);
    const bytes = this.bytes.get(page);
    if (bytes === undefined) into.fill(0);
    else into.set(bytes.subarray(offset, offset + into.length));
  }

  write(page: number, offset: number, from: Uint8Array): void {
    this.#check(page);
    const bytes = this.bytes.get(page) ?? new Uint8Array(4096);
    this.bytes.set(page, bytes);
    bytes.set(from, offset);
  }

  /** Pins of all pages together. */
  get pinned(): number {
    let sum = 0;
    for (const pins of this.pins.values()) sum += pins;
    return sum;
  }

  #check(page: number): void {
    if (page < this.first || page >= this.end) throw new UapiError("EFAULT", "no memory is there");
  }
}

export class TestLocked implements LockedMemory {
  limit = Number.POSITIVE_INFINITY;
  charged = 0;

  charge(pages: number): boolean {
    if (this.charged + pages > this.limit) return false;
    this.charged += pages;
    return true;
  }

  uncharge(pages: number): void {
    this.charged -= pages;
  }
}

export class TestProcess implements UserProcess {
  readonly label: string;
  readonly memory = new TestMemory();
  mayLockMemory = false;
  mayRaiseLimits = true;
  userLocked = new TestLocked();
  readonly processLocked = new TestLocked();
  pinnedPages = 0;

  constructor(label = "process 1") {
    this.label = label;
  }

  countPinned(pages: number): void {
    this.pinnedPages += pages;
  }
}

const DECLARATION: DriverDeclaration = {
  name: "vfio-pci",
  routing: "rid+pasid",
  pasids: 2 ** 20,
  noSnoop: false,
  ats: false,
  pri: false,
  translatedOnly: false,
};

/** A plain function with a user-space driver. */
export function plainDevice(
  driver: MockDriver,
  bdf: Bdf,
  declared: Partial<DriverDeclaration> = {},
): DmaDevice {
  return {
    label: `device ${bdf}`,
    function: bdf,
    mediated: false,
    declaration: { ...DECLARATION, ...declared },
    get capabilities() {
      return driver.capabilities(bdf);
    },
    pasidSpace: bdf,
    slotOf: (pasid) => {
      if (pasid !== undefined && driver.capabilities(bdf).maxPasids === 0) {
        throw new UapiError("EOPNOTSUPP", "the device has no PASIDs");
      }
      return { device: bdf, pasid };
    },
    releaseSlot: () => {},
  };
}

/** A slice of a parent: its requests carry the parent's requester ID and a PASID of its own. */
export function slicedDevice(
  driver: MockDriver,
  parent: Bdf,
  pasids: ReadonlyMap<Pasid | undefined, Pasid>,
): DmaDevice {
  return {
    ...plainDevice(driver, parent),
    label: "slice",
    mediated: true,
    capabilities: driver.capabilities(parent),
    slotOf: (pasid): HardwareSlot => {
      const own = pasids.get(pasid);
      if (own === undefined) throw new UapiError("EINVAL", "the slice has no such PASID");
      return { device: parent, pasid: own };
    },
  };
}

/** A device whose driver does the DMA. */
export function softwareDevice(driver: MockDriver): DmaDevice {
  return {
    ...plainDevice(driver, device(0), { routing: "software" }),
    label: "software",
    function: undefined,
    mediated: true,
    capabilities: undefined,
    pasidSpace: 0,
    slotOf: () => undefined,
  };
}

export interface TestSystemOptions {
  readonly rules?: IsolationPort["rules"];
  /** Groups by device numbers; the others are alone. */
  readonly groups?: readonly (readonly number[])[];
  readonly aliasSets?: readonly (readonly number[])[];
  readonly devices?: number;
  readonly device?: MockDeviceOptions;
  readonly allocations?: AllocationPermit;
}

/** A machine of mock devices. */
export class TestSystem implements IommufdSystem {
  readonly driver: MockDriver;
  readonly isolation: IsolationPort;
  readonly ownership: DmaOwnership;
  readonly allocations: AllocationPermit;
  allowUnsafeInterrupts = false;
  readonly devices: readonly Bdf[];
  readonly paths = new Map<Bdf, PasidPath>();
  readonly windows = new Map<Bdf, readonly PeerWindow[]>();

  constructor(options: TestSystemOptions = {}) {
    this.allocations = options.allocations ?? { permit: () => true };
    this.driver = new MockDriver(this.allocations);
    this.devices = Array.from({ length: options.devices ?? 4 }, (_, n) => device(n));
    for (const bdf of this.devices) this.driver.addDevice(bdf, options.device);
    const groups = indexOf(this.devices, options.groups ?? []);
    const aliases = indexOf(this.devices, options.aliasSets ?? []);
    this.isolation = {
      rules: options.rules ?? "device-centric",
      groupOf: (bdf) => groups.get(bdf),
      aliasSetOf: (bdf) => aliases.get(bdf)?.members ?? [bdf],
      aliasEvidence: (bdf) =>
        (aliases.get(bdf)?.members.length ?? 1) > 1
          ? [{ kind: "alias-bridge", at: bdf, cite: "PCIe to PCI bridge 1.0 § 2.3" }]
          : [],
      pasidPath: (bdf) => this.paths.get(bdf) ?? { ok: true, onlyPath: false, because: [] },
      peerWindows: (bdf) => this.windows.get(bdf) ?? [],
    };
    this.ownership = new DmaOwnership(this.isolation, this.driver);
  }

  open(process = new TestProcess()): Iommufd {
    return new Iommufd(this, process);
  }

  dma(n: number, declared: Partial<DriverDeclaration> = {}): DmaDevice {
    return plainDevice(this.driver, device(n), declared);
  }
}

function indexOf(
  devices: readonly Bdf[],
  sets: readonly (readonly number[])[],
): Map<Bdf, GroupMembers> {
  const out = new Map<Bdf, GroupMembers>();
  sets.forEach((numbers, id) => {
    const members = numbers.map(device);
    for (const member of members) out.set(member, { id, members });
  });
  let next = sets.length;
  for (const bdf of devices) if (!out.has(bdf)) out.set(bdf, { id: next++, members: [bdf] });
  return out;
}

/** Runs a call that must be refused and returns the refusal. */
export function refused(call: () => unknown, code: string): UapiError {
  try {
    call();
  } catch (error) {
    if (!UapiError.is(error)) throw error;
    if (error.code === code) return error;
    throw new Error(`${error.message}, expected ${code}`);
  }
  throw new Error(`was not refused, expected ${code}`);
}
