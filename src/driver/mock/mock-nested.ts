/** Nested tables and virtual IOMMUs of the mock driver: Linux's selftest formats. */
import { UapiError } from "../../abi/index.js";
import type { Bdf } from "../../units/index.js";
import {
  type DriverData,
  type DriverRegion,
  dataLength,
  type HardwareQueue,
  type InvalidationEntries,
  type IommuInstance,
  type NestedDomain,
  type PagingDomain,
  type VirtualIommu,
} from "../driver-port.js";

/** Data types of the mock formats. */
export const MOCK_HWPT_TYPE = 0xdead;
export const MOCK_INVALIDATE_TYPE = 0xdeadbeef;
export const MOCK_VIOMMU_TYPE = 0xdeadbeef;
export const MOCK_QUEUE_TYPE = 0xdeadbeef;

const SLOTS = 4;
const VIOMMU_ENTRY_BYTES = 12;
/** {iotlb, kind of table}; the second came after Linux 6.12. */
const MOCK_DATA_BYTES = 8;
/** Answer: {in, out, mmap offset, mmap length}; of it the user takes what fits. */
const REPLY_BYTES = 24;
const REGION_BYTES = 8192;
const INVALIDATE_ALL = 1;
/** What a device's cache slots hold at first, and an invalidated slot holds. */
export const CACHE_DEFAULT = 0xbaddad;

/** A nested table: four slots that stand for a TLB. */
export class MockNestedDomain implements NestedDomain {
  readonly kind = "nested";
  readonly instance: IommuInstance;
  readonly parent: PagingDomain;
  readonly viommu: MockViommu | undefined;
  readonly iotlb: Uint32Array;
  isFreed = false;

  constructor(parent: PagingDomain, viommu: MockViommu | undefined, iotlb: number) {
    this.instance = parent.instance;
    this.parent = parent;
    this.viommu = viommu;
    this.iotlb = new Uint32Array(SLOTS).fill(iotlb);
  }

  readonly invalidate = (type: number, entries: InvalidationEntries): void => {
    if (type !== MOCK_INVALIDATE_TYPE) throw invalid("the type of the entries is not known");
    while (entries.done < entries.count) {
      const entry = entries.entry(entries.done);
      if (entry.byteLength !== 8) throw invalid("an entry is 8 bytes");
      clearSlots(entry.getUint32(0, true), entry.getUint32(4, true), this.iotlb, 0);
      entries.done++;
    }
  };

  free(): void {
    this.isFreed = true;
  }
}

function clearSlots(flags: number, slot: number, slots: Uint32Array, value: number): void {
  checkSlot(flags, slot);
  if ((flags & INVALIDATE_ALL) !== 0) slots.fill(value);
  else slots[slot] = value;
}

/** @throws UapiError EOPNOTSUPP for unknown flags, EINVAL for a slot that is not there. */
function checkSlot(flags: number, slot: number): void {
  if ((flags & ~INVALIDATE_ALL) !== 0) {
    throw new UapiError("EOPNOTSUPP", "an unknown flag of an entry is set");
  }
  if (slot >= SLOTS) throw invalid(`slot ${slot} is not 0..${SLOTS - 1}`);
}

/** A virtual IOMMU of the mock driver. */
export class MockViommu implements VirtualIommu {
  readonly type = MOCK_VIOMMU_TYPE;
  readonly reply: DriverData | undefined;
  readonly region: DriverRegion | undefined;
  readonly queueTypes = [MOCK_QUEUE_TYPE];
  readonly #parent: PagingDomain;
  readonly #cacheOf: (device: Bdf) => Uint32Array;
  readonly #devices = new Map<bigint, Bdf>();
  readonly #queues: (HardwareQueue | undefined)[] = [undefined, undefined];
  isFreed = false;

  constructor(
    parent: PagingDomain,
    data: DriverData | undefined,
    cacheOf: (device: Bdf) => Uint32Array,
  ) {
    this.#parent = parent;
    this.#cacheOf = cacheOf;
    this.reply = replyTo(data);
    this.region = this.reply === undefined ? undefined : regionOf(this.reply.bytes);
  }

  hasDevice(device: Bdf): boolean {
    return [...this.#devices.values()].includes(device);
  }

  allocNested(data: DriverData): MockNestedDomain {
    return new MockNestedDomain(this.#parent, this, readIotlb(data));
  }

  readonly invalidate = (type: number, entries: InvalidationEntries): void => {
    if (type !== MOCK_INVALIDATE_TYPE) throw invalid("the type of the entries is not known");
    // All entries are read before the first one takes effect.
    const all: DataView[] = [];
    for (let i = 0; i < entries.count; i++) all.push(entries.entry(i, VIOMMU_ENTRY_BYTES));
    for (const entry of all) {
      if (entry.byteLength < VIOMMU_ENTRY_BYTES) throw invalid("an entry is 12 bytes");
      checkSlot(entry.getUint32(0, true), entry.getUint32(8, true));
      const device = this.#devices.get(BigInt(entry.getUint32(4, true)));
      if (device === undefined) throw invalid("no device has this number");
      const slots = this.#cacheOf(device);
      clearSlots(entry.getUint32(0, true), entry.getUint32(8, true), slots, 0);
      entries.done++;
    }
  };

  readonly allocQueue = (_type: number, index: number): HardwareQueue => {
    if (index >= this.#queues.length) throw invalid(`queue ${index} is not 0..1`);
    if (this.#queues[index] !== undefined) throw new UapiError("EEXIST", "the queue is in use");
    const dependsOn = index === 0 ? undefined : this.#queues[0];
    if (index === 1 && dependsOn === undefined) {
      throw new UapiError("EIO", "queue 1 needs queue 0");
    }
    const made: HardwareQueue = {
      dependsOn,
      free: () => {
        this.#queues[index] = undefined;
      },
    };
    this.#queues[index] = made;
    return made;
  };

  addDevice(device: Bdf, virtualId: bigint): void {
    this.#devices.set(virtualId, device);
  }

  removeDevice(_device: Bdf, virtualId: bigint): void {
    this.#devices.delete(virtualId);
  }

  free(): void {
    this.isFreed = true;
  }
}

/** Data {in, out, …}: the answer repeats what came in. @throws UapiError EINVAL. */
function replyTo(data: DriverData | undefined): DriverData | undefined {
  if (data === undefined) return undefined;
  const length = dataLength(data);
  if (length === 0) return undefined;
  if (length < 8 || length > REPLY_BYTES) throw invalid("the data are 8 to 24 bytes");
  const bytes = new DataView(new ArrayBuffer(REPLY_BYTES));
  const value = data.bytes.getUint32(0, true);
  bytes.setUint32(0, value, true);
  bytes.setUint32(4, value, true);
  return { type: data.type, bytes };
}

/** Two pages that begin with the number that came in. */
function regionOf(reply: DataView): DriverRegion {
  return {
    byteLength: REGION_BYTES,
    fill: (bytes) => {
      new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, reply.getUint32(0, true), true);
    },
    placed: (offset) => {
      reply.setBigUint64(8, BigInt(offset), true);
      reply.setBigUint64(16, BigInt(REGION_BYTES), true);
    },
  };
}

/** {iotlb, …}. @throws UapiError EOPNOTSUPP for another type, EINVAL for another length. */
export function readIotlb(data: DriverData, maxBytes = MOCK_DATA_BYTES): number {
  checkMockData(data, maxBytes);
  return data.bytes.getUint32(0, true);
}

/** @throws UapiError EOPNOTSUPP for another type, EINVAL for another length. */
export function checkMockData(data: DriverData, maxBytes = MOCK_DATA_BYTES): void {
  if (data.type !== MOCK_HWPT_TYPE) {
    throw new UapiError("EOPNOTSUPP", `data of type ${data.type} are not known`);
  }
  const byteLength = dataLength(data);
  if (byteLength < 4 || byteLength > maxBytes) {
    throw invalid(`the data are not 4 to ${maxBytes} bytes`);
  }
}

function invalid(rule: string): UapiError {
  return new UapiError("EINVAL", rule);
}
