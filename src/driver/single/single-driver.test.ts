import assert from "node:assert/strict";
import { test } from "node:test";
import { bdf, t5 } from "../../../test/support/topologies.js";
import { isRefusal } from "../../abi/index.js";
import { DmaAccess, DmaAnswer, DmaRequest, DmaStatus, SingleTableUnit } from "../../iommu/index.js";
import { addressHigh, addressLow, frameOf, PhysicalMemory } from "../../memory/index.js";
import { type Bdf, makePasid, ridOf } from "../../units/index.js";
import type { DriverHost, DriverOptions } from "../driver-host.js";
import { HostDriver } from "../host-driver.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: false, userAllocated: false };
const A = bdf("01:00.0");
const B = bdf("01:00.1");

function machine(options: DriverOptions = {}) {
  const memory = new PhysicalMemory();
  const unit = new SingleTableUnit(memory);
  const { fabric } = t5();
  const host: DriverHost = {
    memory,
    units: [unit],
    unitOf: (device) => (device === A || device === B ? unit : undefined),
    requesterIdsOf: (device) => [ridOf(device)],
    functionOf: (device) => fabric.function(device),
    configRead: () => 0,
    configWrite: () => {},
    reservedOf: () => [],
    pasidPath: () => ({ ok: true, because: [] }),
    atsPath: () => ({ ok: true, because: [] }),
  };
  const driver = new HostDriver(host, options);
  const answer = new DmaAnswer();
  const ask = (device: Bdf, iova: number, pasid?: number): number | string => {
    const request = new DmaRequest();
    request.requester = ridOf(device);
    request.access = DmaAccess.write;
    request.lo = addressLow(iova, 0);
    request.hi = addressHigh(iova);
    request.hasPasid = pasid !== undefined;
    request.pasid = pasid ?? 0;
    unit.translate(request, answer);
    return answer.status === DmaStatus.fault
      ? unit.faultName(answer.reason)
      : frameOf(answer.lo, answer.hi);
  };
  return { memory, unit, driver, ask };
}

test("one table for all: what one device is given, all have", () => {
  const { driver, ask } = machine();
  assert.equal(ask(A, 1), "notPresent", "blocked from the start");
  const domain = driver.allocPaging(A, PLAIN, undefined);
  domain.map(1, 2, 3, 3);
  driver.attach(A, undefined, domain);
  assert.equal(ask(A, 2), 3);
  assert.equal(ask(B, 2), 3, "the unit cannot tell them apart");
  driver.attach(B, undefined, domain);
  domain.unmap(2, 1);
  assert.equal(ask(A, 2), 3, "stale until sync");
  domain.sync();
  assert.equal(ask(A, 2), "notPresent");
  for (const device of [A, B]) driver.attach(device, undefined, driver.blocked(device));
  assert.equal(ask(A, 1), "notPresent");
  assert.equal(driver.attached(A, undefined), driver.blocked(A));
  domain.free();
});

test("no PASID, no nesting, no isolation of interrupts", () => {
  const { driver, ask } = machine();
  const { maxPasids, isolatedMsi, ats } = driver.capabilities(A);
  assert.deepEqual([maxPasids, isolatedMsi, ats], [0, false, false]);
  const domain = driver.allocPaging(A, PLAIN, undefined);
  const unsupported = (e: unknown) => isRefusal(e, "EOPNOTSUPP");
  assert.throws(() => driver.attach(A, makePasid(5), domain), unsupported);
  assert.throws(
    () => driver.allocPaging(A, { ...PLAIN, nestParent: true }, undefined),
    unsupported,
  );
  const data = { type: 1, bytes: new DataView(new ArrayBuffer(24)) };
  assert.throws(() => driver.allocNested(A, domain, data, { pasid: false }), unsupported);
  assert.throws(() => driver.allocVirtualIommu(A, domain, 1, undefined), unsupported);
  assert.throws(() => driver.hardwareInfo(A, 1), unsupported);
  assert.equal(driver.hardwareInfo(A, 0).type, 0);
  assert.equal(ask(A, 1, 5), "prefix");
});

test("the kernel's own space, translated or identity; a device that leaves", () => {
  for (const defaultMode of ["identity", "translated"] as const) {
    const { driver, ask } = machine({ defaultMode });
    driver.attachDefault(A);
    driver.kernelDomain(A)?.map(9, 10, 1, 3);
    assert.equal(ask(A, 9), defaultMode === "identity" ? 9 : 10);
    const domain = driver.allocPaging(A, PLAIN, undefined);
    domain.map(9, 11, 1, 3);
    driver.attach(A, undefined, domain);
    assert.equal(ask(A, 9), 11);
    assert.throws(() => domain.free(), /in use/);
    driver.removeDevice(A);
    domain.free();
    assert.equal(ask(B, 9), "notPresent");
  }
});

test("faults are told; a device without a unit is refused", () => {
  const { driver, ask } = machine();
  const seen: unknown[] = [];
  driver.onFault = ({ device, address, reason }) => seen.push([device, address, reason]);
  ask(B, 0x55);
  driver.poll();
  driver.poll();
  assert.deepEqual(seen, [[B, 0x5_5000n, "notPresent"]]);
  const other = bdf("02:00.0");
  assert.throws(
    () => driver.capabilities(other),
    (e) => isRefusal(e, "ENODEV"),
  );
  driver.attachDefault(other);
  driver.detachPasid(other, makePasid(1));
});
