import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverMachine } from "../../../test/support/driver-machine.js";
import { t1, t2, t3 } from "../../../test/support/topologies.js";
import { makePasid } from "../../units/index.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: false, userAllocated: false };

for (const scalable of [false, true]) {
  const mode = scalable ? "scalable" : "legacy";

  test(`${mode}: blocked until attached, own tables, blocked again`, () => {
    const m = new DriverMachine(t3(), { scalable });
    const [a, b] = [m.fn("03:00.0"), m.fn("04:00.0")];
    const { driver } = m;
    assert.equal(typeof m.ask(a, 5), "string", "nothing passes before");
    const one = driver.allocPaging(a, PLAIN, undefined);
    const two = driver.allocPaging(b, PLAIN, undefined);
    one.map(5, 100, 2, 3);
    two.map(5, 200, 1, 1);
    driver.attach(a, undefined, driver.blocked(a));
    assert.equal(typeof m.ask(a, 5), "string");
    driver.attach(a, undefined, one);
    driver.attach(b, undefined, two);
    assert.equal(m.ask(a, 6, { write: true }), 101);
    assert.equal(m.ask(b, 5), 200);
    assert.equal(typeof m.ask(b, 5, { write: true }), "string");
    assert.equal(driver.attached(a, undefined), one);
    driver.attach(a, undefined, driver.blocked(a));
    assert.equal(typeof m.ask(a, 6), "string", "caches forget with the row");
    assert.equal(m.ask(b, 5), 200);
    one.free();
    driver.attach(b, undefined, driver.blocked(b));
    two.free();
  });

  test(`${mode}: what was unmapped is gone from every cache after sync`, () => {
    const m = new DriverMachine(t1(), { scalable });
    const a = m.fn("01:00.0");
    const domain = m.driver.allocPaging(a, PLAIN, undefined);
    m.driver.attach(a, undefined, domain);
    domain.map(512, 1024, 1024, 3);
    assert.equal(m.ask(a, 700), 1212);
    assert.equal(domain.unmap(512, 512), 512);
    assert.equal(m.ask(a, 700), 1212, "stale until sync: the cache is real");
    domain.sync();
    assert.equal(typeof m.ask(a, 700), "string");
    assert.equal(m.ask(a, 1025), 1537);
  });

  test(`${mode}: the kernel's own domain, then a user's, then the kernel's`, () => {
    for (const defaultMode of ["identity", "translated"] as const) {
      const m = new DriverMachine(t1(), { scalable }, { defaultMode });
      const a = m.fn("01:00.0");
      m.driver.attachDefault(a);
      assert.equal(m.driver.attached(a, undefined), undefined);
      const kernel = m.driver.kernelDomain(a);
      assert.equal(kernel === undefined, defaultMode === "identity");
      if (kernel === undefined) assert.equal(m.ask(a, 77), 77);
      else {
        assert.equal(typeof m.ask(a, 77), "string");
        kernel.map(77, 78, 1, 3);
        assert.equal(m.ask(a, 77), 78);
      }
      const domain = m.driver.allocPaging(a, PLAIN, undefined);
      m.driver.attach(a, undefined, domain);
      assert.equal(typeof m.ask(a, 77), "string");
      m.driver.attachDefault(a);
      assert.equal(m.ask(a, 77), kernel === undefined ? 77 : 78);
    }
  });
}

test("PASIDs: (RID, PASID) is one space each, others are refused", () => {
  const m = new DriverMachine(t3());
  const [a, b] = [m.fn("03:00.0"), m.fn("04:00.0")];
  const { driver } = m;
  assert.equal(driver.capabilities(a).maxPasids, 2 ** 20);
  const make = (to: number) => {
    const domain = driver.allocPaging(a, { ...PLAIN, pasid: true }, undefined);
    domain.map(1, to, 1, 3);
    return domain;
  };
  const [rid, a5, b5] = [make(10), make(15), make(25)];
  const five = makePasid(5);
  driver.attach(a, undefined, rid);
  driver.attach(a, five, a5);
  driver.attach(b, five, b5);
  driver.attach(a, makePasid(0xfffff), b5);
  assert.equal(m.ask(a, 1), 10);
  assert.equal(m.ask(a, 1, { pasid: 5 }), 15);
  assert.equal(m.ask(b, 1, { pasid: 5 }), 25);
  assert.equal(m.ask(a, 1, { pasid: 0xfffff }), 25);
  assert.equal(m.ask(a, 1, { pasid: 6 }), "pasidEntryNotPresent");
  assert.deepEqual(driver.pasidsOf(a), [5, 0xfffff]);
  driver.attach(a, five, b5);
  assert.equal(m.ask(a, 1, { pasid: 5 }), 25);
  driver.attach(a, undefined, driver.blocked(a));
  assert.equal(typeof m.ask(a, 1), "string");
  assert.equal(m.ask(a, 1, { pasid: 5 }), 25, "a blocked RID leaves PASIDs alone");
  driver.detachPasid(a, five);
  assert.equal(typeof m.ask(a, 1, { pasid: 5 }), "string");
});

test("a path that lacks ACS only is the policy's affair; others have no PASIDs", () => {
  const m = new DriverMachine(t2());
  assert.equal(m.driver.capabilities(m.fn("03:00.0")).maxPasids, 2 ** 20);
});
