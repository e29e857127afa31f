/** Fault queues, nested tables, virtual IOMMUs and their queues, on the mock driver. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { device, refused, TestSystem } from "../../test/support/iommufd.js";
import type { DriverData, InvalidationEntries } from "../driver/index.js";
import {
  MOCK_HWPT_TYPE,
  MOCK_INVALIDATE_TYPE,
  MOCK_QUEUE_TYPE,
  MOCK_VIOMMU_TYPE,
  type MockNestedDomain,
} from "../driver/mock/index.js";
import { makePasid } from "../units/index.js";
import { EVENT_QUEUE_DEPTH_MAX, FaultPerm, HwptFlag, MapFlag, type VirtualEvent } from "./index.js";

const P5 = makePasid(5);
const FIXED = MapFlag.readable | MapFlag.writeable | MapFlag.fixedIova;
const BASE = 0x1000000n;
const IOTLB = 0xbadbeef;

function data(type: number, ...words: number[]): DriverData {
  const bytes = new DataView(new ArrayBuffer(words.length * 4));
  words.forEach((word, i) => {
    bytes.setUint32(i * 4, word, true);
  });
  return { type, bytes };
}

const nestedData = data(MOCK_HWPT_TYPE, IOTLB);

function entries(entryBytes: number, ...list: number[][]): InvalidationEntries {
  return {
    entryBytes,
    count: list.length,
    done: 0,
    entry: (i) => data(0, ...(list[i] ?? [])).bytes,
  };
}

function open() {
  const system = new TestSystem({ device: { maxPasids: 2 ** 20 } });
  const fd = system.open();
  const a = fd.bind({ dma: system.dma(0) });
  const ioasId = fd.ioasAlloc();
  const flags = HwptFlag.nestParent | HwptFlag.pasid;
  const parent = fd.hwptAlloc({ devId: a.id, ptId: ioasId, flags });
  return { system, fd, a, ioasId, parent };
}

describe("IOMMU_HWPT_ALLOC", () => {
  it("refuses in the kernel's order", () => {
    const { fd, a, ioasId, parent } = open();
    const good = { devId: a.id, ptId: ioasId };
    const alloc = (more: object) => () => fd.hwptAlloc({ ...good, ...more });
    refused(alloc({ data: data(MOCK_HWPT_TYPE), devId: 99 }), "EINVAL");
    refused(alloc({ data: data(0, 1) }), "EINVAL");
    refused(alloc({ devId: ioasId, ptId: 99 }), "ENOENT");
    refused(alloc({ ptId: 99 }), "EINVAL");
    refused(alloc({ ptId: a.id }), "EINVAL");
    refused(alloc({ flags: 0x100 }), "EOPNOTSUPP");
    const both = HwptFlag.nestParent | HwptFlag.faultIdValid;
    refused(alloc({ flags: both }), "EOPNOTSUPP");
    refused(alloc({ flags: HwptFlag.faultIdValid, faultId: 99 }), "ENOENT");
    refused(alloc({ data: data(1, 2) }), "EOPNOTSUPP");
    refused(alloc({ data: data(MOCK_HWPT_TYPE, 1, 7) }), "EOPNOTSUPP");
    refused(alloc({ data: data(MOCK_HWPT_TYPE, 1, 2, 3) }), "EINVAL");
    const nested = { ptId: parent, data: nestedData };
    refused(alloc({ ptId: parent }), "EOPNOTSUPP");
    refused(alloc({ ...nested, flags: HwptFlag.nestParent }), "EOPNOTSUPP");
    const plain = fd.hwptAlloc(good);
    refused(alloc({ ...nested, ptId: plain }), "EINVAL");
    const leaf = fd.hwptAlloc({ ...good, ...nested });
    refused(alloc({ ...nested, ptId: leaf }), "EINVAL");
    refused(() => fd.destroy(parent), "EBUSY");
    fd.destroy(leaf);
    fd.destroy(parent);
  });

  it("leaves no page table behind when it fails", () => {
    const { system, fd, a, ioasId } = open();
    const before = fd.state.objects.size;
    const faults = HwptFlag.faultIdValid;
    refused(() => fd.hwptAlloc({ devId: a.id, ptId: ioasId, flags: faults, faultId: 9 }), "ENOENT");
    assert.equal(system.driver.domains.filter((d) => !d.isFreed).length, 1);
    assert.equal(fd.state.objects.size, before);
  });
});

describe("IOMMU_GET_HW_INFO", () => {
  it("tells what the driver and the device can do", () => {
    const { fd, a } = open();
    const info = fd.hardwareInfo(a.id);
    assert.equal(info.hardware.type, 0xfeedbeef);
    assert.equal(info.maxPasidLog2, 20);
    assert.equal(info.capabilities, 9n);
    refused(() => fd.hardwareInfo(a.id, 3), "EOPNOTSUPP");
    refused(() => fd.hardwareInfo(99), "ENOENT");
  });
});

describe("fault queues", () => {
  function start() {
    const opened = open();
    const { fd, a, ioasId } = opened;
    const queue = fd.faultQueueAlloc();
    const flags = HwptFlag.faultIdValid | HwptFlag.pasid;
    const hwptId = fd.hwptAlloc({ devId: a.id, ptId: ioasId, flags, faultId: queue.id });
    const answers: number[] = [];
    const group = (groupId: number, count = 1) => ({
      groupId,
      faults: Array.from({ length: count }, (_, i) => ({
        perm: FaultPerm.read,
        address: BASE + BigInt(i),
      })),
      respond: (code: number) => void answers.push(code),
    });
    return { ...opened, queue, hwptId, answers, group };
  }

  it("give whole groups, one cookie each, lowest free first", () => {
    const { fd, a, queue, hwptId, answers, group } = start();
    fd.attach({ device: a, ptId: hwptId });
    fd.attach({ device: a, ptId: hwptId, pasid: P5 });
    assert.deepEqual(queue.read(10), []);
    assert.ok(fd.deliverFault(device(0), P5, group(1, 2)));
    assert.ok(fd.deliverFault(device(0), undefined, group(2)));
    refused(() => queue.read(1), "EINVAL");
    const [first, second] = queue.read(2);
    assert.deepEqual(
      [first?.flags, second?.flags, first?.pasid, first?.cookie, second?.cookie],
      [1, 3, 5, 1, 1],
    );
    const [third] = queue.read(5);
    assert.deepEqual([third?.flags, third?.cookie, third?.devId], [2, 2, a.id]);
    refused(() => queue.respond(1, 2), "EINVAL");
    refused(() => queue.respond(9, 0), "EINVAL");
    queue.respond(1, 0);
    refused(() => queue.respond(1, 0), "EINVAL");
    fd.deliverFault(device(0), P5, group(3));
    assert.equal(queue.read(1)[0]?.cookie, 1);
    queue.respond(2, 1);
    assert.deepEqual(answers, [0, 1]);
  });

  it("answer INVALID for an attachment that goes away (S28)", () => {
    const { fd, a, ioasId, queue, hwptId, answers, group } = start();
    fd.attach({ device: a, ptId: hwptId });
    fd.deliverFault(device(0), undefined, group(1));
    queue.read(1);
    fd.deliverFault(device(0), undefined, group(2));
    fd.replace({ device: a, ptId: ioasId });
    assert.deepEqual(answers, [1, 1]);
    refused(() => queue.respond(1, 0), "EINVAL");
    assert.equal(fd.deliverFault(device(0), undefined, group(3)), false, "nobody takes it");
    assert.equal(fd.deliverFault(device(0), P5, group(4)), false);
  });

  it("are busy while open or used", () => {
    const { fd, queue, hwptId } = start();
    refused(() => fd.destroy(queue.id), "EBUSY");
    queue.closeFile();
    queue.closeFile();
    refused(() => fd.destroy(queue.id), "EBUSY");
    fd.destroy(hwptId);
    fd.destroy(queue.id);
    refused(() => fd.faultQueueAlloc(1), "EOPNOTSUPP");
  });

  it("do not go on a virtual function that shares page requests", () => {
    const { system, fd, a, hwptId } = start();
    Object.assign(system.isolation, { sharesPageRequests: () => true });
    refused(() => fd.attach({ device: a, ptId: hwptId }), "EINVAL");
  });
});

describe("nested tables", () => {
  it("take invalidations until one is wrong, and count them", () => {
    const { fd, a, parent, ioasId } = open();
    const hwptId = fd.hwptAlloc({ devId: a.id, ptId: parent, data: nestedData });
    const domain = fd.hwpt(hwptId)?.domain as MockNestedDomain;
    const { iotlb } = domain;
    const dataType = MOCK_INVALIDATE_TYPE;
    const list = entries(8, [0, 1], [0, 3], [2, 0], [1, 0]);
    refused(() => fd.hwptInvalidate({ hwptId, dataType, entries: list }), "EOPNOTSUPP");
    assert.equal(list.done, 2);
    assert.deepEqual([...iotlb], [IOTLB, 0, IOTLB, 0]);
    const bad = entries(8, [1, 4]);
    refused(() => fd.hwptInvalidate({ hwptId, dataType, entries: bad }), "EINVAL");
    fd.hwptInvalidate({ hwptId, dataType, entries: entries(8, [1, 0]) });
    assert.deepEqual([...iotlb], [0, 0, 0, 0]);
    const call = (more: object) => () =>
      fd.hwptInvalidate({ hwptId, dataType, entries: entries(8, [0, 0]), ...more });
    refused(call({ dataType: 1 }), "EINVAL");
    refused(call({ hwptId: 99 }), "ENOENT");
    refused(call({ hwptId: ioasId }), "EINVAL");
    refused(call({ entries: entries(0, [0, 0]) }), "EINVAL");
    refused(call({ entries: entries(5000, [0, 0]) }), "EINVAL");
    refused(call({ entries: { ...entries(8), count: 2 ** 19 + 1 } }), "EINVAL");
    fd.hwptInvalidate({ hwptId, dataType, entries: entries(0) });
  });
});

describe("virtual IOMMUs", () => {
  function start() {
    const opened = open();
    const { fd, a, parent } = opened;
    const viommu = fd.viommuAlloc({ devId: a.id, hwptId: parent, type: MOCK_VIOMMU_TYPE });
    return { ...opened, viommu };
  }

  it("need a nesting parent and a type that the driver knows", () => {
    const { fd, a, ioasId, parent } = open();
    const good = { devId: a.id, hwptId: parent, type: MOCK_VIOMMU_TYPE };
    refused(() => fd.viommuAlloc({ ...good, flags: 1 }), "EOPNOTSUPP");
    refused(() => fd.viommuAlloc({ ...good, type: 0 }), "EOPNOTSUPP");
    refused(() => fd.viommuAlloc({ ...good, devId: 99 }), "ENOENT");
    refused(() => fd.viommuAlloc({ ...good, hwptId: ioasId }), "ENOENT");
    refused(() => fd.viommuAlloc({ ...good, type: 1 }), "EOPNOTSUPP");
    const plain = fd.hwptAlloc({ devId: a.id, ptId: ioasId });
    refused(() => fd.viommuAlloc({ ...good, hwptId: plain }), "EINVAL");
    refused(() => fd.viommuAlloc({ ...good, data: data(1, 5) }), "EINVAL");
    const viommu = fd.viommuAlloc({ ...good, data: data(1, 5, 0) });
    assert.equal(viommu.virtual.reply?.bytes.getUint32(4, true), 5);
    refused(() => fd.destroy(parent), "EBUSY");
    fd.destroy(viommu.id);
  });

  it("number each device once, and unbinding leaves a tombstone", () => {
    const { system, fd, a, viommu } = start();
    const b = fd.bind({ dma: system.dma(1) });
    const args = { viommuId: viommu.id, devId: a.id, virtualId: 0x99n };
    refused(() => fd.vdeviceAlloc({ ...args, viommuId: 99, devId: 98 }), "ENOENT");
    refused(() => fd.vdeviceAlloc({ ...args, devId: 98 }), "ENOENT");
    system.driver.addDevice(device(2), { instance: { label: "another" } });
    const far = fd.bind({ dma: system.dma(2) });
    refused(() => fd.vdeviceAlloc({ ...args, devId: far.id }), "EINVAL");
    const vdevice = fd.vdeviceAlloc(args);
    refused(() => fd.vdeviceAlloc({ ...args, virtualId: 1n }), "EEXIST");
    refused(() => fd.vdeviceAlloc({ ...args, devId: b.id }), "EEXIST");
    refused(() => fd.destroy(viommu.id), "EBUSY");
    fd.unbind(a);
    refused(() => fd.destroy(vdevice.id), "ENOENT");
    fd.vdeviceAlloc({ ...args, devId: b.id });
    const ids = [fd.ioasAlloc(), fd.ioasAlloc()];
    assert.ok(!ids.includes(vdevice.id), "its id is not used again");
    fd.close();
    assert.equal(fd.state.objects.size, 2, "both tombstones stay until the context is gone");
  });

  it("attach nested tables only for numbered devices, and invalidate their caches", () => {
    const { system, fd, a, viommu } = start();
    const ptId = fd.hwptAlloc({ devId: a.id, ptId: viommu.id, data: nestedData });
    refused(() => fd.attach({ device: a, ptId }), "ENOENT");
    fd.vdeviceAlloc({ viommuId: viommu.id, devId: a.id, virtualId: 7n });
    fd.attach({ device: a, ptId });
    const dataType = MOCK_INVALIDATE_TYPE;
    const hwptId = viommu.id;
    fd.hwptInvalidate({ hwptId, dataType, entries: entries(12, [0, 7, 2]) });
    const cache = system.driver.cacheOf(device(0));
    assert.deepEqual([...cache], [0xbaddad, 0xbaddad, 0, 0xbaddad]);
    const wrong = entries(12, [0, 8, 2]);
    refused(() => fd.hwptInvalidate({ hwptId, dataType, entries: wrong }), "EINVAL");
  });

  it("queue events with numbers, and say which were lost", () => {
    const { fd, a, viommu } = start();
    const args = { viommuId: viommu.id, type: 0xbeef, depth: 2 };
    refused(() => fd.veventqAlloc({ ...args, flags: 1 }), "EOPNOTSUPP");
    refused(() => fd.veventqAlloc({ ...args, type: 0 }), "EOPNOTSUPP");
    refused(() => fd.veventqAlloc({ ...args, depth: 0 }), "EINVAL");
    refused(() => fd.veventqAlloc({ ...args, depth: EVENT_QUEUE_DEPTH_MAX + 1 }), "EINVAL");
    refused(() => fd.veventqAlloc({ ...args, viommuId: 99 }), "ENOENT");
    const event = (type = 0xbeef): void =>
      fd.deliverVirtualEvent(a.id, type, (id) => Uint8Array.of(Number(id), 0, 0, 0));
    refused(event, "ENOENT");
    fd.vdeviceAlloc({ viommuId: viommu.id, devId: a.id, virtualId: 7n });
    const ptId = fd.hwptAlloc({ devId: a.id, ptId: viommu.id, data: nestedData });
    fd.attach({ device: a, ptId });
    refused(event, "EOPNOTSUPP");
    const queue = fd.veventqAlloc(args);
    refused(() => fd.veventqAlloc(args), "EEXIST");
    refused(() => fd.destroy(queue.id), "EBUSY");
    assert.deepEqual(queue.read(100), []);
    for (let i = 0; i < 4; i++) event();
    refused(() => queue.read(7), "EINVAL");
    refused(() => queue.read(11), "EINVAL");
    const seen = (list: VirtualEvent[]) => list.map((e) => [e.sequence, e.data?.[0] ?? "lost"]);
    assert.deepEqual(seen(queue.read(12)), [[0, 7]]);
    event();
    assert.deepEqual(seen(queue.read(100)), [
      [1, 7],
      [4, 7],
    ]);
    for (let i = 0; i < 3; i++) event();
    assert.deepEqual(seen(queue.read(100)), [
      [5, 7],
      [6, 7],
      [7, "lost"],
    ]);
    assert.equal(queue.unread, 0);
    queue.closeFile();
    fd.destroy(queue.id);
  });
});

describe("hardware queues", () => {
  it("lock the memory that they read from", () => {
    const { fd, a, ioasId, parent } = open();
    const viommu = fd.viommuAlloc({ devId: a.id, hwptId: parent, type: MOCK_VIOMMU_TYPE });
    const good = {
      viommuId: viommu.id,
      type: MOCK_QUEUE_TYPE,
      index: 0,
      iova: BASE,
      length: 0x2000n,
    };
    refused(() => fd.hwQueueAlloc({ ...good, flags: 1 }), "EOPNOTSUPP");
    refused(() => fd.hwQueueAlloc({ ...good, length: 0n }), "EINVAL");
    refused(() => fd.hwQueueAlloc({ ...good, length: 2n ** 64n - 1n }), "EOVERFLOW");
    refused(() => fd.hwQueueAlloc({ ...good, viommuId: 99 }), "ENOENT");
    refused(() => fd.hwQueueAlloc({ ...good, type: 1 }), "EOPNOTSUPP");
    refused(() => fd.hwQueueAlloc(good), "ENOENT");
    fd.ioasMap({ ioasId, flags: FIXED, userVa: 0n, length: 0x1000n, iova: BASE });
    const apart = { ioasId, flags: FIXED, userVa: 0x9000n, length: 0x1000n };
    fd.ioasMap({ ...apart, iova: BASE + 0x1000n });
    refused(() => fd.hwQueueAlloc(good), "EFAULT");
    const queue = fd.hwQueueAlloc({ ...good, length: 0x1000n });
    refused(() => fd.hwQueueAlloc({ ...good, length: 0x1000n }), "EEXIST");
    refused(() => fd.ioasUnmap(ioasId, BASE, 0x1000n), "EBUSY");
    const second = fd.hwQueueAlloc({ ...good, index: 1, iova: BASE + 0x1000n, length: 0x1000n });
    refused(() => fd.destroy(queue.id), "EBUSY");
    fd.destroy(second.id);
    refused(() => fd.destroy(viommu.id), "EBUSY");
    fd.destroy(queue.id);
    refused(() => fd.hwQueueAlloc({ ...good, index: 1, length: 0x1000n }), "EIO");
    fd.ioasUnmap(ioasId, BASE, 0x2000n);
    fd.destroy(viommu.id);
  });
});
