/** Operations that look behind the interface, or act as hardware would. Linux selftest.c. */
import {
  decodeIommuTestCmdAddReserved,
  decodeIommuTestCmdCheckIotlb,
  decodeIommuTestCmdCheckMap,
  decodeIommuTestCmdCheckRefs,
  decodeIommuTestCmdDirty,
  decodeIommuTestCmdTriggerIopf,
  encodeIommuViommuEventSelftest,
  IOMMU_VEVENTQ_TYPE_SELFTEST,
  SIZEOF_IOMMU_VIOMMU_EVENT_SELFTEST,
  UapiError,
} from "../../abi/index.js";
import { type MockDriver, MockNestedDomain } from "../../driver/mock/index.js";
import { makePasid, PASID_LIMIT } from "../../units/index.js";
import type { HwptNested } from "../hw-pagetable.js";
import { lastOf } from "../position.js";
import {
  frameBehind,
  mockTable,
  pinsBehind,
  type TestCall,
  type TestOperation,
} from "./test-call.js";

const PAGE = 4096n;
const U64_LIMIT = 2n ** 64n;
/** Bits of a bitmap that one call takes. */
const DIRTY_BITS_MAX = 2n ** 27n;
/** Least batch of pages in bytes. */
const MEMORY_LIMIT_MIN = 12;

/** ADD_RESERVED: addresses of the space `id` that nothing can use, for good. */
export const addReserved: TestOperation = ({ argument, context, id }) => {
  const { start, length } = decodeIommuTestCmdAddReserved(argument.view);
  if (length === 0n) throw new UapiError("EINVAL", "length is 0");
  context.iommufd.ioasReserve(id, { first: start, last: lastOf(start, length) });
  return 0;
};

/** MD_CHECK_MAP: what is mapped from `iova` on is what the caller has at `uptr`, now. */
export const checkMap: TestOperation = (test) => {
  const { iova, length, uptr } = decodeIommuTestCmdCheckMap(test.argument.view);
  const { domain } = mockTable(test);
  const step = 1n << BigInt(domain.granuleShift);
  if (iova % step !== 0n || length % step !== 0n || uptr % step !== 0n) throw misaligned();
  if (uptr + length >= U64_LIMIT) throw misaligned();
  for (let done = 0n; done < length; done += step) {
    const address = uptr + done;
    const frame = frameBehind(test.call, address);
    const inPage = Number((address % PAGE) / step);
    const expected = frame * Number(PAGE / step) + inPage;
    if (domain.translate(Number((iova + done) / step)) === expected) continue;
    throw new UapiError("EINVAL", "what is mapped is not what the caller has there", {
      evidence: [{ kind: "iova-not-mapped", iova: iova + done }],
    });
  }
  return 0;
};

/** MD_CHECK_REFS: every page of the caller is pinned exactly `refs` times. */
export const checkRefs: TestOperation = ({ argument, call }) => {
  const { length, uptr, refs } = decodeIommuTestCmdCheckRefs(argument.view);
  if (length % PAGE !== 0n || uptr % PAGE !== 0n || uptr + length >= U64_LIMIT) throw misaligned();
  for (let done = 0n; done < length; done += PAGE) {
    const pins = pinsBehind(call, uptr + done);
    if (pins === undefined || pins === refs) continue;
    throw new UapiError("EIO", `a page is pinned ${pins} times, not ${refs}`);
  }
  return 0;
};

/** SET_TEMP_MEMORY_LIMIT: bounds the kernel's batches; there are none here. */
export const setMemoryLimit: TestOperation = ({ argument }) => {
  if (argument.view.getUint32(16, true) >= MEMORY_LIMIT_MIN) return 0;
  throw new UapiError("EINVAL", `the limit is below ${MEMORY_LIMIT_MIN} bytes`);
};

/** DIRTY: devices wrote to the pages whose bits are set in the caller's bitmap. */
export const markDirty: TestOperation = (test) => {
  const { argument, call } = test;
  const { iova, length, page_size: size, uptr } = decodeIommuTestCmdDirty(argument.view);
  if (size === 0n || length === 0n || iova % size !== 0n || length % size !== 0n || uptr === 0n) {
    throw misaligned();
  }
  const bits = length / size;
  if (bits > DIRTY_BITS_MAX) throw new UapiError("EOVERFLOW", "the bitmap is too large");
  const { domain } = mockTable(test);
  if (!domain.isTracking) throw new UapiError("EINVAL", "the page table does not track writes");
  const bitmap = new Uint8Array(Number((bits + 7n) / 8n));
  call.copyIn(uptr, bitmap);
  let count = 0;
  for (let bit = 0; bit < Number(bits); bit++) {
    if (((bitmap[bit >> 3] ?? 0) & (1 << (bit & 7))) === 0) continue;
    domain.markDirty(Number((iova + BigInt(bit) * size) >> BigInt(domain.granuleShift)));
    count++;
  }
  argument.view.setBigUint64(56, BigInt(count), true);
  argument.reply(call);
  return 0;
};

/** MD_CHECK_IOTLB: a slot of a nested table holds this value. */
export const checkIotlb: TestOperation = ({ argument, context, id }) => {
  const { id: slot, iotlb } = decodeIommuTestCmdCheckIotlb(argument.view);
  const { domain } = context.iommufd.state.objects.get(id, "hwpt-nested") as HwptNested;
  if (domain instanceof MockNestedDomain && domain.iotlb[slot] === iotlb) return 0;
  throw new UapiError("EINVAL", "the slot holds something else");
};

/** DEV_CHECK_CACHE: a slot of a device's cache holds this value. */
export const checkDeviceCache: TestOperation = ({ argument, context, id, system }) => {
  const { id: slot, iotlb: value } = decodeIommuTestCmdCheckIotlb(argument.view);
  const driver: MockDriver = system.driver;
  const cache = driver.cacheOf(context.iommufd.device(id).function);
  if (cache[slot] === value) return 0;
  throw new UapiError("EINVAL", "the slot holds something else");
};

/** TRIGGER_IOPF: a device asks for a page. Nobody may be there to take it. */
export const triggerPageFault: TestOperation = ({ argument, context }) => {
  const { dev_id, pasid, grpid, perm, addr } = decodeIommuTestCmdTriggerIopf(argument.view);
  const { function: bdf } = context.iommufd.device(dev_id);
  // No device sends more than 20 bits.
  if (pasid >= PASID_LIMIT) return 0;
  const group = { groupId: grpid, faults: [{ perm, address: addr }], respond: () => {} };
  context.iommufd.deliverFault(bdf, pasid === 0 ? undefined : makePasid(pasid), group);
  return 0;
};

/** TRIGGER_VEVENT: the vIOMMU of a device has an event. */
export const triggerVirtualEvent: TestOperation = ({ argument, context }: TestCall) => {
  const devId = argument.view.getUint32(16, true);
  context.iommufd.deliverVirtualEvent(devId, IOMMU_VEVENTQ_TYPE_SELFTEST, (virtualId) => {
    const bytes = new Uint8Array(SIZEOF_IOMMU_VIOMMU_EVENT_SELFTEST);
    const event = { virt_id: Number(BigInt.asUintN(32, virtualId)) };
    encodeIommuViommuEventSelftest(event, new DataView(bytes.buffer));
    return bytes;
  });
  return 0;
};

const misaligned = (): UapiError =>
  new UapiError("EINVAL", "an address or a length is not a multiple of the page size");
