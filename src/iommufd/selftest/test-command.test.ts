/**
 * The test command, operation by operation: Linux drivers/iommu/iommufd/selftest.c says what each
 * answers. Accesses and buffers have a file of their own.
 */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { BYTES, IOVA, PAGE, TestProgram, u32s, u64s } from "../../../test/support/test-program.js";
import * as abi from "../../abi/index.js";
import { ERRNO } from "../../abi/index.js";

let program: TestProgram;
beforeEach(() => {
  program = new TestProgram();
});

test("an unknown operation is EOPNOTSUPP", () => {
  for (const op of [0, 24, 0xffffffff]) program.refused("EOPNOTSUPP", op, program.ioas);
});

describe("mock devices", () => {
  test("ids are given in the order device object, bound device, page table", () => {
    const first = program.mock();
    assert.deepEqual(first, {
      stdev: program.ioas + 1,
      idev: program.ioas + 2,
      hwpt: program.ioas + 3,
    });
    assert.equal(program.system.deviceCount, 1);
  });

  test("destroying the object unbinds the device and takes its automatic table along", () => {
    const { stdev, idev, hwpt } = program.mock();
    program.iommufd.destroy(stdev);
    assert.equal(program.iommufd.state.objects.find(idev), undefined);
    assert.equal(program.iommufd.hwpt(hwpt), undefined);
    assert.equal(program.system.deviceCount, 0);
    assert.deepEqual(program.mock(), { stdev, idev, hwpt });
  });

  test("destroying one needs no memory", () => {
    let isShort = false;
    program = new TestProgram({ allocations: { permit: () => !isShort } });
    const { stdev } = program.mock();
    program.map(2);
    assert.equal(program.process.memory.pins.size, 2);
    isShort = true;
    program.iommufd.destroy(stdev);
    assert.equal(program.process.memory.pins.size, 0);
  });

  test("closing the file destroys them", () => {
    program.mock();
    program.mock();
    program.file.release();
    assert.equal(program.system.deviceCount, 0);
  });

  test("a refusal, or a struct that cannot be written, leaves nothing", () => {
    const before = [...program.iommufd.state.objects.all()].length;
    program.refused("ENOENT", abi.IOMMU_TEST_OP_MOCK_DOMAIN, 99);
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, program.ioas, u32s(0, 0, 0, 2));
    const address = program.process.memory.allocPages(1);
    program.process.memory.setU32(address, BYTES);
    program.process.memory.setU32(address + 4n, abi.IOMMU_TEST_OP_MOCK_DOMAIN);
    program.process.memory.setU32(address + 8n, program.ioas);
    program.process.memory.protect(address, 4096);
    assert.equal(program.call.ioctl(program.file, abi.IOMMU_TEST_CMD, address), -ERRNO.EFAULT);
    assert.equal([...program.iommufd.state.objects.all()].length, before);
    assert.equal(program.system.deviceCount, 0);
    program.mock();
  });

  test("replace moves a device and answers the page table", () => {
    const { stdev, idev } = program.mock();
    const other = program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas });
    const view = program.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(other));
    assert.equal(view.getUint32(16, true), other);
    program.refused("ENOENT", abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, idev, u32s(other));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(99));
  });

  test("hardware information is the mock's; widths of PASIDs as asked for", () => {
    const info = program.iommufd.hardwareInfo(program.mock().idev);
    assert.equal(info.hardware.type, abi.IOMMU_HW_INFO_TYPE_SELFTEST);
    assert.equal(new DataView(info.hardware.bytes.buffer).getUint32(4, true), 0xdeadbeef);
    assert.equal(info.maxPasidLog2, 0);
    assert.equal(info.capabilities, 1n + 8n);
    const withPasids = program.iommufd.hardwareInfo(
      program.mock(program.ioas, abi.MOCK_FLAGS_DEVICE_PASID).idev,
    );
    assert.equal(withPasids.maxPasidLog2, abi.MOCK_PASID_WIDTH);
    const noDirty = program.iommufd.hardwareInfo(
      program.mock(program.ioas, abi.MOCK_FLAGS_DEVICE_NO_DIRTY).idev,
    );
    assert.equal(noDirty.capabilities, 8n);
  });
});

describe("PASIDs", () => {
  const flags = 8;

  test("attach, check, replace, detach", () => {
    const { stdev, idev } = program.mock(program.ioas, abi.MOCK_FLAGS_DEVICE_PASID);
    const [one, two] = [0, 1].map(() =>
      program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas, flags }),
    );
    const check = (hwpt: number | undefined) => u32s(100, hwpt ?? 0);
    program.refused("EINVAL", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, check(one));
    program.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(two ?? 0));
    program.ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(0));
    program.ok(abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, check(one));
    program.ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(one));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(0));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(two));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(program.ioas));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(99));
    program.refused("EBUSY", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, check(one));
    program.ok(abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, check(two));
    program.ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(two));
    program.ok(abi.IOMMU_TEST_OP_PASID_DETACH, stdev, u32s(100));
    program.ok(abi.IOMMU_TEST_OP_PASID_DETACH, stdev, u32s(100));
    program.ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, check(0));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, check(two));
  });

  test("a PASID beyond the device's is EINVAL, an unknown table ENOENT", () => {
    const { stdev, idev } = program.mock();
    const hwpt = program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas, flags });
    program.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(hwpt));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1, hwpt));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1 << 20, hwpt));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1 << 20, 99));
    program.ok(abi.IOMMU_TEST_OP_PASID_DETACH, stdev, u32s(1 << 20));
  });

  test("PASID 1024 fails its second table once, and keeps the first", () => {
    const { stdev, idev } = program.mock(program.ioas, abi.MOCK_FLAGS_DEVICE_PASID);
    const [one, two] = [0, 1].map(() =>
      program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas, flags }),
    );
    program.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(two ?? 0));
    program.ok(abi.IOMMU_TEST_OP_PASID_ATTACH, stdev, u32s(1024, one ?? 0));
    program.refused("ENOMEM", abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, u32s(1024, two ?? 0));
    program.ok(abi.IOMMU_TEST_OP_PASID_CHECK_HWPT, stdev, u32s(1024, one ?? 0));
    program.ok(abi.IOMMU_TEST_OP_PASID_REPLACE, stdev, u32s(1024, two ?? 0));
  });
});

describe("looking behind the interface", () => {
  test("MD_CHECK_MAP compares what is mapped with what the caller has now", () => {
    const { hwpt } = program.mock();
    const va = program.map(4);
    const check = (iova: bigint, length: bigint, uptr: bigint) => u64s(iova, length, uptr);
    program.ok(abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, 4n * PAGE, va));
    program.ok(abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA + 2048n, 2048n, va + 2048n));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, va + PAGE));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, 2048n, va + 2048n));
    program.refused(
      "EINVAL",
      abi.IOMMU_TEST_OP_MD_CHECK_MAP,
      hwpt,
      check(IOVA + 4n * PAGE, PAGE, va),
    );
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA + 1n, PAGE, va));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, va + 1n));
    program.refused(
      "EINVAL",
      abi.IOMMU_TEST_OP_MD_CHECK_MAP,
      hwpt,
      check(IOVA, 2n ** 64n - PAGE, va),
    );
    program.refused("EFAULT", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, PAGE));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_MD_CHECK_MAP, program.ioas, check(IOVA, PAGE, va));
    program.process.memory.firstFrame++;
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_MAP, hwpt, check(IOVA, PAGE, va));
  });

  test("MD_CHECK_REFS counts pins of every context; large pages are not counted", () => {
    const va = program.map(2);
    const check = (length: bigint, uptr: bigint, refs: number) => (view: DataView) =>
      abi.encodeIommuTestCmdCheckRefs({ length, uptr, refs }, view);
    program.ok(abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 0));
    program.mock();
    program.mock();
    program.ok(abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 1));
    program.refused("EIO", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 2));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2048n, va, 1));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(PAGE, va + 2048n, 1));
    program.refused("EFAULT", abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(PAGE, PAGE, 1));
    program.process.memory.pinsOf = () => undefined as unknown as number;
    program.ok(abi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, check(2n * PAGE, va, 7));
  });

  test("ADD_RESERVED keeps addresses free for good", () => {
    program.refused("EINVAL", abi.IOMMU_TEST_OP_ADD_RESERVED, program.ioas, u64s(0n, 0n));
    program.refused(
      "EOVERFLOW",
      abi.IOMMU_TEST_OP_ADD_RESERVED,
      program.ioas,
      u64s(PAGE, 2n ** 64n - 1n),
    );
    program.refused("ENOENT", abi.IOMMU_TEST_OP_ADD_RESERVED, 99, u64s(0n, PAGE));
    program.ok(abi.IOMMU_TEST_OP_ADD_RESERVED, program.ioas, u64s(0n, PAGE));
    program.ok(abi.IOMMU_TEST_OP_ADD_RESERVED, program.ioas, u64s(0n, 2n * PAGE));
    assert.deepEqual(program.iommufd.ioasIovaRanges(program.ioas).ranges, [
      { first: 2n * PAGE, last: 2n ** 64n - 1n },
    ]);
    program.map(1);
    program.refused("EADDRINUSE", abi.IOMMU_TEST_OP_ADD_RESERVED, program.ioas, u64s(IOVA, PAGE));
  });

  test("SET_TEMP_MEMORY_LIMIT takes 12 bytes or more", () => {
    program.ok(abi.IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, 0, u32s(12));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, 0, u32s(11));
  });

  test("DIRTY marks pages by the caller's bitmap", () => {
    const { stdev, idev } = program.mock();
    const hwpt = program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas, flags: 2 });
    program.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(hwpt));
    program.map(4);
    const bitmap = program.process.memory.alloc(8);
    program.process.memory.setU64(bitmap, 0b1010n);
    const dirty =
      (size: bigint, length = 4n * PAGE, uptr = bitmap) =>
      (view: DataView) =>
        abi.encodeIommuTestCmdDirty(
          { flags: 0, iova: IOVA, length, page_size: size, uptr, out_nr_dirty: 0n },
          view,
        );
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE));
    program.iommufd.hwptSetDirtyTracking(hwpt, 1);
    const view = program.ok(abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE));
    assert.equal(view.getBigUint64(56, true), 2n);
    const found = new Uint8Array(1);
    const range = { hwptId: hwpt, iova: IOVA, length: 4n * PAGE, pageSize: PAGE };
    program.iommufd.hwptGetDirtyBitmap({ ...range, bitmap: found });
    assert.equal(found[0], 0b1010);
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(0n));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE, PAGE + 1n));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE, PAGE, 0n));
    program.refused("EFAULT", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(PAGE, PAGE, PAGE));
    program.refused("EOVERFLOW", abi.IOMMU_TEST_OP_DIRTY, hwpt, dirty(1n, 2n ** 27n + 1n));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_DIRTY, program.ioas, dirty(PAGE));
  });

  test("slots of nested tables and of devices are compared", () => {
    const { idev, stdev, hwpt } = program.mock();
    const parent = program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas, flags: 1 });
    const bytes = new DataView(new ArrayBuffer(4));
    bytes.setUint32(0, abi.IOMMU_TEST_IOTLB_DEFAULT, true);
    const data = { type: abi.IOMMU_HWPT_DATA_SELFTEST, bytes };
    const nested = program.iommufd.hwptAlloc({ devId: idev, ptId: parent, data });
    const value = abi.IOMMU_TEST_IOTLB_DEFAULT;
    program.ok(abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, nested, u32s(3, value));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, nested, u32s(4, value));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, nested, u32s(3, 1));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_MD_CHECK_IOTLB, hwpt, u32s(3, value));
    program.ok(abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, idev, u32s(0, abi.IOMMU_TEST_DEV_CACHE_DEFAULT));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, idev, u32s(4, 0));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, idev, u32s(0, 0));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_DEV_CHECK_CACHE, stdev, u32s(0, 0));
  });

  test("page faults and events are what the device would send", () => {
    const { stdev, idev } = program.mock();
    const queue = program.iommufd.faultQueueAlloc();
    const fill = u32s(idev, 0, 5, 3, 0x5000);
    program.refused("ENOENT", abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, u32s(stdev));
    program.ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, fill);
    const hwpt = program.iommufd.hwptAlloc({
      devId: idev,
      ptId: program.ioas,
      flags: 4,
      faultId: queue.id,
    });
    program.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(hwpt));
    program.ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, fill);
    program.ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, u32s(idev, 1 << 20));
    const [fault, ...others] = queue.read(10);
    assert.deepEqual(others, []);
    assert.deepEqual(
      [fault?.flags, fault?.devId, fault?.groupId, fault?.perm, fault?.address],
      [2, idev, 5, 3, 0x5000n],
    );
    program.refused("ENOENT", abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(idev));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(stdev));
  });

  test("an event of a device in a vIOMMU carries its number there", () => {
    const { stdev, idev } = program.mock();
    const parent = program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas, flags: 1 });
    const type = abi.IOMMU_VIOMMU_TYPE_SELFTEST;
    const viommu = program.iommufd.viommuAlloc({ type, devId: idev, hwptId: parent });
    program.iommufd.vdeviceAlloc({ viommuId: viommu.id, devId: idev, virtualId: 0x99n });
    const data = { type: abi.IOMMU_HWPT_DATA_SELFTEST, bytes: new DataView(new ArrayBuffer(4)) };
    const nested = program.iommufd.hwptAlloc({ devId: idev, ptId: viommu.id, data });
    program.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, u32s(nested));
    program.refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(idev));
    const events = abi.IOMMU_VEVENTQ_TYPE_SELFTEST;
    const queue = program.iommufd.veventqAlloc({ viommuId: viommu.id, type: events, depth: 2 });
    program.ok(abi.IOMMU_TEST_OP_TRIGGER_VEVENT, 0, u32s(idev));
    assert.notEqual(queue, undefined);
  });
});

describe("Linux 6.12", () => {
  beforeEach(() => {
    program = new TestProgram({ kernel: "6.12" });
  });

  test("an invalidation of a paging table finds no table", () => {
    const { hwpt } = program.mock();
    const bytes = new Uint8Array(abi.SIZEOF_IOMMU_HWPT_INVALIDATE);
    const invalidate = (dataAt: bigint): number => {
      const given = { size: bytes.length, hwpt_id: hwpt, data_uptr: dataAt, data_type: 0xdeadbeef };
      const entries = { entry_len: 8, entry_num: 1, __reserved: 0 };
      abi.encodeIommuHwptInvalidate({ ...given, ...entries }, new DataView(bytes.buffer));
      return program.call.ioctlBytes(program.file, abi.IOMMU_HWPT_INVALIDATE, bytes);
    };
    assert.equal(invalidate(0n), -ERRNO.EINVAL);
    assert.equal(invalidate(program.process.memory.alloc(8)), -ERRNO.ENOENT);
    assert.equal(new DataView(bytes.buffer).getUint32(24, true), 0);
    program = new TestProgram();
    program.mock();
    assert.equal(invalidate(program.process.memory.alloc(8)), -ERRNO.EINVAL);
  });

  test("knows the first fifteen operations", () => {
    for (const op of [16, 17, 18, 22, 23]) program.refused("EOPNOTSUPP", op, 0);
    program.ok(abi.IOMMU_TEST_OP_TRIGGER_IOPF, 0, u32s(program.mock().idev));
  });

  test("large pages are a property of the device, PASIDs are not there", () => {
    const { hwpt } = program.mock(program.ioas, 2);
    const table = program.iommufd.hwpt(hwpt);
    assert.equal(table?.kind === "hwpt-paging" && table.domain.pageSizes, 0x100800n);
    program.refused("EINVAL", abi.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, program.ioas, u32s(0, 0, 0, 4));
    const { idev } = program.mock();
    const bytes = new DataView(new ArrayBuffer(8));
    const data = { type: abi.IOMMU_HWPT_DATA_SELFTEST, bytes };
    const alloc = (args: object) => () =>
      program.iommufd.hwptAlloc({ devId: idev, ptId: program.ioas, ...args });
    assert.throws(alloc({ flags: 8 }), { code: "EOPNOTSUPP" });
    assert.throws(alloc({ data }), { code: "EOPNOTSUPP" });
    const parent = alloc({ flags: 1 })();
    assert.throws(alloc({ ptId: parent, data }), { code: "EINVAL" });
    alloc({ ptId: parent, data: { ...data, bytes: new DataView(new ArrayBuffer(4)) } })();
    const viommu = { type: abi.IOMMU_VIOMMU_TYPE_SELFTEST, devId: idev, hwptId: parent };
    assert.throws(() => program.iommufd.viommuAlloc(viommu), { code: "EOPNOTSUPP" });
  });
});
