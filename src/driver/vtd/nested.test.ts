/** Nested domains, stage-1 domains, dirty tracking, snooping: walked by the unit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverMachine } from "../../../test/support/driver-machine.js";
import { t1, t3 } from "../../../test/support/topologies.js";
import { isRefusal } from "../../abi/index.js";
import { makePasid } from "../../units/index.js";
import { HWPT_DATA_VTD_S1 } from "./nested-domain.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: true, userAllocated: false };
const OWNER = { label: "guest" };

function data(table: bigint, { flags = 0n, width = 48, length = 24, type = 1 } = {}) {
  const view = new DataView(new ArrayBuffer(Math.max(24, length)));
  view.setBigUint64(0, flags, true);
  view.setBigUint64(8, table, true);
  view.setUint32(16, width, true);
  return { type, bytes: new DataView(view.buffer, 0, length) };
}

function entries(list: readonly (readonly [bigint, bigint, number])[], entryBytes = 24) {
  return {
    entryBytes,
    count: list.length,
    done: 0,
    entry(i: number): DataView {
      const view = new DataView(new ArrayBuffer(24));
      const [address, pages, flags] = list[i] ?? [0n, 0n, 0];
      view.setBigUint64(0, address, true);
      view.setBigUint64(8, pages, true);
      view.setUint32(16, flags, true);
      return view;
    },
  };
}

/** A guest with frames 0 to 15 at host frames, its stage-1 tables in 0 to 3. */
function guest() {
  const m = new DriverMachine(t3());
  const a = m.fn("03:00.0");
  const parent = m.driver.allocPaging(a, { ...PLAIN, nestParent: true }, undefined);
  const hostFrames = Array.from({ length: 16 }, () => m.memory.allocateFrame(OWNER) ?? 0);
  hostFrames.forEach((pfn, gfn) => {
    parent.map(gfn, pfn, 1, 3);
  });
  const write = (table: number, index: number, entry: number) => {
    m.memory.words[m.memory.frameWord(hostFrames[table] ?? 0) + 2 * index] = entry;
  };
  // Levels 4 to 2 lead to guest frames 1 to 3; level 1 is in frame 3.
  write(0, 0, 0x1007);
  write(1, 0, 0x2007);
  write(2, 0, 0x3007);
  const set = (iova: number, gfn: number | undefined) =>
    write(3, iova, gfn === undefined ? 0 : gfn * 4096 + 7);
  return { m, a, parent, hostFrames, set };
}

test("a guest's table over a parent; stale until the guest invalidates", () => {
  const { m, a, parent, hostFrames, set } = guest();
  const { driver } = m;
  set(5, 8);
  const nested = driver.allocNested(a, parent, data(0n), { pasid: false });
  driver.attach(a, undefined, nested);
  driver.attach(a, makePasid(4), nested);
  for (const how of [{}, { pasid: 4 }]) {
    set(5, 8);
    nested.invalidate(0, entries([[0n, (1n << 64n) - 1n, 0]]));
    assert.equal(m.ask(a, 5, how), hostFrames[8]);
    set(5, 9);
    assert.equal(m.ask(a, 5, how), hostFrames[8], "the old translation until it is invalidated");
    nested.invalidate(0, entries([[0x5000n, 1n, 1]]));
    assert.equal(m.ask(a, 5, how), hostFrames[9]);
  }
  // The parent changes below the guest's table.
  parent.unmap(9, 1);
  parent.sync();
  assert.equal(typeof m.ask(a, 5), "string");
  assert.throws(() => parent.free(), /in use/);
  driver.attach(a, undefined, driver.blocked(a));
  driver.detachPasid(a, makePasid(4));
  nested.free();
  nested.free();
  parent.free();
});

test("invalidations: entries before the bad one have taken effect", () => {
  const { m, a, parent, set, hostFrames } = guest();
  const nested = m.driver.allocNested(a, parent, data(0n), { pasid: false });
  m.driver.attach(a, undefined, nested);
  set(1, 8);
  set(2, 8);
  m.ask(a, 1);
  m.ask(a, 2);
  set(1, 9);
  set(2, 9);
  const list = entries([
    [0x1000n, 1n, 0],
    [0x2001n, 1n, 0],
  ]);
  assert.throws(
    () => nested.invalidate(0, list),
    (e) => isRefusal(e, "EINVAL"),
  );
  assert.equal(list.done, 1);
  assert.equal(m.ask(a, 1), hostFrames[9]);
  assert.equal(m.ask(a, 2), hostFrames[8]);
  const refuse = (code: "EINVAL" | "EOPNOTSUPP", act: () => void) =>
    assert.throws(act, (e) => isRefusal(e, code));
  refuse("EINVAL", () => nested.invalidate(1, entries([])));
  refuse("EINVAL", () => nested.invalidate(0, entries([[0n, 1n, 0]], 16)));
  refuse("EOPNOTSUPP", () => nested.invalidate(0, entries([[0n, 1n, 2]])));
  refuse("EINVAL", () => nested.invalidate(0, entries([[0x1000n, (1n << 64n) - 1n, 0]])));
});

test("nested domains: what is refused, and how", () => {
  const { m, a, parent } = guest();
  const { driver } = m;
  const nest = (to = parent, what = data(0n)) => driver.allocNested(a, to, what, { pasid: false });
  const refuse = (code: "EINVAL" | "EOPNOTSUPP", act: () => void) =>
    assert.throws(act, (e) => isRefusal(e, code));
  refuse("EINVAL", () => nest(driver.allocPaging(a, PLAIN, undefined)));
  refuse("EOPNOTSUPP", () => nest(parent, data(0n, { type: HWPT_DATA_VTD_S1 + 1 })));
  refuse("EINVAL", () => nest(parent, data(0n, { length: 23 })));
  refuse("EINVAL", () => nest(parent, data(0n, { length: 25 })));
  refuse("EOPNOTSUPP", () => nest(parent, data(0n, { flags: 8n })));
  refuse("EINVAL", () => nest(parent, data(0n, { width: 47 })));
  refuse("EINVAL", () => nest(parent, data(8n)));
  nest(parent, data(0n, { width: 57, flags: 7n })).free();
  const plain = new DriverMachine(t1(), { nested: false });
  const b = plain.fn("01:00.0");
  const flags = { ...PLAIN, nestParent: true };
  refuse("EOPNOTSUPP", () => plain.driver.allocPaging(b, flags, undefined));
  refuse("EOPNOTSUPP", () => driver.allocPaging(a, PLAIN, data(0n)));
  refuse("EOPNOTSUPP", () => driver.allocVirtualIommu(a, parent, 1, undefined));
  refuse("EOPNOTSUPP", () => driver.hardwareInfo(a, 2));
  const info = driver.hardwareInfo(a, 0);
  const view = new DataView(info.bytes.buffer);
  assert.deepEqual(
    [info.type, view.getBigUint64(8, true), view.getBigUint64(16, true)],
    [1, m.unit.readRegister64(8), m.unit.readRegister64(16)],
  );
});

test("a stage-1 address space serves RID and PASID, and is invalidated by PASID", () => {
  const m = new DriverMachine(t3());
  const a = m.fn("03:00.0");
  const domain = m.driver.allocStage1(a);
  domain.map(3, 4, 2, 1);
  m.driver.attach(a, undefined, domain);
  m.driver.attach(a, makePasid(6), domain);
  for (const how of [{}, { pasid: 6 }]) {
    assert.equal(m.ask(a, 4, how), 5);
    assert.equal(typeof m.ask(a, 4, { ...how, write: true }), "string");
  }
  domain.unmap(4, 1);
  domain.sync();
  for (const how of [{}, { pasid: 6 }]) {
    assert.equal(typeof m.ask(a, 4, how), "string");
    assert.equal(m.ask(a, 3, how), 4);
  }
});

test("dirty tracking: writes are seen, and seen again after they were cleared", () => {
  const m = new DriverMachine(t3());
  const a = m.fn("03:00.0");
  const domain = m.driver.allocPaging(a, { ...PLAIN, dirtyTracking: true }, undefined);
  domain.map(16, 32, 8, 3);
  m.driver.attach(a, undefined, domain);
  const runs = (clear: boolean) => {
    const out: number[][] = [];
    domain.dirty?.scan(16, 8, clear, (first, count) => out.push([first, count]));
    return out;
  };
  m.ask(a, 17, { write: true });
  assert.deepEqual(runs(true), [], "not tracked");
  domain.dirty?.setTracking(true);
  m.ask(a, 18);
  m.ask(a, 17, { write: true });
  m.ask(a, 20, { write: true });
  m.ask(a, 21, { write: true });
  assert.deepEqual(runs(false), [
    [17, 1],
    [20, 2],
  ]);
  assert.equal(runs(true).length, 2);
  assert.deepEqual(runs(true), []);
  m.ask(a, 17, { write: true });
  assert.deepEqual(runs(true), [[17, 1]], "no cache hides the second write");
  domain.dirty?.setTracking(false);
  m.ask(a, 22, { write: true });
  assert.deepEqual(runs(true), []);
  const legacy = new DriverMachine(t1(), { scalable: false });
  const flags = { ...PLAIN, dirtyTracking: true };
  assert.throws(
    () => legacy.driver.allocPaging(legacy.fn("01:00.0"), flags, undefined),
    (e) => isRefusal(e, "EOPNOTSUPP"),
  );
});

test("snooping is enforced wherever the unit can", () => {
  for (const snoopControl of [true, false]) {
    const m = new DriverMachine(t1(), { snoopControl });
    const a = m.fn("01:00.0");
    const domain = m.driver.allocPaging(a, PLAIN, undefined);
    domain.map(1, 2, 1, 3);
    m.driver.attach(a, undefined, domain);
    assert.equal(m.ask(a, 1, { noSnoop: true }), 2);
    assert.equal(m.answer.snooped, snoopControl);
    assert.equal(domain.enforcesCoherency, snoopControl);
    assert.equal(m.driver.capabilities(a).enforcesCoherency, snoopControl);
  }
});
