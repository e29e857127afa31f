/** Containers: type, ownership of whole groups, and the mapping rules of type1 in both versions. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { device, refused, type TestSystemOptions } from "../../test/support/iommufd.js";
import { VfioTestSystem } from "../../test/support/vfio.js";
import { U64_MAX, VfioExtension, VfioMapFlag, VfioUnmapFlag } from "../iommufd/index.js";
import { TYPE1_MAPPINGS_MAX } from "./index.js";

const PAGE = 4096n;
const RW = VfioMapFlag.read | VfioMapFlag.write;
const A = device(0);
const B = device(1);
const C = device(2);
const BASE = 0x1000_0000n;

function setUp(options: TestSystemOptions = {}) {
  const system = new VfioTestSystem({ groups: [[0, 1]], ...options });
  const container = system.container();
  const group = system.groups.of(A);
  group.open();
  return { system, container, group };
}

function ready(type: number = VfioExtension.type1v2, options: TestSystemOptions = {}) {
  const made = setUp(options);
  made.group.setContainer(made.container);
  made.container.setIommu(type);
  return made;
}

const domainOf = (system: VfioTestSystem, bdf = A) => system.driver.attached(bdf, undefined);
const map = (page: bigint, pages: bigint) => ({
  flags: RW,
  vaddr: 0x10_0000n + page * PAGE,
  iova: BASE + page * PAGE,
  size: pages * PAGE,
});
const range = (page: bigint, pages: bigint) => ({ iova: BASE + page * PAGE, size: pages * PAGE });

describe("VFIO_SET_IOMMU", () => {
  it("is refused without a group, twice, and for other types", () => {
    const { container, group } = setUp();
    refused(() => container.setIommu(VfioExtension.type1v2), "EINVAL");
    refused(() => container.mapDma(map(0n, 1n)), "EINVAL");
    refused(() => container.unmapDma(range(0n, 1n)), "EINVAL");
    group.setContainer(container);
    refused(() => group.openDevice(A), "EINVAL");
    refused(() => container.setIommu(VfioExtension.nesting), "ENODEV");
    container.setIommu(VfioExtension.type1);
    refused(() => container.setIommu(VfioExtension.type1), "EINVAL");
    refused(() => group.setContainer(container), "EINVAL");
  });

  it("attaches every device of the group, opened or not, under both rule sets", () => {
    for (const rules of ["device-centric", "linux-7.2"] as const) {
      const { system, container } = ready(VfioExtension.type1v2, { rules });
      assert.equal(domainOf(system)?.kind, "paging");
      assert.equal(domainOf(system, B), domainOf(system));
      container.mapDma(map(0n, 2n));
      const domain = domainOf(system);
      assert.ok(domain?.kind === "paging");
      assert.notEqual(domain.translate(Number(BASE >> BigInt(domain.granuleShift))), undefined);
    }
  });

  it("leaves nothing attached when one device cannot be", () => {
    const { system, container, group } = setUp({ device: { isolatedMsi: false } });
    group.setContainer(container);
    refused(() => container.setIommu(VfioExtension.type1v2), "EPERM");
    assert.equal(container.hasIommu, false);
    assert.equal(domainOf(system)?.kind, "blocked");
    system.allowUnsafeInterrupts = true;
    container.setIommu(VfioExtension.type1v2);
    assert.equal(domainOf(system)?.kind, "paging");
  });
});

describe("VFIO_CHECK_EXTENSION", () => {
  it("has neither nesting, new addresses, nor coherency that page tables do not force", () => {
    const { container, group } = setUp();
    const has = () => [1, 2, 3, 4, 6, 8, 9, 10, 77].filter((n) => container.checkExtension(n));
    assert.deepEqual(has(), [1, 3, 9]);
    group.setContainer(container);
    container.setIommu(VfioExtension.type1v2);
    assert.deepEqual(has(), [1, 3, 9], "page tables of the mock do not force coherency");
  });
});

describe("a container and its groups", () => {
  it("owns them whole: no kernel driver and no other owner in them", () => {
    const { system, container, group } = setUp();
    system.ownership.claimForKernel(B);
    refused(() => group.setContainer(container), "EPERM");
    assert.equal(group.container, undefined);
    system.ownership.releaseForKernel(B);
    group.setContainer(container);
    assert.equal(domainOf(system, B)?.kind, "blocked");
    refused(() => system.ownership.claimForKernel(B), "EBUSY");
    const fd = system.open();
    refused(() => fd.bind({ dma: system.dma(1) }), "EPERM");
    group.unsetContainer();
    assert.equal(domainOf(system), undefined, "the kernel's own again");
    const held = fd.bind({ dma: system.dma(1) });
    refused(() => group.setContainer(container), "EPERM");
    fd.unbind(held);
    group.setContainer(container);
  });

  it("share one address space, which goes with the last of them", () => {
    const { system, container, group } = ready();
    container.mapDma(map(0n, 3n));
    const second = system.groups.of(C);
    second.open();
    second.setContainer(container);
    assert.equal(domainOf(system, C), domainOf(system));
    assert.equal(container.groups.length, 2);
    group.unsetContainer();
    assert.equal(domainOf(system, C)?.kind, "paging");
    assert.equal(system.process.memory.pinned, 3);
    second.close();
    assert.equal(container.hasIommu, false);
    assert.equal(system.process.memory.pinned, 0);
    assert.equal(system.process.processLocked.charged, 0);
  });

  it("leave a group out whose reserved addresses are mapped, with EINVAL", () => {
    const { system, container } = ready();
    container.mapDma(map(0n, 4n));
    const span = { first: BASE + PAGE, last: BASE + PAGE + 0xfffn };
    system.driver.addDevice(C, { reserved: [{ span, kind: "reserved" }] });
    const second = system.groups.of(C);
    second.open();
    refused(() => second.setContainer(container), "EINVAL");
    assert.equal(second.container, undefined);
    assert.equal(system.ownership.ownerOf(C), undefined);
    container.unmapDma(range(0n, 4n));
    second.setContainer(container);
    refused(() => container.mapDma(map(0n, 4n)), "EINVAL");
  });
});

describe("VFIO_IOMMU_MAP_DMA", () => {
  it("refuses in the kernel's order", () => {
    const { container } = ready();
    const good = map(0n, 2n);
    refused(() => container.mapDma({ ...good, flags: RW | VfioMapFlag.vaddr, size: 0n }), "EINVAL");
    refused(() => container.mapDma({ ...good, size: 0n }), "EINVAL");
    const wraps = { ...good, flags: 0, size: 2n * PAGE };
    refused(() => container.mapDma({ ...wraps, iova: U64_MAX - PAGE }), "EOVERFLOW");
    refused(() => container.mapDma({ ...wraps, vaddr: U64_MAX - PAGE }), "EOVERFLOW");
    refused(() => container.mapDma(wraps), "EINVAL");
    for (const field of ["iova", "vaddr", "size"] as const) {
      refused(() => container.mapDma({ ...good, [field]: good[field] + 2048n }), "EINVAL");
    }
    container.mapDma(good);
    refused(() => container.mapDma(map(1n, 4n)), "EEXIST");
    refused(() => container.mapDma({ ...good, iova: 0n }), "EINVAL");
    refused(() => container.mapDma({ ...map(8n, 1n), vaddr: 2n ** 52n }), "EFAULT");
  });

  it("charges the process, and takes a limited number of mappings", () => {
    const { system, container } = ready();
    system.process.processLocked.limit = 4;
    container.mapDma(map(0n, 3n));
    refused(() => container.mapDma(map(4n, 2n)), "ENOMEM");
    assert.equal(system.process.userLocked.charged, 0);
    system.process.processLocked.limit = Number.POSITIVE_INFINITY;
    for (let n = 1; n < TYPE1_MAPPINGS_MAX; n++) container.mapDma(map(BigInt(n) * 4n, 1n));
    refused(() => container.mapDma(map(3n, 1n)), "ENOSPC");
    refused(() => container.mapDma(map(2n, 1n)), "EEXIST");
    assert.equal(container.unmapDma(range(4n, 1n)), PAGE);
    container.mapDma(map(3n, 1n));
  });
});

describe("VFIO_IOMMU_UNMAP_DMA", () => {
  it("refuses what is malformed; nothing mapped is no error", () => {
    const { container } = ready();
    const { all, dirtyBitmap } = VfioUnmapFlag;
    refused(() => container.unmapDma({ flags: dirtyBitmap, ...range(0n, 1n) }), "EINVAL");
    refused(() => container.unmapDma(range(0n, 0n)), "EINVAL");
    refused(() => container.unmapDma({ iova: BASE + 1n, size: PAGE }), "EINVAL");
    refused(() => container.unmapDma({ iova: BASE, size: 100n }), "EINVAL");
    refused(() => container.unmapDma({ iova: U64_MAX - 0xfffn, size: 2n * PAGE }), "EOVERFLOW");
    refused(() => container.unmapDma({ flags: all, iova: 0n, size: PAGE }), "EINVAL");
    assert.equal(container.unmapDma(range(0n, 5n)), 0n);
    assert.equal(container.unmapDma({ flags: all, iova: 0n, size: 0n }), 0n);
    container.mapDma(map(0n, 2n));
    assert.equal(container.unmapDma({ flags: all, iova: 0n, size: 0n }), 2n * PAGE);
  });

  it("type1v2 refuses to cut, and then removes nothing", () => {
    const { container } = ready();
    container.mapDma(map(0n, 2n));
    container.mapDma(map(2n, 4n));
    refused(() => container.unmapDma(range(0n, 4n)), "EINVAL");
    refused(() => container.unmapDma(range(3n, 8n)), "EINVAL");
    refused(() => container.unmapDma(range(1n, 1n)), "EINVAL");
    assert.equal(container.unmapDma(range(0n, 9n)), 6n * PAGE);
  });

  it("type1 takes mappings whole that begin in the range, and leaves one that began before", () => {
    const { container } = ready(VfioExtension.type1);
    container.mapDma(map(0n, 2n));
    container.mapDma(map(2n, 4n));
    assert.equal(container.unmapDma(range(3n, 8n)), 0n);
    assert.equal(container.unmapDma(range(1n, 1n)), 0n);
    assert.equal(container.unmapDma(range(0n, 3n)), 6n * PAGE);
    container.mapDma(map(0n, 4n));
    assert.equal(container.unmapDma(range(0n, 1n)), 4n * PAGE);
  });
});
