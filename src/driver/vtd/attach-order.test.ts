import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverMachine } from "../../../test/support/driver-machine.js";
import { t1, t4, t6 } from "../../../test/support/topologies.js";
import { isRefusal } from "../../abi/index.js";
import { VtdRegister } from "../../formats/index.js";
import { FailNth } from "../../memory/index.js";
import { makePasid } from "../../units/index.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: true, userAllocated: false };

/** Calls `look` at every moment the driver talks to the unit, and after every word it writes. */
function watch(m: DriverMachine, look: () => void): () => void {
  const { unit, memory } = m;
  const write32 = unit.writeRegister32.bind(unit);
  unit.writeRegister32 = (offset, value) => {
    look();
    write32(offset, value);
    if (offset === VtdRegister.queueTail) look();
  };
  const words = memory.words;
  const seen = { inside: false };
  memory.words = new Proxy(words, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
    set: (target, key, value) => {
      Reflect.set(target, key, value, target);
      if (!seen.inside) {
        seen.inside = true;
        memory.words = words;
        look();
        memory.words = proxy;
        seen.inside = false;
      }
      return true;
    },
  });
  const proxy = memory.words;
  return () => {
    memory.words = words;
    unit.writeRegister32 = write32;
  };
}

for (const scalable of [false, true]) {
  test(`${scalable ? "scalable" : "legacy"}: a switch shows the old space, none, or the new`, () => {
    const m = new DriverMachine(t1(), { scalable }, { defaultMode: "identity" });
    const a = m.fn("01:00.0");
    const { driver } = m;
    driver.attachDefault(a);
    const one = driver.allocPaging(a, PLAIN, undefined);
    const two = driver.allocPaging(a, PLAIN, undefined);
    one.map(7, 100, 1, 3);
    two.map(7, 200, 1, 3);
    const steps: [() => void, (number | string)[]][] = [
      [() => driver.attach(a, undefined, driver.blocked(a)), [7]],
      [() => driver.attach(a, undefined, one), [100]],
      [() => driver.attach(a, undefined, two), [100, 200]],
      [() => driver.attach(a, undefined, one), [200, 100]],
      [() => driver.attach(a, undefined, driver.blocked(a)), [100]],
      [() => driver.attach(a, undefined, two), [200]],
    ];
    for (const [step, allowed] of steps) {
      const met: (number | string)[] = [];
      const stop = watch(m, () => met.push(m.ask(a, 7)));
      step();
      stop();
      const numbers = met.filter((answer) => typeof answer === "number");
      assert.ok(met.length > 3, "the moments in between were looked at");
      assert.deepEqual(
        [...new Set(numbers)].filter((n) => !allowed.includes(n)),
        [],
      );
      // Once the old space is gone it does not come back.
      const order = allowed.filter((n) => typeof n === "number").map((n) => numbers.indexOf(n));
      assert.deepEqual(
        [...order].sort((x, y) => x - y),
        order,
      );
      const faults = met.filter((answer) => typeof answer === "string");
      for (const fault of faults) assert.match(String(fault), /NotPresent$/);
    }
  });
}

test("every requester ID of a device leads to the same space", () => {
  for (const [host, device, alias] of [
    [t6(), "01:00.0", 0x0101],
    [t4(), "02:00.0", 0x0200],
  ] as const) {
    const m = new DriverMachine(host);
    const a = m.fn(device);
    const domain = m.driver.allocPaging(a, PLAIN, undefined);
    domain.map(1, 2, 1, 3);
    m.driver.attach(a, undefined, domain);
    assert.equal(m.ask(a, 1, { rid: alias }), 2);
    m.driver.attach(a, undefined, m.driver.blocked(a));
    assert.equal(typeof m.ask(a, 1, { rid: alias }), "string");
  }
});

test("devices behind a bridge share its row; the kernel's own space too", () => {
  const m = new DriverMachine(t4());
  const [c0, c1] = [m.fn("02:00.0"), m.fn("02:01.0")];
  m.driver.attachDefault(c0);
  m.driver.attachDefault(c1);
  const kernel = m.driver.kernelDomain(c0);
  assert.ok(kernel !== undefined && kernel === m.driver.kernelDomain(c1));
  assert.equal(m.driver.capabilities(c0).maxPasids, 0);
  const domain = m.driver.allocPaging(c0, PLAIN, undefined);
  assert.throws(
    () => m.driver.attach(c0, makePasid(5), domain),
    (e) => isRefusal(e, "EOPNOTSUPP"),
  );
});

test("refusals of attach change nothing", () => {
  const m = new DriverMachine(t1(), { pasidBits: 8 });
  const other = new DriverMachine(t1(), { stage2Levels: [3], snoopControl: false });
  const a = m.fn("01:00.0");
  const { driver } = m;
  const mine = driver.allocPaging(a, PLAIN, undefined);
  mine.map(1, 2, 1, 3);
  driver.attach(a, undefined, mine);
  const foreign = other.driver.allocPaging(a, PLAIN, undefined);
  const einval = (e: unknown) => isRefusal(e, "EINVAL");
  assert.throws(() => driver.attach(a, undefined, foreign), einval);
  assert.throws(() => driver.attach(a, makePasid(256), mine), einval);
  assert.throws(() => other.driver.attach(a, undefined, mine), einval);
  assert.equal(m.ask(a, 1), 2);
  assert.deepEqual(driver.pasidsOf(a), []);
});

test("domain ids run out as the unit says, and come back", () => {
  const m = new DriverMachine(t1(), { domainIdBits: 4 });
  const a = m.fn("01:00.0");
  const { driver } = m;
  const domains = Array.from({ length: 15 }, () => driver.allocPaging(a, PLAIN, undefined));
  const attachAll = () => {
    domains.forEach((domain, i) => {
      driver.attach(a, makePasid(i + 1), domain);
    });
  };
  assert.throws(attachAll, (e) => isRefusal(e, "ENOSPC"));
  assert.equal(driver.pasidsOf(a).length, 14);
  for (const pasid of driver.pasidsOf(a)) driver.detachPasid(a, pasid);
  assert.equal(driver.units[0]?.usedIds, 0);
  domains.pop();
  attachAll();
});

test("each allocation that is refused leaves the old state, and nothing leaks", () => {
  for (let n = 1; ; n++) {
    const m = new DriverMachine(t6());
    const [x, y] = [m.fn("01:00.0"), m.fn("01:00.1")];
    const { driver } = m;
    driver.attach(x, undefined, driver.blocked(x));
    const old = driver.allocPaging(x, PLAIN, undefined);
    old.map(1, 11, 1, 3);
    driver.attach(x, undefined, old);
    const fresh = driver.allocPaging(x, PLAIN, undefined);
    const held = driver.frames.held;
    const fail = new FailNth(n);
    m.memory.allocations = fail;
    let failed = false;
    const steps = [
      () => driver.attach(x, makePasid(1000), fresh),
      () => driver.attach(y, undefined, driver.blocked(y)),
      () => fresh.map(2 ** 20, 0, 3, 3),
      () => driver.attach(x, undefined, fresh),
    ];
    for (const step of steps) {
      try {
        step();
      } catch (error) {
        assert.ok(isRefusal(error, "ENOMEM"), String(error));
        failed = true;
        break;
      }
    }
    if (failed) assert.equal(m.ask(x, 1), 11);
    driver.detachPasid(x, makePasid(1000));
    fresh.unmap(0, 2 ** 21);
    fresh.sync();
    driver.removeDevice(y);
    if (failed) assert.equal(driver.frames.held, held, `failure ${n}`);
    assert.equal(m.memory.tableFrames, driver.frames.held);
    if (!fail.hasFailed) break;
    assert.ok(failed);
  }
});

test("a device that leaves gives all its frames back", () => {
  const m = new DriverMachine(t1());
  const a = m.fn("01:00.0");
  const { driver } = m;
  // The unit keeps the context table.
  driver.attachDefault(a);
  driver.removeDevice(a);
  const held = driver.frames.held;
  driver.attachDefault(a);
  const domain = driver.allocPaging(a, PLAIN, undefined);
  domain.map(1, 2, 1, 3);
  driver.attach(a, undefined, domain);
  driver.attach(a, makePasid(77), domain);
  assert.throws(() => domain.free(), /in use/);
  driver.removeDevice(a);
  domain.free();
  assert.equal(driver.frames.held, held);
  assert.equal(typeof m.ask(a, 1), "string");
});
