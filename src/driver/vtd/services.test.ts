/** Device TLBs, page requests, faults and interrupts, as the driver sets them up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverMachine } from "../../../test/support/driver-machine.js";
import { t1, t3 } from "../../../test/support/topologies.js";
import { isRefusal } from "../../abi/index.js";
import {
  readLayout,
  VTD_DEVICE_TLB_DESCRIPTOR,
  VTD_IOTLB_DESCRIPTOR,
  VTD_PAGE_GROUP_RESPONSE_DESCRIPTOR,
  VTD_PASID_DEVICE_TLB_DESCRIPTOR,
  VTD_PASID_IOTLB_DESCRIPTOR,
} from "../../formats/index.js";
import { PhysicalMemory } from "../../memory/index.js";
import { makePasid, ridOf } from "../../units/index.js";
import type { PageRequestGroup } from "../driver-port.js";
import { TableFrames } from "../table-frames.js";
import { InvalidationQueue } from "./invalidation-queue.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: true, userAllocated: false };

/** Runs `push` on a queue whose unit does nothing, and gives the words of the first descriptor. */
function descriptor(push: (queue: InvalidationQueue) => void): Uint32Array {
  const memory = new PhysicalMemory();
  const registers = new Map<number, bigint>();
  const unit = {
    name: "paper",
    readRegister32: () => 0,
    readRegister64: () => 0n,
    writeRegister32: () => {},
    writeRegister64: (offset: number, value: bigint) => registers.set(offset, value),
  };
  const frames = new TableFrames(memory);
  const queue = new InvalidationQueue(unit as never, frames, { label: "t" }, false);
  push(queue);
  const first = Number((registers.get(0x90) ?? 0n) >> 12n);
  const word = memory.frameWord(first);
  return memory.words.slice(word, word + 4);
}

test("descriptors have the fields of the figures (VT-d 5.0 § 6.5.2)", () => {
  const frame = 0xa_bcde_f123_4800;
  const iotlb = readLayout(
    VTD_IOTLB_DESCRIPTOR,
    descriptor((q) => q.iotlbPages(0x1234, frame, 11, true)),
  );
  assert.deepEqual(iotlb, {
    typeLow: 2,
    typeHigh: 0,
    granularity: 3,
    drainWrites: 1,
    drainReads: 1,
    domainId: 0x1234,
    addressMask: 11,
    invalidationHint: 1,
    frame,
  });
  const piotlb = readLayout(
    VTD_PASID_IOTLB_DESCRIPTOR,
    descriptor((q) => q.pasidPages(0xffff, 0xfffff, frame, 0, false)),
  );
  assert.deepEqual([piotlb.typeLow, piotlb.granularity, piotlb.pasid], [6, 3, 0xfffff]);
  assert.deepEqual([piotlb.domainId, piotlb.frame], [0xffff, frame]);
  const target = { rid: 0xbeef, physical: 0xcafe, depth: 17 };
  const device = readLayout(
    VTD_DEVICE_TLB_DESCRIPTOR,
    descriptor((q) => q.deviceTlb(target, 0x200, 9)),
  );
  assert.deepEqual(device, {
    typeLow: 3,
    typeHigh: 0,
    pfSourceIdLow: 0xe,
    maximumPending: 17,
    sourceId: 0xbeef,
    pfSourceIdHigh: 0xcaf,
    size: 1,
    frame: 0x2ff,
  });
  const pasidDevice = readLayout(
    VTD_PASID_DEVICE_TLB_DESCRIPTOR,
    descriptor((q) => q.pasidDeviceTlb(target, 0xabcde, 0x200, 0)),
  );
  assert.deepEqual(pasidDevice, {
    typeLow: 8,
    typeHigh: 0,
    maximumPending: 17,
    pfSourceIdLow: 0xe,
    sourceId: 0xbeef,
    pasid: 0xabcde,
    pfSourceIdHigh: 0xcaf,
    global: 0,
    size: 0,
    frame: 0x200,
  });
  const response = readLayout(
    VTD_PAGE_GROUP_RESPONSE_DESCRIPTOR,
    descriptor((q) => q.pageGroupResponse(0x1234, 0x54321, 0x1ff, 1)),
  );
  assert.deepEqual([response.typeLow, response.responseCode, response.requesterId], [9, 1, 0x1234]);
  assert.deepEqual([response.pasid, response.groupIndex, response.pasidPresent], [0x54321, 511, 1]);
});

for (const scalable of [false, true]) {
  test(`${scalable ? "scalable" : "legacy"}: ATS is off until declared; device TLBs are told`, () => {
    const m = new DriverMachine(t3(), { scalable });
    const a = m.fn("03:00.0");
    const { driver } = m;
    const domain = driver.allocPaging(a, PLAIN, undefined);
    domain.map(512, 1024, 512, 3);
    driver.attach(a, undefined, domain);
    assert.equal(typeof m.ask(a, 600, { type: "translation" }), "string");
    assert.equal(typeof m.ask(a, 600, { type: "translated" }), "string");
    assert.deepEqual(driver.configure(a, { ats: true, pageRequests: true }), {
      ats: true,
      pageRequests: scalable,
    });
    assert.equal(m.ask(a, 600, { type: "translation" }), 1024, "a translation of 2 MiB");
    assert.equal(m.ask(a, 600, { type: "translated" }), 600);
    m.invalidated.length = 0;
    domain.unmap(512, 512);
    assert.deepEqual(m.invalidated, []);
    domain.sync();
    const message = { requester: ridOf(a), pasid: undefined, global: false };
    assert.deepEqual(m.invalidated, [{ ...message, frame: 512, pageCount: 512 }]);
    driver.attach(a, undefined, driver.blocked(a));
    assert.deepEqual(m.invalidated[1], { ...message, frame: 0, pageCount: 2 ** 52 });
    driver.configure(a, { ats: false, pageRequests: false });
    driver.attach(a, undefined, domain);
    assert.equal(typeof m.ask(a, 600, { type: "translated" }), "string");
  });
}

test("a device that does not answer invalidations does not stop the others", () => {
  const m = new DriverMachine(t3());
  const a = m.fn("03:00.0");
  const domain = m.driver.allocPaging(a, PLAIN, undefined);
  m.driver.attach(a, undefined, domain);
  m.driver.attach(a, makePasid(3), domain);
  m.driver.configure(a, { ats: true, pageRequests: false });
  domain.map(1, 2, 3, 3);
  assert.equal(m.ask(a, 1), 2);
  m.deviceAnswers = false;
  domain.unmap(1, 3);
  domain.sync();
  assert.equal(m.driver.units[0]?.queue.timeouts, 2);
  assert.equal(typeof m.ask(a, 1), "string");
});

test("page requests reach the handler in groups, answers reach the device", () => {
  const m = new DriverMachine(t3());
  const a = m.fn("03:00.0");
  const { driver, unit } = m;
  const domain = driver.allocPaging(a, PLAIN, undefined);
  driver.attach(a, makePasid(9), domain);
  driver.configure(a, { ats: true, pageRequests: true });
  const got: { device: number; pasid: number | undefined; group: PageRequestGroup }[] = [];
  driver.onPageRequests = (device, pasid, group) => {
    got.push({ device, pasid, group });
    return true;
  };
  const send = (frame: number, last: boolean, groupIndex: number, pasid: number | undefined) =>
    unit.pageRequest({
      requester: ridOf(a),
      pasid,
      privileged: false,
      execute: false,
      read: true,
      write: !last,
      last,
      groupIndex,
      frame,
    });
  assert.equal(send(0x123, false, 7, 9).kind, "queued");
  driver.poll();
  assert.equal(got.length, 0, "not the last of its group");
  send(0x125, true, 7, 9);
  send(0x1, true, 8, undefined);
  driver.poll();
  assert.equal(got.length, 2);
  const [first, second] = got;
  assert.deepEqual([first?.device, first?.pasid, first?.group.groupId], [a, 9, 7]);
  assert.deepEqual(first?.group.faults, [
    { perm: 3, address: 0x12_3000n },
    { perm: 1, address: 0x12_5000n },
  ]);
  first?.group.respond(0);
  first?.group.respond(1);
  const response = { requester: ridOf(a), pasid: 9, groupIndex: 7, code: 0 };
  assert.deepEqual(m.answers, [response], "the second answer goes nowhere");
  // The slot goes away: what waits, and what is still queued, is answered "invalid".
  send(0x200, true, 9, 9);
  m.answers.length = 0;
  driver.detachPasid(a, makePasid(9));
  assert.deepEqual(m.answers, [{ ...response, groupIndex: 9, code: 1 }]);
  second?.group.respond(0);
  assert.deepEqual(m.answers[1], { requester: ridOf(a), pasid: undefined, groupIndex: 8, code: 0 });
  driver.onPageRequests = () => false;
  send(0x1, true, 10, undefined);
  driver.poll();
  assert.equal(m.answers[2]?.code, 1, "nobody wants it");
});

test("a device that floods with groups costs bounded memory", () => {
  const m = new DriverMachine(t1());
  const unit = m.driver.units[0];
  assert.ok(unit !== undefined);
  const base = { rid: 0x100, frame: 1, read: true, write: false, execute: false };
  const add = (pasid: number, last: boolean) =>
    unit.desk.add({ ...base, privileged: false, group: 1, pasid, last });
  for (let pasid = 1; pasid <= 5000; pasid++) add(pasid, false);
  const late = add(1, true);
  assert.equal(late?.faults.length, 1, "the oldest incomplete group was lost");
  assert.equal(add(5000, true)?.faults.length, 2);
  for (let pasid = 1; pasid <= 5000; pasid++) add(pasid, true);
  assert.equal(unit.desk.waiting, 4096);
  assert.equal(m.answers.filter((answer) => answer.code === 15).length > 800, true);
  unit.desk.cancel(0x100, undefined, true);
  assert.equal(unit.desk.waiting, 0);
});

test("faults name device, PASID, address and reason, and make room again", () => {
  const m = new DriverMachine(t3(), { faultRecords: 2 });
  const [a, b] = [m.fn("03:00.0"), m.fn("04:00.0")];
  const { driver } = m;
  const domain = driver.allocPaging(a, PLAIN, undefined);
  driver.attach(a, makePasid(5), domain);
  driver.attach(b, undefined, domain);
  const seen: unknown[] = [];
  driver.onFault = ({ device, pasid, address, write, reason }) =>
    seen.push([device, pasid, address, write, reason]);
  for (let round = 0; round < 2; round++) {
    m.ask(a, 0x777, { pasid: 5 });
    m.ask(b, 0x1234, { write: true });
    m.ask(b, 1);
    driver.poll();
    assert.deepEqual(seen, [
      [a, 5, 0x77_7000n, false, "stage2NotPresent"],
      [b, undefined, 0x123_4000n, true, "stage2NotPresent"],
    ]);
    seen.length = 0;
  }
});

test("an interrupt may be sent by the requester that was given it, by no other", () => {
  const m = new DriverMachine(t3());
  const [a, b] = [ridOf(m.fn("03:00.0")), ridOf(m.fn("04:00.0"))];
  const table = m.driver.units[0]?.interrupts;
  assert.ok(table !== undefined);
  const target = { vector: 0x41, destination: 3 };
  const { index, address, data } = table.allocate({ kind: "requester", rid: a }, target);
  const send = (requester: number, upperAddress = 0) =>
    m.unit.interrupt({ requester, address, upperAddress, data });
  const answer = send(a);
  assert.equal(answer.kind, "delivered");
  if (answer.kind === "delivered") {
    assert.deepEqual([answer.interrupt.vector, answer.interrupt.destination], [0x41, 3]);
  }
  assert.equal(send(b).kind, "fault");
  const compatible = { requester: a, address: 0xfee0_3000, upperAddress: 0, data: 0x41 };
  assert.equal(m.unit.interrupt(compatible).kind, "fault", "compatibility format is blocked");
  table.set(index, { kind: "buses", first: 4, last: 4 }, { vector: 0x42, destination: 1 });
  assert.equal(send(a).kind, "fault", "the cached entry went with the old one");
  assert.equal(send(b).kind, "delivered");
  table.release(index);
  assert.equal(send(b).kind, "fault");
  assert.equal(table.used, 0);
  for (let i = 0; i < 256; i++) table.allocate({ kind: "requester", rid: a }, target);
  assert.throws(
    () => table.allocate({ kind: "requester", rid: a }, target),
    (e) => isRefusal(e, "ENOSPC"),
  );
});

test("without interrupt remapping interrupts are not isolated", () => {
  const m = new DriverMachine(t1(), { interruptRemapping: false });
  assert.equal(m.driver.capabilities(m.fn("01:00.0")).isolatedMsi, false);
  assert.equal(new DriverMachine(t1()).driver.capabilities(m.fn("01:00.0")).isolatedMsi, true);
});

test("PASID is switched on in the device while ATS is off", () => {
  const m = new DriverMachine(t1());
  const a = m.fn("01:00.0");
  const { driver } = m;
  driver.configure(a, { ats: true, pageRequests: false });
  const fn = m.host.fn("01:00.0");
  const at = (offset: number | undefined) => m.registers.get(a)?.read(offset ?? 0, 2) ?? 0;
  assert.equal(at((fn.pasid?.offset ?? 0) + 6) & 1, 0);
  driver.attach(a, makePasid(1), driver.allocPaging(a, PLAIN, undefined));
  assert.equal(at((fn.pasid?.offset ?? 0) + 6) & 1, 1);
  assert.equal(at((fn.ats?.offset ?? 0) + 6) & 0x8000, 0x8000);
});
