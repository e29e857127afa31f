/** Drivers of devices: plain functions, slices, software devices, the kernel's own drivers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverMachine } from "../../test/support/driver-machine.js";
import { t1, t3, t4, t5 } from "../../test/support/topologies.js";
import { type ErrnoName, isRefusal } from "../abi/index.js";
import { type Bdf, makePasid } from "../units/index.js";
import type { DmaDevice, DriverDeclaration } from "./device-driver.js";
import { DmaOwnership } from "./dma-ownership.js";
import type { PagingDomain } from "./driver-port.js";
import { KernelBinding } from "./kernel-binding.js";
import { MediatedParent, SLICE_PASIDS } from "./mediated-parent.js";
import { PasidPool, SharedPasids } from "./pasid-pool.js";
import { PlainDriver, plainDevice } from "./plain-device.js";
import { SoftwareDriver } from "./software-device.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: true, userAllocated: false };
const DECLARATION: DriverDeclaration = {
  name: "test",
  routing: "rid+pasid",
  pasids: 16,
  noSnoop: false,
  ats: false,
  pri: false,
  translatedOnly: false,
};
const refuses = (code: ErrnoName, act: () => unknown) =>
  assert.throws(act, (e) => isRefusal(e, code));

/** The one entry point for devices of all kinds. */
function attach(m: DriverMachine, device: DmaDevice, pasid: number | undefined, to: PagingDomain) {
  const slot = device.slotOf(pasid === undefined ? undefined : makePasid(pasid));
  if (slot !== undefined) m.driver.attach(slot.device, slot.pasid, to);
  return slot;
}

function space(m: DriverMachine, device: Bdf, to: number): PagingDomain {
  const domain = m.driver.allocPaging(device, PLAIN, undefined);
  domain.map(1, to, 1, 3);
  return domain;
}

test("a plain function: its PASIDs are the hardware's; what it declares counts", () => {
  const m = new DriverMachine(t1());
  const a = m.fn("01:00.0");
  const [device] = new PlainDriver(m.driver, a, DECLARATION).devices;
  assert.ok(device !== undefined && device.capabilities?.maxPasids === 2 ** 20);
  attach(m, device, undefined, space(m, a, 10));
  attach(m, device, 7, space(m, a, 17));
  assert.deepEqual([m.ask(a, 1), m.ask(a, 1, { pasid: 7 })], [10, 17]);
  const rid = new PlainDriver(m.driver, a, { ...DECLARATION, routing: "rid", pasids: 0 });
  refuses("EINVAL", () => rid.devices[0]?.slotOf(makePasid(7)));
  assert.equal(rid.devices[0]?.capabilities?.maxPasids, 0);
  refuses("EINVAL", () => new PlainDriver(m.driver, a, { ...DECLARATION, routing: "rid" }));
  refuses("EINVAL", () => new PlainDriver(m.driver, a, { ...DECLARATION, pri: true }));
  refuses("EINVAL", () => new PlainDriver(m.driver, a, { ...DECLARATION, translatedOnly: true }));
  // PASIDs that the function has and cannot use here are refused further down, with the reason.
  const kept = plainDevice(m.driver, a, DECLARATION, { hasPasids: true });
  assert.deepEqual(kept.slotOf(makePasid(7)), { device: a, pasid: 7 });
  const none = plainDevice(m.driver, a, DECLARATION, { hasPasids: false });
  refuses("EOPNOTSUPP", () => none.slotOf(makePasid(7)));
  const bridged = new DriverMachine(t4());
  const c = new PlainDriver(bridged.driver, bridged.fn("02:00.0"), DECLARATION);
  refuses("EOPNOTSUPP", () => c.devices[0]?.slotOf(makePasid(5)));
});

test("ATS and page requests are on while a driver that declares them is bound", () => {
  const m = new DriverMachine(t1());
  const a = m.fn("01:00.0");
  const plain = new PlainDriver(m.driver, a, DECLARATION);
  const [device] = plain.devices;
  assert.ok(device !== undefined);
  attach(m, device, undefined, space(m, a, 10));
  assert.equal(typeof m.ask(a, 1, { type: "translation" }), "string");
  const driver = new PlainDriver(m.driver, a, { ...DECLARATION, ats: true, pri: true });
  assert.equal(m.ask(a, 1, { type: "translation" }), 10);
  driver.release();
  assert.equal(typeof m.ask(a, 1, { type: "translation" }), "string");
});

test("a device whose driver declares no no-snoop requests cannot send any", () => {
  const m = new DriverMachine(t1());
  const a = m.fn("01:00.0");
  const at = (m.host.fn("01:00.0").express?.offset ?? 0) + 8;
  const isOn = () => ((m.registers.get(a)?.read(at, 2) ?? 0) & 0x0800) !== 0;
  m.registers.get(a)?.write(at, 2, 0x2810);
  new PlainDriver(m.driver, a, { ...DECLARATION, noSnoop: true }).release();
  assert.equal(isOn(), true);
  const driver = new PlainDriver(m.driver, a, DECLARATION);
  assert.equal(isOn(), false);
  assert.equal(m.registers.get(a)?.read(at, 2), 0x2010, "the other bits stay");
  driver.release();
  assert.equal(isOn(), true);
});

test("slices of one parent: the same PASID of the user's is two spaces in hardware", () => {
  const m = new DriverMachine(t1());
  const parent = m.fn("01:00.0");
  const driver = new MediatedParent(m.driver, parent, DECLARATION);
  const [one, two] = [driver.createSlice("m1"), driver.createSlice("m2")];
  assert.deepEqual([one.label, two.mediated], ["0000:01:00.0/m1", true]);
  assert.equal(one.pasidSpace, two.pasidSpace);
  const slots = [
    attach(m, one, undefined, space(m, parent, 100)),
    attach(m, one, 7, space(m, parent, 107)),
    attach(m, two, undefined, space(m, parent, 200)),
    attach(m, two, 7, space(m, parent, 207)),
  ];
  const numbers = slots.map((slot) => slot?.pasid ?? 0);
  assert.equal(new Set(numbers).size, 4, "each has a PASID of its own");
  assert.deepEqual(
    numbers.map((pasid) => m.ask(parent, 1, { pasid })),
    [100, 107, 200, 207],
  );
  assert.equal(typeof m.ask(parent, 1), "string", "the parent's own requests are blocked");
  assert.deepEqual(one.slotOf(makePasid(7)), slots[1], "a reserved slot stays the same");
  refuses("EINVAL", () => one.slotOf(makePasid(SLICE_PASIDS)));
  refuses("EBUSY", () => driver.checkWhole());
  refuses("EBUSY", () => driver.removeSlice(one));
  for (const slot of slots.slice(0, 2)) {
    if (slot?.pasid !== undefined) m.driver.detachPasid(parent, slot.pasid);
  }
  one.releaseSlot(undefined);
  one.releaseSlot(makePasid(7));
  driver.removeSlice(one);
  driver.removeSlice(one);
  assert.deepEqual(driver.devices, [two]);
  two.releaseSlot(undefined);
  two.releaseSlot(makePasid(7));
  driver.removeSlice(two);
  driver.checkWhole();
});

test("slices with shared work queues: one number for a user's PASID on all parents", () => {
  const m = new DriverMachine(t3());
  const [a, b] = [m.fn("03:00.0"), m.fn("04:00.0")];
  const routing = { ...DECLARATION, routing: "rid+pasid+shared-queue" } as const;
  const parents = [a, b].map((bdf) => new MediatedParent(m.driver, bdf, routing, 1000));
  const pasids = new SharedPasids(new PasidPool(1000, 1003));
  const [user, other] = [{}, {}];
  const slice = (parent: number, name: string, owner: object) =>
    parents[parent]?.createSlice(name, { shared: { owner, pasids } }) as DmaDevice;
  const [a1, b1, a2] = [slice(0, "u", user), slice(1, "u", user), slice(0, "v", other)];
  const seven = makePasid(7);
  const number = a1.slotOf(seven)?.pasid;
  assert.equal(b1.slotOf(seven)?.pasid, number, "the processor sends one number to both");
  assert.notEqual(a2.slotOf(seven)?.pasid, number, "another user's PASID 7 is another number");
  assert.ok((a1.slotOf(undefined)?.pasid ?? 2000) < 1000, "without PASID the parent chooses");
  a1.slotOf(makePasid(8));
  refuses("ENOSPC", () => a2.slotOf(makePasid(9)));
  a1.releaseSlot(seven);
  assert.equal(b1.slotOf(seven)?.pasid, number);
  b1.releaseSlot(seven);
  b1.releaseSlot(seven);
  a2.slotOf(makePasid(9));
});

test("a parent must have PASIDs; they run out and come back", () => {
  const m = new DriverMachine(t1(), { pasidBits: 2 });
  const parent = m.fn("01:00.0");
  const slice = new MediatedParent(m.driver, parent, DECLARATION).createSlice("m");
  for (const pasid of [1, 2, 3]) slice.slotOf(makePasid(pasid));
  refuses("ENOSPC", () => slice.slotOf(makePasid(4)));
  slice.releaseSlot(makePasid(2));
  slice.slotOf(makePasid(4));
  const legacy = new DriverMachine(t1(), { scalable: false });
  refuses("EOPNOTSUPP", () => new MediatedParent(legacy.driver, parent, DECLARATION));
  assert.throws(() => new PasidPool(0, 5), RangeError);
});

test("a software device has no slot", () => {
  const [device] = new SoftwareDriver("soft", "s0").devices;
  assert.equal(device?.slotOf(undefined), undefined);
  assert.deepEqual(
    [device?.function, device?.pasidSpace, device?.capabilities],
    [undefined, 0, undefined],
  );
});

/** Both functions of T5 in one group. */
function owned() {
  const m = new DriverMachine(t5());
  const members = [m.fn("01:00.0"), m.fn("01:00.1")];
  const ownership = new DmaOwnership(
    { groupOf: (device) => (members.includes(device) ? { id: 1, members } : undefined) },
    m.driver,
  );
  return { m, ownership, f0: members[0] as Bdf, f1: members[1] as Bdf };
}

test("kernel drivers and users keep each other out of a group", () => {
  const { m, ownership, f0, f1 } = owned();
  const kernel = new KernelBinding(m.driver, ownership, f0, DECLARATION);
  kernel.map(5, 50, 1, 3);
  assert.equal(m.ask(f0, 5), 50);
  const user = { label: "user" };
  refuses("EPERM", () => ownership.claimForUser(f1, user));
  assert.equal(m.ask(f0, 5), 50, "nothing changed");
  kernel.release();
  kernel.release();
  ownership.claimForUser(f1, user);
  assert.equal(typeof m.ask(f0, 5), "string", "the whole group is blocked");
  refuses("EBUSY", () => new KernelBinding(m.driver, ownership, f0, DECLARATION));
  ownership.releaseForUser(f1, user);
  const again = new KernelBinding(m.driver, ownership, f0, DECLARATION);
  again.unmap(5, 1);
  assert.equal(typeof m.ask(f0, 5), "string");
});

test("a kernel driver with PASIDs of its own", () => {
  const { m, ownership, f0 } = owned();
  const kernel = new KernelBinding(m.driver, ownership, f0, { ...DECLARATION, ats: true });
  const shared = m.driver.allocStage1(f0);
  shared.map(3, 4, 1, 3);
  kernel.attachPasid(makePasid(1), shared);
  assert.equal(m.ask(f0, 3, { pasid: 1 }), 4);
  refuses("EBUSY", () => kernel.attachPasid(makePasid(1), shared));
  kernel.release();
  assert.equal(typeof m.ask(f0, 3, { pasid: 1 }), "string");
  shared.free();
  const rid = { ...DECLARATION, routing: "rid", pasids: 0 } as const;
  const plain = new KernelBinding(m.driver, ownership, f0, rid);
  refuses("EINVAL", () => plain.attachPasid(makePasid(1), shared));
});
