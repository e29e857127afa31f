/**
 * The test command, operation by operation: Linux drivers/iommu/iommufd/selftest.c says what each
 * answers.
 */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { type FakeCall, FakeProcess } from "../../../test/support/fake-call.js";
import * as abi from "../../abi/index.js";
import { ERRNO, type ErrnoName, type UapiError } from "../../abi/index.js";
import { type Call, FileKind, type OpenFile, type UserMemory } from "../../files/index.js";
import { Iommufd, MapFlag } from "../index.js";
import type { AccessFile } from "./access-file.js";
import { SelftestSystem } from "./selftest-system.js";
import type { TestBuffer } from "./test-buffer.js";
import { testCommandRow } from "./test-command.js";

const PAGE = 4096n;
const IOVA = 0x1000000n;
const BYTES = 72;

/** /dev/iommu with the test command alone; other calls go to `iommufd` directly. */
class TestFile implements OpenFile {
  readonly kind = FileKind.iommufd;
  readonly label = "/dev/iommu";
  readonly iommufd: Iommufd;
  readonly row: ReturnType<typeof testCommandRow>;
  holders = 1;

  constructor(system: SelftestSystem, process: FakeProcess) {
    this.iommufd = new Iommufd(system, process);
    this.row = testCommandRow(system);
  }

  hold(): () => void {
    this.holders++;
    return () => this.release();
  }

  ioctl(call: Call, _command: number, address: bigint): number {
    const bytes = new Uint8Array(BYTES);
    call.copyIn(address, bytes);
    const reply = (memory: UserMemory): void => memory.copyOut(address, bytes);
    return this.row.run(this, call, { view: new DataView(bytes.buffer), address, reply });
  }

  release(): void {
    if (--this.holders === 0) this.iommufd.close();
  }
}

let system: SelftestSystem;
let process: FakeProcess;
let call: FakeCall;
let file: TestFile;
let iommufd: Iommufd;
let ioas: number;

function start(made = new SelftestSystem()): void {
  system = made;
  process = new FakeProcess();
  call = process.thread();
  file = new TestFile(system, process);
  iommufd = file.iommufd;
  ioas = iommufd.ioasAlloc();
}

beforeEach(() => start());

/** Runs an operation. `fill` writes its fields; the struct as it came back, and the result. */
function run(
  op: number,
  id: number,
  fill: (view: DataView) => void = () => {},
): { result: number; view: DataView } {
  const bytes = new Uint8Array(BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, BYTES, true);
  view.setUint32(4, op, true);
  view.setUint32(8, id, true);
  fill(view);
  return { result: call.ioctlBytes(file, abi.IOMMU_TEST_CMD, bytes), view };
}

function ok(op: number, id: number, fill?: (view: DataView) => void): DataView {
  const { result, view } = run(op, id, fill);
  assert.equal(result, 0, result < 0 ? String(call.lastRefusal) : "");
  return view;
}

function refused(code: ErrnoName, op: number, id: number, fill?: (view: DataView) => void): void {
  const { result } = run(op, id, fill);
  assert.equal(result, -ERRNO[code], String(call.lastRefusal as UapiError | undefined));
}

const u32s =
  (...values: number[]) =>
  (view: DataView): void =>
    values.forEach((value, i) => {
      view.setUint32(16 + 4 * i, value, true);
    });
const u64s =
  (...values: bigint[]) =>
  (view: DataView): void =>
    values.forEach((value, i) => {
      view.setBigUint64(16 + 8 * i, value, true);
    });

interface Mock {
  readonly stdev: number;
  readonly hwpt: number;
  readonly idev: number;
}

function mock(id = ioas, flags?: number): Mock {
  const view =
    flags === undefined
      ? ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN, id)
      : ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, id, u32s(0, 0, 0, flags));
  const { out_stdev_id, out_hwpt_id, out_idev_id } = abi.decodeIommuTestCmdMockDomain(view);
  return { stdev: out_stdev_id, hwpt: out_hwpt_id, idev: out_idev_id };
}

function map(pages: number, into = ioas, iova = IOVA): bigint {
  const userVa = process.memory.allocPages(pages);
  const flags = MapFlag.fixedIova | MapFlag.readable | MapFlag.writeable;
  const length = BigInt(pages) * PAGE;
  iommufd.ioasMap({ ioasId: into, flags, userVa, length, iova }, { process });
  return userVa;
}

function access(pinsPages: boolean, id = ioas): number {
  const view = ok(abi.IOMMU_TEST_OP_CREATE_ACCESS, id, u32s(0, pinsPages ? 1 : 0));
  const fd = view.getUint32(16, true);
  assert.equal(call.lastDescriptor?.fd, fd);
  assert.equal(call.lastDescriptor?.closeOnExec, true);
  return fd;
}

const pages =
  (iova: bigint, length: bigint, uptr: bigint, flags = 0) =>
  (view: DataView): void =>
    abi.encodeIommuTestCmdAccessPages({ flags, out_access_pages_id: 0, iova, length, uptr }, view);
const rw =
  (iova: bigint, length: bigint, uptr: bigint, flags = 0) =>
  (view: DataView): void =>
    abi.encodeIommuTestCmdAccessRw({ iova, length, uptr, flags }, view);

test("an unknown operation is EOPNOTSUPP", () => {
  for (const op of [0, 24, 0xffffffff]) refused("EOPNOTSUPP", op, ioas);
});

describe("mock devices", () => {
  test("ids are given in the order device object, bound device, page table", () => {
    const first = mock();
    assert.deepEqual(first, { stdev: ioas + 1, idev: ioas + 2, hwpt: ioas + 3 });
    assert.equal(system.deviceCount, 1);
  });

  test("destroying the object unbinds the device and takes its automatic table along", () => {
    const { stdev, idev, hwpt } = mock();
    iommufd.destroy(stdev);
    assert.equal(iommufd.state.objects.find(idev), undefined);
    assert.equal(iommufd.hwpt(hwpt), undefined);
    assert.equal(system.deviceCount, 0);
    assert.deepEqual(mock(), { stdev, idev, hwpt });
  });

  test("closing the file destroys them", () => {
    mock();
    mock();
    file.release();
    assert.equal(system.deviceCount, 0);
  });

  test("a refusal, or a struct that cannot be written, leaves nothing", () => {
    const before = [...iommufd.state.objects.all()].length;
    refused("ENOENT", abi.IOMMU_TEST_OP_MOCK_DOMAIN, 99);
    refused("EINVAL", abi.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, ioas, u32s(0, 0, 0, 2));
    const address = process.memory.allocPages(1);
    process.memory.setU32(address, BYTES);
    process.memory.setU32(address + 4n, abi.IOMMU_TEST_OP_MOCK_DOMAIN);
    process.memory.setU32(address + 8n, ioas);
    process.memory.protect(address, 4096);
    assert.equal(call.ioctl(file, abi.IOMMU_TEST_CMD, address), -ERRNO.EFAULT);
    assert.equal([...iommufd.state.objects.all()].length, before);
    assert.equal(system.deviceCount, 0);
    mock();
  });

  test("replace moves a device and answers the page table", () => {
    const { stdev, idev } = mock();
    const other = iommufd.hwptAlloc({ devId: idev, ptId: ioas });
    const view = ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(other));
    assert.equal(view.getUint32(16, true), other);
    refused("ENOENT", abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, idev, u32s(other));
    refused("ENOENT", abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(99));
  });

  test("hardware information is the mock's; widths of PASIDs as asked for", () => {
    const info = iommufd.hardwareInfo(mock().idev);
    assert.equal(info.hardware.type, abi.IOMMU_HW_INFO_TYPE_SELFTEST);
    assert.equal(new DataView(info.hardware.bytes.buffer).getUint32(4, true), 0xdeadbeef);
    assert.equal(info.maxPasidLog2, 0);
    assert.equal(info.capabilities, 1n + 8n);
    const withPasids = iommufd.hardwareInfo(mock(ioas, abi.MOCK_FLAGS_DEVICE_PASID).idev);
    assert.equal(withPasids.maxPasidLog2, abi.MOCK_PASID_WIDTH);
    const noDirty = iommufd.hardwareInfo(mock(ioas, abi.MOCK_FLAGS_DEVICE_NO_DIRTY).idev);
    assert.equal(noDirty.capabilities, 8n);
  });
});

describe("PASIDs", () => {
  const flags = 8;

  test("attach, check, replace, detach", () => {
    const { stdev, idev } = mock(ioas, abi.MOCK_FLAGS_DEVICE_PASID);
    const [one, two] = [0, 1].map(() => iommufd.hwptAlloc({ devId: idev, ptId: ioas, flags }));
    const check = (hwpt: number | undefined) => u32s(100, hwpt ?? 0);
    refused("EINVAL", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, check(one));
    ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(two ?? 0));
    ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(0));
    ok(abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, check(one));
    ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(one));
    refused("EINVAL", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(0));
    refused("EINVAL", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(two));
    refused("EINVAL", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(ioas));
    refused("ENOENT", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(99));
    refused("EBUSY", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, check(one));
    ok(abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, check(two));
    ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(two));
    ok(abi.IOMMU_TEST_OP_PASID_DETACH, stdev, u32s(100));
    ok(abi.IOMMU_TEST_OP_PASID_DETACH, stdev, u32s(100));
    ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(0));
    refused("EINVAL", abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, check(two));
  });

  test("a PASID beyond the device's is EINVAL, an unknown table ENOENT", () => {
    const { stdev, idev } = mock();
    const hwpt = iommufd.hwptAlloc({ devId: idev, ptId: ioas, flags });
    ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(hwpt));
    refused("EINVAL", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1, hwpt));
    refused("EINVAL", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1 << 20, hwpt));
    refused("ENOENT", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1 << 20, 99));
    ok(abi.IOMMU_TEST_OP_PASID_DETACH, stdev, u32s(1 << 20));
  });

  test("PASID 1024 fails its second table once, and keeps the first", () => {
    const { stdev, idev } = mock(ioas, abi.MOCK_FLAGS_DEVICE_PASID);
    const [one, two] = [0, 1].map(() => iommufd.hwptAlloc({ devId: idev, ptId: ioas, flags }));
    ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(two ?? 0));
    ok(abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1024, one ?? 0));
    refused("ENOMEM", abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, u32s(1024, two ?? 0));
    ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, u32s(1024, one ?? 0));
    ok(abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, u32s(1024, two ?? 0));
  });
});

describe("looking behind the interface", () => {
  test("MD_CHECK_MAP compares what is mapped with what the caller has now", () => {
    const { hwpt } = mock();
    const va = map(4);
    const check = (iova: bigint, length: bigint, uptr: bigint) => u64s(iova, length, uptr);
    ok(abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, 4n * PAGE, va));
    ok(abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA + 2048n, 2048n, va + 2048n));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, va + PAGE));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, 2048n, va + 2048n));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA + 4n * PAGE, PAGE, va));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA + 1n, PAGE, va));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, va + 1n));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, 2n ** 64n - PAGE, va));
    refused("EFAULT", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, PAGE));
    refused("ENOENT", abi.IOMMU_TEST_OP_MD_CHECK_MAP, ioas, check(IOVA, PAGE, va));
    process.memory.firstFrame++;
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, va));
  });

  test("MD_CHECK_REFS counts pins of every context; large pages are not counted", () => {
    const va = map(2);
    const check = (length: bigint, uptr: bigint, refs: number) => (view: DataView) =>
      abi.encodeIommuTestCmdCheckRefs({ length, uptr, refs }, view);
    ok(abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 0));
    mock();
    mock();
    ok(abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 1));
    refused("EIO", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 2));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2048n, va, 1));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(PAGE, va + 2048n, 1));
    refused("EFAULT", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(PAGE, PAGE, 1));
    process.memory.pinsOf = () => undefined as unknown as number;
    ok(abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 7));
  });

  test("ADD_RESERVED keeps addresses free for good", () => {
    refused("EINVAL", abi.IOMMU_TEST_OP_ADD_RESERVED, ioas, u64s(0n, 0n));
    refused("EOVERFLOW", abi.IOMMU_TEST_OP_ADD_RESERVED, ioas, u64s(PAGE, 2n ** 64n - 1n));
    refused("ENOENT", abi.IOMMU_TEST_OP_ADD_RESERVED, 99, u64s(0n, PAGE));
    ok(abi.IOMMU_TEST_OP_ADD_RESERVED, ioas, u64s(0n, PAGE));
    ok(abi.IOMMU_TEST_OP_ADD_RESERVED, ioas, u64s(0n, 2n * PAGE));
    assert.deepEqual(iommufd.ioasIovaRanges(ioas).ranges, [
      { first: 2n * PAGE, last: 2n ** 64n - 1n },
    ]);
    map(1);
    refused("EADDRINUSE", abi.IOMMU_TEST_OP_ADD_RESERVED, ioas, u64s(IOVA, PAGE));
  });

  test("SET_TEMP_MEMORY_LIMIT takes 12 bytes or more", () => {
    ok(abi.IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, 0, u32s(12));
    refused("EINVAL", abi.IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, 0, u32s(11));
  });

  test("DIRTY marks pages by the caller's bitmap", () => {
    const { stdev, idev } = mock();
    const hwpt = iommufd.hwptAlloc({ devId: idev, ptId: ioas, flags: 2 });
    ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(hwpt));
    map(4);
    const bitmap = process.memory.alloc(8);
    process.memory.setU64(bitmap, 0b1010n);
    const dirty =
      (size: bigint, length = 4n * PAGE, uptr = bitmap) =>
      (view: DataView) =>
        abi.encodeIommuTestCmdDirty(
          { flags: 0, iova: IOVA, length, page_size: size, uptr, out_nr_dirty: 0n },
          view,
        );
    refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE));
    iommufd.hwptSetDirtyTracking(hwpt, 1);
    const view = ok(abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE));
    assert.equal(view.getBigUint64(56, true), 2n);
    const found = new Uint8Array(1);
    const range = { hwptId: hwpt, iova: IOVA, length: 4n * PAGE, pageSize: PAGE };
    iommufd.hwptGetDirtyBitmap({ ...range, bitmap: found });
    assert.equal(found[0], 0b1010);
    refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(0n));
    refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE, PAGE + 1n));
    refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE, PAGE, 0n));
    refused("EFAULT", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE, PAGE, PAGE));
    refused("EOVERFLOW", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(1n, 2n ** 27n + 1n));
    refused("ENOENT", abi.IOMMU_TEST_OP_DIRTY, ioas, dirty(PAGE));
  });

  test("slots of nested tables and of devices are compared", () => {
    const { idev, stdev, hwpt } = mock();
    const parent = iommufd.hwptAlloc({ devId: idev, ptId: ioas, flags: 1 });
    const bytes = new DataView(new ArrayBuffer(4));
    bytes.setUint32(0, abi.IOMMU_TEST_IOTLB_DEFAULT, true);
    const data = { type: abi.IOMMU_HWPT_DATA_SELFTEST, bytes };
    const nested = iommufd.hwptAlloc({ devId: idev, ptId: parent, data });
    const value = abi.IOMMU_TEST_IOTLB_DEFAULT;
    ok(abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, nested, u32s(3, value));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, nested, u32s(4, value));
    refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, nested, u32s(3, 1));
    refused("ENOENT", abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, hwpt, u32s(3, value));
    ok(abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, idev, u32s(0, abi.IOMMU_TEST_DEV_CACHE_DEFAULT));
    refused("EINVAL", abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, idev, u32s(4, 0));
    refused("EINVAL", abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, idev, u32s(0, 0));
    refused("ENOENT", abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, stdev, u32s(0, 0));
  });

  test("page faults and events are what the device would send", () => {
    const { stdev, idev } = mock();
    const queue = iommufd.faultQueueAlloc();
    const fill = u32s(idev, 0, 5, 3, 0x5000);
    refused("ENOENT", abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, u32s(stdev));
    ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, fill);
    const hwpt = iommufd.hwptAlloc({ devId: idev, ptId: ioas, flags: 4, faultId: queue.id });
    ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(hwpt));
    ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, fill);
    ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, u32s(idev, 1 << 20));
    const [fault, ...others] = queue.read(10);
    assert.deepEqual(others, []);
    assert.deepEqual(
      [fault?.flags, fault?.devId, fault?.groupId, fault?.perm, fault?.address],
      [2, idev, 5, 3, 0x5000n],
    );
    refused("ENOENT", abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(idev));
    refused("ENOENT", abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(stdev));
  });

  test("an event of a device in a vIOMMU carries its number there", () => {
    const { stdev, idev } = mock();
    const parent = iommufd.hwptAlloc({ devId: idev, ptId: ioas, flags: 1 });
    const type = abi.IOMMU_VIOMMU_TYPE_SELFTEST;
    const viommu = iommufd.viommuAlloc({ type, devId: idev, hwptId: parent });
    iommufd.vdeviceAlloc({ viommuId: viommu.id, devId: idev, virtualId: 0x99n });
    const data = { type: abi.IOMMU_HWPT_DATA_SELFTEST, bytes: new DataView(new ArrayBuffer(4)) };
    const nested = iommufd.hwptAlloc({ devId: idev, ptId: viommu.id, data });
    ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(nested));
    refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(idev));
    const events = abi.IOMMU_VEVENTQ_TYPE_SELFTEST;
    const queue = iommufd.veventqAlloc({ viommuId: viommu.id, type: events, depth: 2 });
    ok(abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(idev));
    assert.notEqual(queue, undefined);
  });
});

describe("accesses", () => {
  test("creating one needs a space and known flags; a refusal leaves no object", () => {
    refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_CREATE_ACCESS, ioas, u32s(0, 2));
    refused("ENOENT", abi.IOMMU_TEST_OP_CREATE_ACCESS, 99, u32s(0, 1));
    assert.equal([...iommufd.state.objects.all()].length, 1);
    assert.equal(file.holders, 1);
  });

  test("the descriptor keeps the context; closing it gives pins back", () => {
    const fd = access(true);
    const va = map(2);
    ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, 2n * PAGE, va));
    assert.equal(process.memory.pins.size, 2);
    file.release();
    assert.equal(file.holders, 1);
    process.close(fd);
    assert.equal(file.holders, 0);
    assert.equal(process.memory.pins.size, 0);
  });

  test("pins are numbered from 0 and given back by number", () => {
    const fd = access(true);
    const va = map(4);
    const first = ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va, 1));
    assert.equal(first.getUint32(20, true), 0);
    const half = pages(IOVA + 2048n, PAGE, va + 2048n);
    refused("EINVAL", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, half);
    const second = ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA + PAGE, 1n, va + PAGE));
    assert.equal(second.getUint32(20, true), 1);
    ok(abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(0));
    refused("ENOENT", abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(0));
    ok(abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(1));
    assert.equal(process.memory.pins.size, 0);
  });

  test("unmapping takes pins in the range away", () => {
    const fd = access(true);
    const va = map(2);
    ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
    assert.equal(iommufd.ioasUnmap(ioas, IOVA, 2n * PAGE), 2n * PAGE);
    assert.equal((process.file(fd) as AccessFile).itemCount, 0);
    refused("ENOENT", abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(0));
    refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
  });

  test("pages that are not the caller's are EBADE, and nothing stays pinned", () => {
    const fd = access(true);
    const va = map(2);
    refused("EBADE", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va + PAGE));
    refused("EFAULT", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, PAGE));
    ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, 0n));
    assert.equal(process.memory.pins.size, 1);
  });

  test("order of refusals of ACCESS_PAGES", () => {
    const fd = access(false);
    const more = 16n * 1024n * 1024n + 1n;
    refused("ENOMEM", abi.IOMMU_TEST_OP_ACCESS_PAGES, 99, pages(IOVA, more, 0n, 2));
    refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_ACCESS_PAGES, 99, pages(IOVA, PAGE, 0n, 2));
    refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_PAGES, 99, pages(IOVA, PAGE, 0n));
    const own = process.install(file);
    refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_PAGES, own, pages(IOVA, PAGE, 0n));
    refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, 0n));
    const pinning = access(true);
    refused("EINVAL", abi.IOMMU_TEST_OP_ACCESS_PAGES, pinning, pages(IOVA, 0n, 0n));
    refused("EOVERFLOW", abi.IOMMU_TEST_OP_ACCESS_PAGES, pinning, pages(2n ** 64n - 1n, 2n, 0n));
  });

  test("reading and writing through the space, at any byte", () => {
    const fd = access(false);
    const va = map(2);
    const buffer = process.memory.alloc(64);
    process.memory.at(va, 8192).forEach((_, i, all) => {
      all[i] = i & 0xff;
    });
    ok(abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA + 4090n, 12n, buffer));
    const expected = [0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, 0, 1, 2, 3, 4, 5];
    assert.deepEqual([...process.memory.at(buffer, 12)], expected);
    process.memory.at(buffer, 3).set([7, 8, 9]);
    ok(abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA + 4095n, 3n, buffer, 1 | 4));
    assert.deepEqual([...process.memory.at(va + 4095n, 3)], [7, 8, 9]);
    refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA + 8190n, 3n, buffer));
    refused("EFAULT", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 3n, PAGE));
    refused("EFAULT", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 3n, PAGE, 1));
    refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 3n, buffer, 2));
    refused("ENOMEM", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 2n ** 40n, buffer));
    refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_RW, 99, rw(IOVA, 3n, buffer));
  });

  test("moving to another space gives pins back first", () => {
    const fd = access(true);
    const va = map(1);
    const other = iommufd.ioasAlloc();
    ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
    ok(abi.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, fd, u32s(other));
    assert.equal(process.memory.pins.size, 0);
    refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
    refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, fd, u32s(99));
    refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, 99, u32s(other));
    iommufd.destroy(ioas);
  });
});

describe("buffers", () => {
  const get = (length: number, openFlags = 0) => u32s(length, openFlags);

  test("the descriptor is the result; lengths are rounded to pages", () => {
    const { result } = run(abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(1, 0x80000));
    assert.equal((process.file(result) as TestBuffer).size, PAGE);
    assert.equal(call.lastDescriptor?.closeOnExec, true);
    run(abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(4096));
    assert.equal(call.lastDescriptor?.closeOnExec, false);
    refused("EINVAL", abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(0));
    refused("EINVAL", abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(512 * 4096 + 1));
  });

  test("a revoked buffer cannot be pinned until it is given back", () => {
    const fd = run(abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(8192)).result;
    const buffer = process.file(fd) as TestBuffer;
    let told = 0;
    buffer.onRevoke(() => told++);
    const frames = new Float64Array(2);
    buffer.pages.pin(0, 2, true, frames);
    assert.equal((frames[0] ?? 0) + 1, frames[1]);
    ok(abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(fd, 1));
    assert.equal(told, 1);
    assert.throws(() => buffer.pages.pin(0, 1, true, frames), { code: "ENODEV" });
    ok(abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(fd, 0));
    buffer.pages.pin(0, 1, true, frames);
  });

  test("REVOKE refuses what is no buffer", () => {
    refused("EBADF", abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(99, 1));
    refused("EINVAL", abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(process.install(file), 1));
    const foreign = { kind: FileKind.dmaBuf, label: "", release: () => {} };
    refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(process.install(foreign), 1));
  });
});

describe("Linux 6.12", () => {
  beforeEach(() => start(new SelftestSystem({ kernel: "6.12" })));

  test("knows the first fifteen operations", () => {
    for (const op of [16, 17, 18, 22, 23]) refused("EOPNOTSUPP", op, 0);
    ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, u32s(mock().idev));
  });

  test("large pages are a property of the device, PASIDs are not there", () => {
    const { hwpt } = mock(ioas, 2);
    const table = iommufd.hwpt(hwpt);
    assert.equal(table?.kind === "hwpt-paging" && table.domain.pageSizes, 0x100800n);
    refused("EINVAL", abi.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, ioas, u32s(0, 0, 0, 4));
    const { idev } = mock();
    const bytes = new DataView(new ArrayBuffer(8));
    const data = { type: abi.IOMMU_HWPT_DATA_SELFTEST, bytes };
    const alloc = (args: object) => () => iommufd.hwptAlloc({ devId: idev, ptId: ioas, ...args });
    assert.throws(alloc({ flags: 8 }), { code: "EOPNOTSUPP" });
    assert.throws(alloc({ data }), { code: "EOPNOTSUPP" });
    const parent = alloc({ flags: 1 })();
    assert.throws(alloc({ ptId: parent, data }), { code: "EINVAL" });
    alloc({ ptId: parent, data: { ...data, bytes: new DataView(new ArrayBuffer(4)) } })();
    const viommu = { type: abi.IOMMU_VIOMMU_TYPE_SELFTEST, devId: idev, hwptId: parent };
    assert.throws(() => iommufd.viommuAlloc(viommu), { code: "EOPNOTSUPP" });
  });
});
