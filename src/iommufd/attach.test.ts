/** Bind, attach, replace, detach: what the two rule sets say, and what stays after a refusal. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  device,
  refused,
  slicedDevice,
  softwareDevice,
  TestSystem,
  type TestSystemOptions,
} from "../../test/support/iommufd.js";
import type { Domain } from "../driver/index.js";
import { MOCK_HWPT_TYPE } from "../driver/mock/index.js";
import { makePasid } from "../units/index.js";
import { HwptFlag, type Iommufd, MapFlag } from "./index.js";

const RULES = ["device-centric", "linux-7.2"] as const;
const P5 = makePasid(5);
const FIXED = MapFlag.readable | MapFlag.writeable | MapFlag.fixedIova;
const WITH_PASID = { maxPasids: 2 ** 20 };

function open(options: TestSystemOptions = {}) {
  const system = new TestSystem(options);
  return { system, fd: system.open() };
}

function kindOf(system: TestSystem, n: number): string {
  return system.driver.attached(device(n), undefined)?.kind ?? "default";
}

function domainOf(fd: Iommufd, hwptId: number): Domain | undefined {
  return fd.hwpt(hwptId)?.domain;
}

const pasidTable = (fd: Iommufd, devId: number, ioasId: number): number =>
  fd.hwptAlloc({ devId, ptId: ioasId, flags: HwptFlag.pasid });

for (const rules of RULES) {
  describe(`binding under ${rules}`, () => {
    it("blocks the whole group, and gives it back after the last unbind", () => {
      const { system, fd } = open({ rules, groups: [[0, 1]] });
      const a = fd.bind({ dma: system.dma(0), cookie: 7n });
      assert.deepEqual([kindOf(system, 0), kindOf(system, 1)], ["blocked", "blocked"]);
      const b = fd.bind({ dma: system.dma(1) });
      fd.unbind(a);
      assert.deepEqual([kindOf(system, 0), kindOf(system, 1)], ["blocked", "blocked"]);
      fd.unbind(b);
      assert.deepEqual([kindOf(system, 0), kindOf(system, 1)], ["default", "default"]);
      assert.equal(fd.state.objects.size, 0);
    });

    it("refuses a second owner, and a kernel driver, and changes nothing", () => {
      const { system, fd } = open({ rules, groups: [[0, 1]] });
      fd.bind({ dma: system.dma(0) });
      const second = system.open();
      refused(() => second.bind({ dma: system.dma(1) }), "EPERM");
      refused(() => system.ownership.claimForKernel(device(1)), "EBUSY");
      assert.equal(second.state.objects.size, 0);
      system.ownership.claimForKernel(device(2));
      refused(() => fd.bind({ dma: system.dma(2) }), "EPERM");
      system.ownership.releaseForKernel(device(2));
      fd.bind({ dma: system.dma(2) });
    });

    it("refuses devices that are not coherent or whose interrupts are not isolated", () => {
      const { system, fd } = open({ rules });
      system.driver.addDevice(device(0), { cacheCoherent: false });
      refused(() => fd.bind({ dma: system.dma(0) }), "EINVAL");
      system.driver.addDevice(device(1), { isolatedMsi: false });
      refused(() => fd.bind({ dma: system.dma(1) }), "EPERM");
      system.allowUnsafeInterrupts = true;
      fd.bind({ dma: system.dma(1) });
    });

    it("refuses a device whose memory firmware keeps, but not a relaxable one", () => {
      const { system, fd } = open({ rules });
      const span = { first: 0x1000n, last: 0x1fffn };
      system.driver.addDevice(device(0), { reserved: [{ span, kind: "direct" }] });
      refused(() => fd.bind({ dma: system.dma(0) }), "EINVAL");
      assert.equal(kindOf(system, 0), "default");
      system.driver.addDevice(device(1), { reserved: [{ span, kind: "direct-relaxable" }] });
      fd.bind({ dma: system.dma(1) });
    });

    it("refuses the same device twice, and a device without a group", () => {
      const { system, fd } = open({ rules });
      fd.bind({ dma: system.dma(0) });
      refused(() => fd.bind({ dma: system.dma(0) }), "EBUSY");
      system.driver.addDevice(device(20));
      refused(() => fd.bind({ dma: system.dma(20) }), "ENODEV");
    });
  });

  describe(`attaching under ${rules}`, () => {
    it("makes an automatic page table, shares it, and drops it with the last detach", () => {
      const { system, fd } = open({ rules });
      const a = fd.bind({ dma: system.dma(0) });
      const b = fd.bind({ dma: system.dma(1) });
      const ptId = fd.ioasAlloc();
      const table = fd.attach({ device: a, ptId });
      assert.equal(fd.attach({ device: b, ptId }), table);
      assert.equal(system.driver.attached(device(0), undefined), domainOf(fd, table));
      refused(() => fd.attach({ device: a, ptId }), "EBUSY");
      refused(() => fd.destroy(table), "EBUSY");
      refused(() => fd.destroy(ptId), "EBUSY");
      refused(() => fd.destroy(a.id), "EBUSY");
      fd.detach(a);
      fd.detach(a);
      assert.equal(kindOf(system, 0), "blocked");
      fd.detach(b);
      assert.equal(fd.hwpt(table), undefined);
      fd.destroy(ptId);
      refused(() => fd.destroy(ptId), "ENOENT");
    });

    it("replaces straight, and refuses it for a device that is not attached", () => {
      const { system, fd } = open({ rules });
      const a = fd.bind({ dma: system.dma(0) });
      const one = fd.ioasAlloc();
      const two = fd.ioasAlloc();
      refused(() => fd.replace({ device: a, ptId: one }), "EINVAL");
      fd.attach({ device: a, ptId: one });
      const table = fd.replace({ device: a, ptId: two });
      assert.equal(system.driver.attached(device(0), undefined), domainOf(fd, table));
      assert.equal(fd.replace({ device: a, ptId: two }), table, "the same again is fine");
      fd.destroy(one);
      refused(() => fd.replace({ device: a, ptId: 99 }), "ENOENT");
      refused(() => fd.replace({ device: a, ptId: a.id }), "EINVAL");
      assert.equal(system.driver.attached(device(0), undefined), domainOf(fd, table));
    });

    it("reserves the device's addresses while it is attached", () => {
      const { system, fd } = open({ rules });
      const span = { first: 0xfee00000n, last: 0xfeefffffn };
      system.driver.addDevice(device(0), { reserved: [{ span, kind: "msi" }] });
      const a = fd.bind({ dma: system.dma(0) });
      const ptId = fd.ioasAlloc();
      const map = { ioasId: ptId, flags: FIXED, userVa: 0n, length: 4096n };
      fd.ioasMap({ ...map, iova: 0xfee01000n });
      refused(() => fd.attach({ device: a, ptId }), "EADDRINUSE");
      assert.equal(kindOf(system, 0), "blocked");
      fd.ioasUnmap(ptId, 0xfee01000n, 4096n);
      const [before] = fd.ioasIovaRanges(ptId).ranges;
      fd.attach({ device: a, ptId });
      refused(() => fd.ioasMap({ ...map, iova: 0xfee01000n }), "EINVAL");
      assert.equal(fd.ioasIovaRanges(ptId).ranges.length, 1, "above the aperture anyway");
      fd.detach(a);
      assert.deepEqual(fd.ioasIovaRanges(ptId).ranges, [before]);
      system.driver.addDevice(device(1), {
        reserved: [
          { span, kind: "msi" },
          { span: { first: 0x8000000n, last: 0x80fffffn }, kind: "sw-msi" },
        ],
      });
      const b = fd.bind({ dma: system.dma(1) });
      refused(() => fd.attach({ device: b, ptId }), "EINVAL");
    });

    it("keeps the old state when hardware refuses", () => {
      let fails = false;
      const allocations = { permit: (kind: string) => !(fails && kind === "attach") };
      const { system, fd } = open({ rules, allocations });
      const a = fd.bind({ dma: system.dma(0) });
      const one = fd.ioasAlloc();
      const two = fd.ioasAlloc();
      const table = fd.attach({ device: a, ptId: one });
      fails = true;
      refused(() => fd.replace({ device: a, ptId: two }), "ENOMEM");
      assert.equal(system.driver.attached(device(0), undefined), domainOf(fd, table));
      fails = false;
      fd.destroy(two);
    });

    it("needs page tables for PASIDs on both sides", () => {
      const { system, fd } = open({ rules, device: WITH_PASID });
      const a = fd.bind({ dma: system.dma(0) });
      const ptId = fd.ioasAlloc();
      const plain = fd.hwptAlloc({ devId: a.id, ptId });
      const table = pasidTable(fd, a.id, ptId);
      refused(() => fd.attach({ device: a, ptId: plain, pasid: P5 }), "EINVAL");
      fd.attach({ device: a, ptId: plain });
      refused(() => fd.attach({ device: a, ptId: table, pasid: P5 }), "EINVAL");
      fd.replace({ device: a, ptId: table });
      fd.attach({ device: a, ptId: table, pasid: P5 });
      refused(() => fd.replace({ device: a, ptId: plain }), "EINVAL");
      refused(() => fd.attach({ device: a, ptId: table, pasid: P5 }), "EBUSY");
      assert.deepEqual(system.driver.pasidsOf(device(0)), [P5]);
      fd.detach(a, P5);
      assert.deepEqual(system.driver.pasidsOf(device(0)), []);
    });

    it("refuses PASIDs that are too large or not there", () => {
      const { system, fd } = open({ rules, device: { maxPasids: 8 } });
      const a = fd.bind({ dma: system.dma(0) });
      const table = pasidTable(fd, a.id, fd.ioasAlloc());
      const large = makePasid(8);
      refused(() => fd.attach({ device: a, ptId: table, pasid: large }), "EINVAL");
      system.driver.addDevice(device(1));
      const b = fd.bind({ dma: system.dma(1) });
      refused(() => fd.attach({ device: b, ptId: table, pasid: P5 }), "EOPNOTSUPP");
    });

    it("refuses a table that tracks dirty pages on a device that cannot", () => {
      const { system, fd } = open({ rules });
      system.driver.addDevice(device(1), { dirtyTracking: false });
      const a = fd.bind({ dma: system.dma(0) });
      const b = fd.bind({ dma: system.dma(1) });
      const ptId = fd.ioasAlloc();
      const tracking = fd.hwptAlloc({ devId: a.id, ptId, flags: HwptFlag.dirtyTracking });
      refused(() => fd.attach({ device: b, ptId: tracking }), "EINVAL");
      const flags = HwptFlag.dirtyTracking;
      refused(() => fd.hwptAlloc({ devId: b.id, ptId, flags }), "EOPNOTSUPP");
    });

    it("detaches everything when the context closes", () => {
      const { system, fd } = open({ rules, device: WITH_PASID, groups: [[0, 1]] });
      const a = fd.bind({ dma: system.dma(0) });
      fd.bind({ dma: system.dma(1) });
      const ioasId = fd.ioasAlloc();
      const table = pasidTable(fd, a.id, ioasId);
      fd.attach({ device: a, ptId: table });
      fd.attach({ device: a, ptId: table, pasid: P5 });
      fd.close();
      assert.equal(fd.state.objects.size, 0);
      assert.equal(kindOf(system, 0), "default");
      assert.deepEqual(
        system.driver.domains.filter((d) => !d.isFreed),
        [],
      );
    });
  });
}

describe("members of one group with requester IDs of their own", () => {
  const groups = [[0, 1]];

  it("device-centric: each has its own address space (R2), and detaches alone", () => {
    const { system, fd } = open({ groups });
    const a = fd.bind({ dma: system.dma(0) });
    const b = fd.bind({ dma: system.dma(1) });
    const one = fd.attach({ device: a, ptId: fd.ioasAlloc() });
    assert.equal(kindOf(system, 1), "blocked", "the unattached member stays blocked");
    const two = fd.attach({ device: b, ptId: fd.ioasAlloc() });
    assert.notEqual(one, two);
    const moved = fd.replace({ device: a, ptId: fd.ioasAlloc() });
    assert.equal(system.driver.attached(device(0), undefined), domainOf(fd, moved));
    assert.equal(system.driver.attached(device(1), undefined), domainOf(fd, two));
    fd.detach(a);
    assert.equal(kindOf(system, 0), "blocked");
    assert.equal(kindOf(system, 1), "paging");
    assert.equal(fd.report(a.id).mustShare, false);
  });

  it("linux-7.2: the group moves as one", () => {
    const { system, fd } = open({ groups, rules: "linux-7.2" });
    const a = fd.bind({ dma: system.dma(0) });
    const b = fd.bind({ dma: system.dma(1) });
    const one = fd.ioasAlloc();
    fd.attach({ device: a, ptId: one });
    assert.equal(kindOf(system, 1), "paging", "the unattached member follows");
    refused(() => fd.attach({ device: b, ptId: fd.ioasAlloc() }), "EINVAL");
    fd.attach({ device: b, ptId: one });
    const moved = fd.replace({ device: a, ptId: fd.ioasAlloc() });
    assert.equal(system.driver.attached(device(1), undefined), domainOf(fd, moved));
    fd.detach(a);
    assert.equal(kindOf(system, 0), "paging", "hardware stays until the last detach");
    fd.detach(b);
    assert.deepEqual([kindOf(system, 0), kindOf(system, 1)], ["blocked", "blocked"]);
  });

  it("linux-7.2: a PASID is programmed on every member that has PASIDs", () => {
    const { system, fd } = open({ groups, rules: "linux-7.2", device: WITH_PASID });
    const a = fd.bind({ dma: system.dma(0) });
    const table = pasidTable(fd, a.id, fd.ioasAlloc());
    fd.attach({ device: a, ptId: table, pasid: P5 });
    assert.deepEqual(system.driver.pasidsOf(device(1)), [P5]);
    refused(() => fd.attach({ device: a, ptId: fd.ioasAlloc(), pasid: P5 }), "EINVAL");
  });

  it("device-centric: a PASID is that device's only, and an IOAS id will do", () => {
    const { system, fd } = open({ groups, device: WITH_PASID });
    const a = fd.bind({ dma: system.dma(0) });
    const b = fd.bind({ dma: system.dma(1) });
    const x = fd.attach({ device: a, ptId: fd.ioasAlloc(), pasid: P5 });
    assert.deepEqual(system.driver.pasidsOf(device(1)), []);
    const y = fd.attach({ device: b, ptId: fd.ioasAlloc(), pasid: P5 });
    assert.notEqual(x, y);
    assert.equal(system.driver.attached(device(0), P5), domainOf(fd, x));
  });
});

describe("an alias set (R3)", () => {
  const options = { groups: [[0, 1, 2]], aliasSets: [[0, 1]] };

  it("must share: a differing attach fails with the reason, the sibling keeps working", () => {
    const { system, fd } = open(options);
    const a = fd.bind({ dma: system.dma(0) });
    const b = fd.bind({ dma: system.dma(1) });
    const c = fd.bind({ dma: system.dma(2) });
    const one = fd.ioasAlloc();
    const other = fd.ioasAlloc();
    const table = fd.attach({ device: a, ptId: one });
    const refusal = refused(() => fd.attach({ device: b, ptId: other }), "EINVAL");
    assert.deepEqual(
      refusal.evidence.map((e) => (e as { kind: string }).kind),
      ["must-share", "alias-bridge"],
    );
    assert.equal(system.driver.attached(device(0), undefined), domainOf(fd, table));
    assert.equal(fd.attach({ device: b, ptId: one }), table);
    fd.attach({ device: c, ptId: other });
    assert.deepEqual(fd.report(b.id).aliasSet, [device(0), device(1)]);
    assert.equal(fd.report(b.id).mustShare, true);
    assert.equal(fd.report(c.id).mustShare, false);
    fd.detach(a);
    assert.equal(kindOf(system, 0), "paging", "attached until the last detach of the set");
    fd.detach(b);
    assert.deepEqual([kindOf(system, 0), kindOf(system, 1)], ["blocked", "blocked"]);
  });
});

describe("policy for PASIDs where ACS is off (R4)", () => {
  const window = { first: 0x10000000n, last: 0x1fffffffn };

  function start(rules?: "linux-7.2") {
    const opened = open({ groups: [[0, 1]], device: WITH_PASID, ...(rules && { rules }) });
    const { system, fd } = opened;
    const because = [{ kind: "path-acs-off", at: device(0), cite: "x" }] as const;
    system.paths.set(device(0), { ok: false, onlyPath: true, because });
    system.windows.set(device(0), [{ device: device(1), span: window }]);
    const a = fd.bind({ dma: system.dma(0), cookie: 3n });
    const ioasId = fd.ioasAlloc();
    return { ...opened, a, ioasId, table: pasidTable(fd, a.id, ioasId) };
  }

  it("refuses by default with each missing bit, and under linux-7.2 always", () => {
    const { fd, a, table } = start();
    const refusal = refused(() => fd.attach({ device: a, ptId: table, pasid: P5 }), "EINVAL");
    assert.deepEqual(refusal.evidence, fd.report(a.id).pasid.because);
    const linux = start("linux-7.2");
    linux.fd.setPolicy({ pasid: "raw" });
    const args = { device: linux.a, ptId: linux.table, pasid: P5 };
    refused(() => linux.fd.attach(args), "EINVAL");
  });

  it("exclude-windows reserves the peers' windows", () => {
    const { fd, a, ioasId, table } = start();
    fd.setPolicy({ pasid: "exclude-windows" });
    const map = { ioasId, flags: FIXED, userVa: 0n, length: 4096n, iova: window.first };
    fd.ioasMap(map);
    refused(() => fd.attach({ device: a, ptId: table, pasid: P5 }), "EADDRINUSE");
    fd.ioasUnmap(ioasId, window.first, 4096n);
    fd.attach({ device: a, ptId: table, pasid: P5 });
    refused(() => fd.ioasMap(map), "EINVAL");
    assert.deepEqual(fd.report(a.id).exposed, [], "nothing permitted is misrouted");
    fd.detach(a, P5);
    fd.ioasMap(map);
  });

  it("follows windows that change, or refuses the change", () => {
    const { system, fd, a, ioasId, table } = start();
    fd.attach({ device: a, ptId: table, pasid: P5, policy: { pasid: "exclude-windows" } });
    const map = { ioasId, flags: FIXED, userVa: 0n, length: 4096n };
    fd.ioasMap({ ...map, iova: 0x30000000n });
    const moved = { first: 0x30000000n, last: 0x3fffffffn };
    system.windows.set(device(0), [{ device: device(1), span: moved }]);
    refused(() => fd.updateWindows(), "EADDRINUSE");
    refused(() => fd.ioasMap({ ...map, iova: window.first }), "EINVAL");
    fd.ioasUnmap(ioasId, 0x30000000n, 4096n);
    fd.updateWindows();
    fd.ioasMap({ ...map, iova: window.first });
    refused(() => fd.ioasMap({ ...map, iova: 0x30000000n }), "EINVAL");
  });

  it("exclude-windows is not possible for a guest's own table", () => {
    const { fd, a, ioasId } = start();
    const flags = HwptFlag.nestParent | HwptFlag.pasid;
    const parent = fd.hwptAlloc({ devId: a.id, ptId: ioasId, flags });
    const data = { type: MOCK_HWPT_TYPE, bytes: new DataView(new ArrayBuffer(4)) };
    const ptId = fd.hwptAlloc({ devId: a.id, ptId: parent, flags: HwptFlag.pasid, data });
    const policy = { pasid: "exclude-windows" } as const;
    refused(() => fd.attach({ device: a, ptId, pasid: P5, policy }), "EOPNOTSUPP");
    fd.attach({ device: a, ptId, pasid: P5, policy: { pasid: "raw" } });
  });

  it("holds through replaces: into a guest's table, and when the policy changes", () => {
    const { fd, a, ioasId, table } = start();
    const flags = HwptFlag.nestParent | HwptFlag.pasid;
    const parent = fd.hwptAlloc({ devId: a.id, ptId: ioasId, flags });
    const data = { type: MOCK_HWPT_TYPE, bytes: new DataView(new ArrayBuffer(4)) };
    const nested = fd.hwptAlloc({ devId: a.id, ptId: parent, flags: HwptFlag.pasid, data });
    const on = { device: a, pasid: P5 };
    const excluded = { pasid: "exclude-windows" } as const;
    const raw = { pasid: "raw" } as const;
    const map = { ioasId, flags: FIXED, userVa: 0n, length: 4096n, iova: window.first };
    fd.attach({ ...on, ptId: table, policy: excluded });
    refused(() => fd.replace({ ...on, ptId: nested, policy: excluded }), "EOPNOTSUPP");
    refused(() => fd.replace({ ...on, ptId: parent }), "EINVAL");
    refused(() => fd.ioasMap(map), "EINVAL");
    fd.replace({ ...on, ptId: nested, policy: raw });
    fd.ioasMap(map);
    refused(() => fd.replace({ ...on, ptId: table, policy: excluded }), "EADDRINUSE");
    assert.equal(fd.report(a.id).exposed[0]?.policy, "raw");
    fd.ioasUnmap(ioasId, window.first, 4096n);
    fd.replace({ ...on, ptId: table, policy: excluded });
    refused(() => fd.ioasMap(map), "EINVAL");
    fd.detach(a, P5);
    fd.ioasMap(map);
  });

  it("translated-only needs the driver's promise; raw is reported as exposed", () => {
    const { system, fd, a, table } = start();
    const policy = { pasid: "translated-only" } as const;
    refused(() => fd.attach({ device: a, ptId: table, pasid: P5, policy }), "EINVAL");
    fd.attach({ device: a, ptId: table, pasid: P5, policy: { pasid: "raw" } });
    assert.deepEqual(fd.report(a.id).exposed, [{ pasid: P5, policy: "raw", windows: [window] }]);
    fd.unbind(a);
    const b = fd.bind({ dma: system.dma(0, { translatedOnly: true }) });
    fd.attach({ device: b, ptId: fd.ioasAlloc(), pasid: P5, policy });
    assert.equal(fd.report(b.id).exposed[0]?.policy, "translated-only");
  });

  it("no policy helps a device that has no way to carry PASIDs", () => {
    const { system, fd, a, table } = start();
    system.paths.set(device(0), { ok: false, onlyPath: false, because: [] });
    const policy = { pasid: "raw" } as const;
    refused(() => fd.attach({ device: a, ptId: table, pasid: P5, policy }), "EINVAL");
  });

  it("RID attaches exclude windows when asked, in groups of several devices", () => {
    const { fd, a, ioasId } = start();
    fd.setPolicy({ excludeRidWindows: true });
    fd.attach({ device: a, ptId: ioasId });
    const map = { ioasId, flags: FIXED, userVa: 0n, length: 4096n, iova: window.first };
    refused(() => fd.ioasMap(map), "EINVAL");
    assert.deepEqual(fd.report(a.id).exposed, []);
    fd.detach(a);
    fd.ioasMap(map);
  });
});

describe("devices without a function of their own", () => {
  it("slices attach through the parent's PASIDs, one table a slot", () => {
    const { system, fd } = open({ device: WITH_PASID });
    const own = makePasid(100);
    const m1 = slicedDevice(system.driver, device(0), new Map([[undefined, own]]));
    const m2 = slicedDevice(system.driver, device(0), new Map([[undefined, own]]));
    const a = fd.bind({ dma: m1 });
    const b = fd.bind({ dma: m2 });
    const table = fd.attach({ device: a, ptId: fd.ioasAlloc() });
    assert.equal(system.driver.attached(device(0), own), domainOf(fd, table));
    assert.equal(kindOf(system, 0), "default", "the parent's own requests are not touched");
    refused(() => fd.attach({ device: b, ptId: fd.ioasAlloc() }), "EBUSY");
    refused(() => fd.attach({ device: a, ptId: fd.ioasAlloc(), pasid: P5 }), "EINVAL");
    fd.detach(a);
    assert.deepEqual(system.driver.pasidsOf(device(0)), []);
  });

  it("a software device gets an access and nothing in hardware", () => {
    const { system, fd } = open();
    const s = fd.bind({ dma: softwareDevice(system.driver) });
    const ptId = fd.ioasAlloc();
    assert.equal(fd.attach({ device: s, ptId }), ptId);
    refused(() => fd.attach({ device: s, ptId }), "EBUSY");
    refused(() => fd.attach({ device: s, ptId, pasid: P5 }), "EINVAL");
    fd.ioasMap({ ioasId: ptId, flags: FIXED, userVa: 0x5000n, length: 4096n, iova: 0x1000n });
    const pin = s.access?.pin(0x1000n, 4096n);
    assert.equal(pin?.frames.length, 1);
    fd.ioasUnmap(ptId, 0x1000n, 4096n);
    assert.equal(s.access?.pinCount, 0, "it was asked to let go");
    fd.replace({ device: s, ptId: fd.ioasAlloc() });
    fd.destroy(ptId);
    fd.unbind(s);
  });

  it("forces coherency where the space asks for it", () => {
    const { system, fd } = open();
    const a = fd.bind({ dma: system.dma(0) });
    const ptId = fd.ioasAlloc({ enforceCoherency: true });
    refused(() => fd.attach({ device: a, ptId }), "EINVAL");
    fd.attach({ device: a, ptId: fd.ioasAlloc() });
  });
});
