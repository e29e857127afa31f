/**
 * A machine for the kernel's own tests of iommufd: mock devices that the test command makes and
 * destroys, behind one mock IOMMU, each in a group of its own.
 *
 * All contexts of a platform share it. Mock devices have addresses only because everything here
 * has; they are no PCI functions, and the fabric says nothing about them.
 */
import { UapiError } from "../../abi/index.js";
import {
  type DmaDevice,
  DmaOwnership,
  type DriverDeclaration,
  type GroupMembers,
} from "../../driver/index.js";
import { type MockDeviceOptions, MockDriver, type MockKernel } from "../../driver/mock/index.js";
import { type Bdf, bdfFromRid } from "../../units/index.js";
import { IdHeap } from "../id-heap.js";
import type { AllocationPermit, IommufdSystem, IsolationPort } from "../ports.js";

export interface SelftestOptions {
  /** Whose tests are to run. Default 7.2. */
  readonly kernel?: MockKernel | undefined;
  readonly allocations?: AllocationPermit | undefined;
}

/** One device of the test command. */
export interface MockHandle {
  readonly bdf: Bdf;
  readonly dma: DmaDevice;
}

/** MOCK_FLAGS_DEVICE_*; HUGE_IOVA is of Linux 6.12, PASID is not. */
const DeviceFlag = { noDirty: 1, hugeIova: 2, pasid: 4 } as const;
const PASIDS = 2 ** 20;
/** Segment of the mock devices' addresses. */
const SEGMENT = 0xfffe0000;
/** Frames of test buffers: beyond all memory of processes. */
const FIRST_BUFFER_FRAME = 2 ** 38;

const DECLARATION: DriverDeclaration = {
  name: "iommufd_mock",
  routing: "rid+pasid",
  pasids: PASIDS,
  noSnoop: false,
  ats: false,
  pri: false,
  translatedOnly: false,
};

/** See the head of the file. */
export class SelftestSystem implements IommufdSystem {
  readonly kernel: MockKernel;
  readonly driver: MockDriver;
  readonly isolation: IsolationPort;
  readonly ownership: DmaOwnership;
  readonly allocations: AllocationPermit;
  readonly allowUnsafeInterrupts = false;
  readonly #groups = new Map<Bdf, GroupMembers>();
  readonly #numbers = new IdHeap();
  #nextNumber = 0;
  #nextFrame = FIRST_BUFFER_FRAME;

  constructor(options: SelftestOptions = {}) {
    this.kernel = options.kernel ?? "7.2";
    this.allocations = options.allocations ?? { permit: () => true };
    this.driver = new MockDriver(this.allocations, this.kernel);
    this.isolation = {
      rules: "linux-7.2",
      groupOf: (bdf) => this.#groups.get(bdf),
      aliasSetOf: (bdf) => [bdf],
      aliasEvidence: () => [],
      pasidPath: () => ({ ok: true, onlyPath: false, because: [] }),
      peerWindows: () => [],
    };
    this.ownership = new DmaOwnership(this.isolation, this.driver);
  }

  /** Mock devices that exist. */
  get deviceCount(): number {
    return this.#groups.size;
  }

  /** @param flags MOCK_FLAGS_DEVICE_*. @throws UapiError EINVAL for unknown flags, ENOMEM. */
  createDevice(flags: number): MockHandle {
    const options = deviceOptions(flags, this.kernel);
    if (!this.allocations.permit("mock-device")) {
      throw new UapiError("ENOMEM", "no memory for a mock device");
    }
    const number = this.#numbers.pop() ?? this.#nextNumber++;
    const bdf = bdfFromRid(SEGMENT + Math.floor(number / 65536), number % 65536);
    this.driver.addDevice(bdf, options);
    this.#groups.set(bdf, { id: number, members: [bdf] });
    return { bdf, dma: mockDma(this.driver, bdf, `iommufd_mock${number}`) };
  }

  removeDevice(bdf: Bdf): void {
    const group = this.#groups.get(bdf);
    if (group === undefined) return;
    this.#groups.delete(bdf);
    this.driver.removeDevice(bdf);
    this.#numbers.push(group.id);
  }

  /** Frames that no other memory has. @returns the first. */
  takeFrames(count: number): number {
    const first = this.#nextFrame;
    this.#nextFrame += count;
    return first;
  }
}

function deviceOptions(flags: number, kernel: MockKernel): MockDeviceOptions {
  const own = kernel === "6.12" ? DeviceFlag.hugeIova : DeviceFlag.pasid;
  if ((flags & ~(DeviceFlag.noDirty | own)) !== 0) {
    throw new UapiError("EINVAL", "an unknown flag of a mock device is set", {
      cite: "Linux mock_dev_create()",
    });
  }
  return {
    dirtyTracking: (flags & DeviceFlag.noDirty) === 0,
    largePages: (flags & DeviceFlag.hugeIova) !== 0,
    // A device without a width of its PASIDs has the one that stands for requests without.
    maxPasids: (flags & DeviceFlag.pasid) !== 0 ? PASIDS : 1,
  };
}

function mockDma(driver: MockDriver, bdf: Bdf, label: string): DmaDevice {
  return {
    label,
    function: bdf,
    mediated: false,
    declaration: DECLARATION,
    get capabilities() {
      return driver.capabilities(bdf);
    },
    pasidSpace: bdf,
    slotOf: (pasid) => ({ device: bdf, pasid }),
    releaseSlot: () => {},
  };
}
