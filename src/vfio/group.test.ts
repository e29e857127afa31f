/** Groups: one opener, device files excluded and excluding, both kinds of container. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { device, refused, type TestSystemOptions } from "../../test/support/iommufd.js";
import { VfioTestSystem } from "../../test/support/vfio.js";
import { VfioExtension, VfioMapFlag } from "../iommufd/index.js";
import { makeBdf, makePasid } from "../units/index.js";

const RW = VfioMapFlag.read | VfioMapFlag.write;
const A = device(0);
const B = device(1);
const MAP = { flags: RW, vaddr: 0x10000n, iova: 0x1040000n, size: 0x2000n };

/** A and B in one group. */
function pair(options: TestSystemOptions = {}) {
  const system = new VfioTestSystem({ groups: [[0, 1]], ...options });
  return { system, group: system.groups.of(A) };
}

const domainOf = (system: VfioTestSystem, bdf = A) => system.driver.attached(bdf, undefined);

describe("the file of a group", () => {
  it("has one opener, and is one for all its devices", () => {
    const { system, group } = pair();
    assert.equal(system.groups.of(B), group);
    assert.notEqual(system.groups.of(device(2)), group);
    group.open();
    refused(() => group.open(), "EBUSY");
    group.close();
    group.open();
  });

  it("is there for devices of VFIO drivers only", () => {
    const { system, group } = pair();
    refused(() => system.groups.of(makeBdf(7, 0, 0, 0)), "ENODEV");
    system.withoutDriver.add(A);
    group.open();
    group.setContainer(system.open());
    refused(() => group.openDevice(A), "ENODEV");
    refused(() => group.openDevice(device(2)), "ENODEV");
    group.close();
    system.withoutDriver.add(B);
    refused(() => group.open(), "ENOENT");
  });

  it("serves nothing when it is closed", () => {
    const { system, group } = pair();
    refused(() => group.status(), "EBADF");
    refused(() => group.setContainer(system.container()), "EBADF");
    refused(() => group.unsetContainer(), "EBADF");
    refused(() => group.openDevice(A), "EBADF");
  });

  it("says whether others do DMA in the group", () => {
    const { system, group } = pair();
    group.open();
    assert.deepEqual(group.status(), { viable: true, containerSet: false });
    system.ownership.claimForKernel(B);
    assert.deepEqual(group.status(), { viable: false, containerSet: false });
    system.ownership.releaseForKernel(B);
    group.setContainer(system.container());
    assert.deepEqual(group.status(), { viable: true, containerSet: true });
  });
});

describe("the file of a device", () => {
  it("cannot be bound while the group is open, nor the group opened while it is bound", () => {
    const { system, group } = pair();
    const fd = system.open();
    group.open();
    const refusal = refused(
      () => group.bindByFile(B, () => fd.bind({ dma: system.dma(1) })),
      "EBUSY",
    );
    assert.match(refusal.cite ?? "", /vfio_df_block_group/);
    group.close();
    const bound = group.bindByFile(B, () => fd.bind({ dma: system.dma(1) }));
    const busy = refused(() => group.open(), "EBUSY");
    assert.deepEqual(busy.evidence, [{ kind: "bound-by-device-file", at: B }]);
    fd.unbind(bound);
    group.unbound(B);
    group.open();
  });

  it("that cannot be bound does not keep the group from being opened", () => {
    const { system, group } = pair();
    system.ownership.claimForKernel(A);
    const fd = system.open();
    refused(() => group.bindByFile(B, () => fd.bind({ dma: system.dma(1) })), "EPERM");
    group.open();
  });
});

describe("a group in a context", () => {
  it("gets a compatibility IOAS; devices are owned and attached as they are opened", () => {
    for (const rules of ["device-centric", "linux-7.2"] as const) {
      const { system, group } = pair({ rules });
      const fd = system.open();
      refused(() => fd.vfio.setIommu(VfioExtension.type1v2), "ENODEV");
      group.open();
      refused(() => group.openDevice(A), "EINVAL");
      group.setContainer(fd);
      refused(() => group.setContainer(fd), "EINVAL");
      fd.vfio.setIommu(VfioExtension.type1v2);
      fd.vfio.mapDma(MAP);
      assert.equal(system.ownership.ownerOf(A), undefined);
      const file = group.openDevice(A);
      assert.equal(system.ownership.ownerOf(A), fd.state.owner);
      assert.equal(domainOf(system), fd.ioas(fd.vfio.ioasId).hwpts[0]?.domain);
      const follows = rules === "linux-7.2" ? "paging" : "blocked";
      assert.equal(domainOf(system, B)?.kind, follows);
      refused(() => group.unsetContainer(), "EBUSY");
      file.close();
      file.close();
      assert.equal(system.ownership.ownerOf(A), undefined);
      group.unsetContainer();
      refused(() => group.unsetContainer(), "EINVAL");
    }
  });

  it("keeps the compatibility IOAS that it had; without one devices stay closed", () => {
    const { system, group } = pair();
    const fd = system.open();
    const mine = fd.ioasAlloc();
    fd.vfio.setIoas(mine);
    group.open();
    group.setContainer(fd);
    assert.equal(fd.vfio.ioasId, mine);
    fd.vfio.clearIoas();
    refused(() => group.openDevice(A), "ENODEV");
    assert.equal(system.ownership.ownerOf(A), undefined, "the bind was undone");
    assert.equal(group.status().containerSet, true);
  });

  it("passes the refusals of binding on", () => {
    const { system, group } = pair();
    const other = system.open();
    const held = other.bind({ dma: system.dma(1) });
    const fd = system.open();
    group.open();
    group.setContainer(fd);
    refused(() => group.openDevice(A), "EPERM");
    other.unbind(held);
    group.openDevice(A);
  });
});

describe("a device that was opened through its group", () => {
  it("has no address space of its own and no PASID", () => {
    const { system, group } = pair();
    const fd = system.open();
    group.open();
    group.setContainer(fd);
    const file = group.openDevice(A);
    refused(() => file.attach(), "ENOTTY");
    refused(() => file.bind(), "EINVAL");
    assert.deepEqual([...file.object.attachments.keys()], [undefined]);
    assert.equal(system.driver.attached(A, makePasid(1))?.kind, "blocked");
  });

  it("keeps the group open after its file was closed, until the last one closes", () => {
    const { system, group } = pair();
    const container = system.container();
    group.open();
    group.setContainer(container);
    container.setIommu(VfioExtension.type1v2);
    const first = group.openDevice(A);
    const second = group.openDevice(A);
    const third = group.openDevice(B);
    assert.equal(first.object, second.object);
    group.close();
    refused(() => group.open(), "EBUSY");
    first.close();
    third.close();
    assert.equal(domainOf(system)?.kind, "paging");
    second.close();
    assert.equal(group.isOpen, false);
    assert.equal(container.hasIommu, false);
    assert.equal(system.ownership.ownerOf(A), undefined);
    group.open();
  });

  it("is closed when the device is gone", () => {
    for (const inContext of [true, false]) {
      const { system, group } = pair();
      const container = inContext ? system.open() : system.container();
      group.open();
      group.setContainer(container);
      if (!inContext) (container as ReturnType<typeof system.container>).setIommu(3);
      group.openDevice(A);
      group.openDevice(B);
      group.forgetDevice(A);
      assert.equal(domainOf(system)?.kind, "blocked");
      assert.equal(domainOf(system, B)?.kind, "paging");
      refused(() => group.unsetContainer(), "EBUSY");
      group.forgetDevice(B);
      group.unsetContainer();
    }
  });
});
