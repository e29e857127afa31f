/** The calls of a VFIO container on a context: answers, errno, cutting. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused, TestMemory, TestProcess, TestSystem } from "../../test/support/iommufd.js";
import { MapFlag, U64_MAX, VfioExtension, VfioMapFlag, VfioUnmapFlag } from "./index.js";

const PAGE = 4096n;
const RW = VfioMapFlag.read | VfioMapFlag.write;

function open() {
  const system = new TestSystem();
  const caller = new TestProcess();
  const fd = system.open(caller);
  return { system, caller, fd, vfio: fd.vfio };
}

describe("the compatibility IOAS", () => {
  it("is got, set and cleared; without one the calls say ENODEV", () => {
    const { fd, vfio } = open();
    refused(() => vfio.ioasId, "ENODEV");
    refused(() => vfio.setIoas(7), "ENOENT");
    refused(() => vfio.setIommu(VfioExtension.type1v2), "ENODEV");
    refused(() => vfio.checkExtension(VfioExtension.dmaCacheCoherent), "ENODEV");
    const map = { flags: RW, vaddr: 0n, iova: 0n, size: PAGE };
    refused(() => vfio.mapDma(map), "ENODEV");
    refused(() => vfio.unmapDma({ iova: 0n, size: PAGE }), "ENODEV");
    assert.equal(fd.lastFailure?.cite, "Linux get_compat_ioas()");
    const id = fd.ioasAlloc();
    vfio.setIoas(id);
    assert.equal(vfio.ioasId, id);
    assert.equal(vfio.ensureIoas(), id);
    vfio.clearIoas();
    vfio.clearIoas();
    assert.notEqual(vfio.ensureIoas(), id);
  });

  it("is forgotten when it is destroyed, though its id lives on", () => {
    const { fd, vfio } = open();
    const id = vfio.ensureIoas();
    fd.destroy(id);
    assert.equal(fd.ioasAlloc(), id);
    refused(() => vfio.ioasId, "ENODEV");
  });
});

describe("extensions and types", () => {
  it("has type1, type1v2 and unmap-all; neither nesting nor new addresses", () => {
    const { vfio } = open();
    const has = [1, 2, 3, 5, 6, 7, 8, 9, 10, 99].filter((n) => vfio.checkExtension(n));
    assert.deepEqual(has, [1, 3, 9]);
    vfio.ensureIoas();
    assert.equal(vfio.checkExtension(VfioExtension.dmaCacheCoherent), true);
  });

  it("refuses other types first, and takes the same one again", () => {
    const { fd, vfio } = open();
    refused(() => vfio.setIommu(VfioExtension.nesting), "EINVAL");
    vfio.ensureIoas();
    vfio.setIommu(VfioExtension.type1v2);
    vfio.setIommu(VfioExtension.type1);
    assert.equal(fd.ioas(vfio.ioasId).space.largePages, false);
  });
});

describe("VFIO_IOMMU_MAP_DMA and VFIO_IOMMU_UNMAP_DMA", () => {
  it("map at the address given, with the permission given", () => {
    const { fd, vfio } = open();
    const id = vfio.ensureIoas();
    const map = { flags: RW, vaddr: 0x10000n, iova: 0x1040000n, size: 2n * PAGE };
    refused(() => vfio.mapDma({ ...map, flags: RW | VfioMapFlag.vaddr }), "EINVAL");
    vfio.mapDma({ ...map, flags: 0 });
    vfio.unmapDma({ iova: map.iova, size: map.size });
    vfio.mapDma(map);
    refused(() => vfio.mapDma({ ...map, iova: 0x1041000n }), "EEXIST");
    const copied = { srcIoasId: id, srcIova: 0x1040000n, dstIoasId: id, length: 2n * PAGE };
    fd.ioasCopy({ ...copied, flags: MapFlag.writeable });
    vfio.mapDma({ ...map, flags: VfioMapFlag.read, iova: 0x1050000n });
    const flags = MapFlag.writeable;
    refused(() => fd.ioasCopy({ ...copied, srcIova: 0x1050000n, flags }), "EPERM");
  });

  it("say nothing of empty ranges, and refuse what is malformed", () => {
    const { vfio } = open();
    vfio.ensureIoas();
    assert.equal(vfio.unmapDma({ iova: 0x1000n, size: PAGE }), 0n);
    const { all, vaddr } = VfioUnmapFlag;
    refused(() => vfio.unmapDma({ flags: vaddr, iova: 0n, size: PAGE }), "EINVAL");
    refused(() => vfio.unmapDma({ flags: all, iova: 0n, size: PAGE }), "EINVAL");
    refused(() => vfio.unmapDma({ iova: 0n, size: 0n }), "EINVAL");
    refused(() => vfio.unmapDma({ iova: U64_MAX, size: 2n }), "EOVERFLOW");
    vfio.mapDma({ flags: RW, vaddr: 0n, iova: 0n, size: PAGE });
    vfio.mapDma({ flags: RW, vaddr: 0n, iova: 8n * PAGE, size: 2n * PAGE });
    assert.equal(vfio.unmapDma({ flags: all, iova: 0n, size: 0n }), 3n * PAGE);
  });

  it("type1v2 does not cut a mapping", () => {
    const { vfio } = open();
    vfio.ensureIoas();
    vfio.setIommu(VfioExtension.type1v2);
    vfio.mapDma({ flags: RW, vaddr: 0n, iova: 0n, size: 4n * PAGE });
    refused(() => vfio.unmapDma({ iova: PAGE, size: PAGE }), "ENOENT");
    refused(() => vfio.unmapDma({ iova: 0n, size: PAGE }), "ENOENT");
    assert.equal(vfio.unmapDma({ iova: 0n, size: 8n * PAGE }), 4n * PAGE);
  });
});

describe("type1 cuts mappings", () => {
  it("in page tables and out of them, and gives every page back once", () => {
    for (const attached of [false, true]) {
      const { system, caller, fd, vfio } = open();
      const ioasId = vfio.ensureIoas();
      vfio.setIommu(VfioExtension.type1);
      const device = fd.bind({ dma: system.dma(0) });
      if (attached) fd.attach({ device, ptId: ioasId });
      vfio.mapDma({ flags: RW, vaddr: 0x10000n, iova: 0x1040000n, size: 8n * PAGE });
      assert.equal(vfio.unmapDma({ iova: 0x1042000n, size: 2n * PAGE }), 2n * PAGE);
      if (!attached) fd.attach({ device, ptId: ioasId });
      const { domain } = fd.ioas(ioasId).hwpts[0] ?? assert.fail("no page table");
      const frame = (iova: bigint) => domain.translate(Number(iova >> BigInt(domain.granuleShift)));
      assert.notEqual(frame(0x1041000n), undefined);
      assert.equal(frame(0x1042000n), undefined);
      assert.equal(frame(0x1043000n), undefined);
      assert.notEqual(frame(0x1044000n), undefined);
      assert.deepEqual([...caller.memory.pins.keys()].toSorted(), [16, 17, 20, 21, 22, 23]);
      assert.equal(vfio.unmapDma({ iova: 0x1045000n, size: 100n * PAGE }), 3n * PAGE);
      assert.equal(vfio.unmapDma({ flags: VfioUnmapFlag.all, iova: 0n, size: 0n }), 3n * PAGE);
      assert.equal(caller.memory.pinned, 0);
      assert.equal(caller.userLocked.charged, 0);
    }
  });

  it("that are shared, each page held while somebody shows it", () => {
    const { system, caller, fd, vfio } = open();
    const ioasId = vfio.ensureIoas();
    vfio.setIommu(VfioExtension.type1);
    const device = fd.bind({ dma: system.dma(0) });
    fd.attach({ device, ptId: ioasId });
    vfio.mapDma({ flags: RW, vaddr: 0x10000n, iova: 0x1040000n, size: 4n * PAGE });
    const place = { srcIoasId: ioasId, srcIova: 0x1040000n, dstIoasId: ioasId, length: 4n * PAGE };
    const flags = MapFlag.readable | MapFlag.fixedIova;
    fd.ioasCopy({ ...place, flags, dstIova: 0x1080000n });
    vfio.unmapDma({ iova: 0x1041000n, size: PAGE });
    assert.equal(caller.memory.pinned, 4);
    vfio.unmapDma({ iova: 0x1081000n, size: PAGE });
    assert.deepEqual([...caller.memory.pins.keys()].toSorted(), [16, 18, 19]);
    vfio.unmapDma({ flags: VfioUnmapFlag.all, iova: 0n, size: 0n });
    assert.equal(caller.memory.pinned, 0);
  });

  it("but not between bytes, under pins, of devices' memory, or when memory is short", () => {
    let permits = 1000;
    const system = new TestSystem({ allocations: { permit: () => permits-- > 0 } });
    const fd = system.open();
    const { vfio } = fd;
    const ioasId = vfio.ensureIoas();
    vfio.setIommu(VfioExtension.type1);
    vfio.mapDma({ flags: RW, vaddr: 0x10000n, iova: 0x1040000n, size: 4n * PAGE });
    refused(() => vfio.unmapDma({ iova: 0x1041800n, size: PAGE }), "EINVAL");
    assert.equal(vfio.unmapDma({ iova: 0x41800n, size: PAGE }), 0n);
    refused(() => vfio.unmapDma({ iova: 0x1041000n, size: 100n }), "EINVAL");
    const file = new TestMemory({ kind: "device", pages: 16 });
    const flags = MapFlag.readable | MapFlag.fixedIova;
    const place = { ioasId, flags, start: 0n, length: 4n * PAGE, iova: 0x1080000n };
    fd.ioasMapFile({ ...place, file, fileSize: 16n * PAGE });
    refused(() => vfio.unmapDma({ iova: 0x1081000n, size: PAGE }), "EOPNOTSUPP");
    permits = 0;
    refused(() => vfio.unmapDma({ iova: 0x1041000n, size: PAGE }), "ENOMEM");
    permits = 1000;
    const access = fd.createAccess({ pinsPages: true, unmap: () => {} });
    access.attach(fd.ioas(ioasId));
    access.pin(0x1040000n, PAGE);
    refused(() => vfio.unmapDma({ iova: 0x1041000n, size: PAGE }), "EINVAL");
    assert.equal(fd.ioas(ioasId).space.areas.size, 2, "nothing was cut");
  });
});
