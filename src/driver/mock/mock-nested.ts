/** Nested tables and virtual IOMMUs of the mock driver: Linux's selftest formats. */
import { UapiError } from "../../abi/index.js";
import type { Bdf } from "../../units/index.js";
import type {
  DriverData,
  DriverRegion,
  HardwareQueue,
  InvalidationEntries,
  IommuInstance,
  NestedDomain,
  PagingDomain,
  VirtualIommu,
} from "../driver-port.js";

/** Data types of the mock formats. */
export const MOCK_HWPT_TYPE = 0xdead;
export const MOCK_INVALIDATE_TYPE = 0xdeadbeef;
export const MOCK_VIOMMU_TYPE = 0xdeadbeef;
export const MOCK_QUEUE_TYPE = 0xdeadbeef;

const SLOTS = 4;
/** Bytes of an entry for a vIOMMU. */
const ENTRY_BYTES = 12;
const REGION_BYTES = 8192;
/** {in, out, offset of the region, its length}. */
const REPLY_BYTES = 24;
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

/** As a struct that may have grown: what is missing is 0. @throws UapiError E2BIG. */
function wholeEntry(entry: DataView): DataView {
  const bytes = new Uint8Array(entry.buffer, entry.byteOffset, entry.byteLength);
  if (bytes.subarray(ENTRY_BYTES).some((byte) => byte !== 0)) {
    throw new UapiError("E2BIG", `bytes of an entry beyond ${ENTRY_BYTES} are not 0`);
  }
  const out = new Uint8Array(ENTRY_BYTES);
  out.set(bytes.subarray(0, ENTRY_BYTES));
  return new DataView(out.buffer);
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
    this.region = regionOf(this.reply);
  }

  hasDevice(device: Bdf): boolean {
    return [...this.#devices.values()].includes(device);
  }

  allocNested(data: DriverData): MockNestedDomain {
    return new MockNestedDomain(this.#parent, this, readIotlb(data));
  }

  readonly invalidate = (type: number, entries: InvalidationEntries): void => {
    if (type !== MOCK_INVALIDATE_TYPE) throw invalid("the type of the entries is not known");
    // All are read before the first takes effect.
    const all = Array.from({ length: entries.count }, (_, i) => wholeEntry(entries.entry(i)));
    for (const entry of all) {
      checkSlot(entry.getUint32(0, true), entry.getUint32(8, true));
      const device = this.#devices.get(BigInt(entry.getUint32(4, true)));
      if (device === undefined) throw invalid("no device has this number");
      clearSlots(entry.getUint32(0, true), entry.getUint32(8, true), this.#cacheOf(device), 0);
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
  if (data === undefined || data.bytes.byteLength === 0) return undefined;
  const { byteLength } = data.bytes;
  if (byteLength < 8 || byteLength > REPLY_BYTES) throw invalid("the data are 8 to 24 bytes");
  // The whole answer, of which the caller sees as much as it gave.
  const bytes = new DataView(new ArrayBuffer(REPLY_BYTES), 0, byteLength);
  const value = data.bytes.getUint32(0, true);
  bytes.setUint32(0, value, true);
  bytes.setUint32(4, value, true);
  return { type: data.type, bytes };
}

/** Two pages, the first word of which repeats what came in; the answer says where they are. */
function regionOf(reply: DriverData | undefined): DriverRegion | undefined {
  if (reply === undefined) return undefined;
  const answer = new DataView(reply.bytes.buffer);
  return {
    byteLength: REGION_BYTES,
    place: (bytes, offset) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      view.setUint32(0, answer.getUint32(0, true), true);
      answer.setBigUint64(8, offset, true);
      answer.setBigUint64(16, BigInt(REGION_BYTES), true);
    },
  };
}

/** {iotlb, …}. @throws UapiError EOPNOTSUPP for another type, EINVAL for another length. */
export function readIotlb(data: DriverData, maxBytes = 8): number {
  checkMockData(data, maxBytes);
  return data.bytes.getUint32(0, true);
}

/** @throws UapiError EOPNOTSUPP for another type, EINVAL for a length that is not 4 to `maxBytes`.
 * */
export function checkMockData(data: DriverData, maxBytes = 8): void {
  if (data.type !== MOCK_HWPT_TYPE) {
    throw new UapiError("EOPNOTSUPP", `data of type ${data.type} are not known`);
  }
  const { byteLength } = data.bytes;
  if (byteLength < 4 || byteLength > maxBytes) {
    throw invalid(`the data are not 4 to ${maxBytes} bytes`);
  }
}

function invalid(rule: string): UapiError {
  return new UapiError("EINVAL", rule);
}
