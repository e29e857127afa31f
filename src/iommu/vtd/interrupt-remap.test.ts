import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdBench } from "../../../test/support/vtd-tables.js";
import { readLayout, remappableMessage, VTD_FAULT_RECORD, VtdFault } from "../../formats/index.js";
import type { VtdUnitOptions } from "./unit.js";

const SET_TABLE = 1 << 24;
const ENABLE = 1 << 25;
const PASS = 1 << 23;
const REQUESTER = 0x0310;

function unit(options: VtdUnitOptions = {}, extended = true) {
  const bench = new VtdBench("legacy", options);
  const table = bench.tables.frame();
  // 256 entries.
  bench.unit.writeRegister64(0xb8, table | 7n | (extended ? 1n << 11n : 0n));
  bench.command(SET_TABLE);
  bench.command(ENABLE);
  const entry = (index: number, low: bigint, high: bigint) =>
    bench.tables.write(table + BigInt(index) * 16n, low, high);
  const send = (index: number, requester = REQUESTER) =>
    bench.unit.interrupt({ requester, upperAddress: 0, ...remappableMessage(index) });
  const reason = (index: number, requester = REQUESTER) => {
    const answer = send(index, requester);
    return answer.kind === "fault" ? bench.unit.faultName(answer.reason) : answer.kind;
  };
  return { bench, table, entry, send, reason };
}

/** Present, vector 0x41, destination 7. */
const PLAIN = 1n | (0x41n << 16n) | (7n << 32n);
const FROM_US = BigInt(REQUESTER) | (1n << 18n);

test("an entry's interrupt reaches its destination", () => {
  const { entry, send, bench } = unit();
  entry(5, PLAIN | (1n << 2n) | (1n << 4n) | (1n << 5n), FROM_US);
  assert.deepEqual(send(5), {
    kind: "delivered",
    remapped: true,
    interrupt: {
      vector: 0x41,
      destination: 7,
      destinationMode: "logical",
      deliveryMode: 1,
      trigger: "level",
      index: 5,
    },
  });
  assert.deepEqual(bench.unit.inspect().interrupts, [{ index: 5, vector: 0x41, destination: 7 }]);
});

test("without extended mode the destination is eight bits", () => {
  const { entry, send, reason } = unit({}, false);
  entry(1, 1n | (0x41n << 16n) | (0x0900n << 32n), 0n);
  entry(2, 1n | (0x41n << 16n) | (0x10000n << 32n), 0n);
  const answer = send(1);
  assert.equal(answer.kind === "delivered" && answer.interrupt.destination, 9);
  assert.equal(reason(2), "interruptEntryReserved");
});

test("who may ask: requester with and without function bits, range of buses, anybody", () => {
  const { entry, reason } = unit();
  const by = (validation: bigint, qualifier: bigint, source: bigint) =>
    (validation << 18n) | (qualifier << 16n) | source;
  entry(0, PLAIN, by(1n, 0n, 0x0310n));
  entry(1, PLAIN, by(1n, 1n, 0x0310n));
  entry(2, PLAIN, by(1n, 2n, 0x0310n));
  entry(3, PLAIN, by(1n, 3n, 0x0310n));
  entry(4, PLAIN, by(2n, 0n, 0x0305n));
  entry(5, PLAIN, 0n);
  const allowed = (index: number) =>
    [0x0310, 0x0314, 0x0312, 0x0316, 0x0317, 0x0410, 0x0610].filter(
      (requester) => reason(index, requester) === "delivered",
    );
  assert.deepEqual(allowed(0), [0x0310]);
  assert.deepEqual(allowed(1), [0x0310, 0x0314]);
  assert.deepEqual(allowed(2), [0x0310, 0x0314, 0x0312, 0x0316]);
  assert.deepEqual(allowed(3), [0x0310, 0x0314, 0x0312, 0x0316, 0x0317]);
  assert.deepEqual(allowed(4), [0x0310, 0x0314, 0x0312, 0x0316, 0x0317, 0x0410]);
  assert.equal(allowed(5).length, 7);
  assert.equal(reason(0, 0x0311), "interruptSource");
});

test("every refusal has its code and leaves a record", () => {
  const { entry, reason, bench, table } = unit();
  entry(1, 0n, 0n);
  entry(2, PLAIN | (1n << 12n), 0n);
  entry(3, PLAIN, 3n << 18n);
  entry(4, PLAIN | (3n << 5n), 0n);
  entry(6, PLAIN | (1n << 15n), 0n);
  assert.equal(reason(1), "interruptNotPresent");
  assert.equal(reason(2), "interruptEntryReserved");
  assert.equal(reason(3), "interruptEntryReserved", "SVT 3");
  assert.equal(reason(4), "interruptEntryReserved", "delivery mode 3");
  assert.equal(reason(6), "interruptEntryReserved", "posted");
  assert.equal(reason(256), "interruptIndex");
  const send = (address: number, data: number, upperAddress = 0) => {
    const answer = bench.unit.interrupt({ requester: REQUESTER, address, data, upperAddress });
    return answer.kind === "fault" ? bench.unit.faultName(answer.reason) : answer.kind;
  };
  assert.equal(send(0xfee0_0010, 0x1_0000), "interruptReserved");
  assert.equal(send(0xfee0_0010, 0, 1), "interruptReserved");
  const words = [0, 4, 8, 12].map((at) => bench.unit.readRegister32(0x400 + at));
  const record = readLayout(VTD_FAULT_RECORD, words);
  assert.deepEqual(
    [record.reason, record.sourceId, (words[1] ?? 0) >>> 16],
    [VtdFault.interruptNotPresent, REQUESTER, 1],
  );
  bench.tables.memory.mark(Number(table >> 12n), "poisoned");
  assert.equal(reason(9), "interruptAccess");
});

test("a subhandle counts from the handle on", () => {
  const { entry, bench } = unit();
  entry(12, PLAIN, 0n);
  const address = 0xfee0_0018 + 10 * 32;
  const answer = bench.unit.interrupt({ requester: 1, address, upperAddress: 0, data: 2 });
  assert.equal(answer.kind === "delivered" && answer.interrupt.index, 12);
});

test("compatibility format: blocked, unless it may pass and destinations are eight bits", () => {
  const message = { requester: 1, address: 0xfee0_3004, upperAddress: 0, data: 0x8042 };
  const blocked = unit({}, false);
  const answer = blocked.bench.unit.interrupt(message);
  assert.equal(answer.kind === "fault" && answer.reason, VtdFault.interruptCompatibilityBlocked);
  blocked.bench.command(PASS);
  assert.deepEqual(blocked.bench.unit.interrupt(message), {
    kind: "delivered",
    remapped: false,
    interrupt: {
      vector: 0x42,
      destination: 3,
      destinationMode: "logical",
      deliveryMode: 0,
      trigger: "level",
      index: undefined,
    },
  });
  const extended = unit();
  extended.bench.command(PASS);
  assert.equal(extended.bench.unit.interrupt(message).kind, "fault");
  const off = new VtdBench("legacy", { interruptRemapping: false });
  off.command(ENABLE);
  assert.equal(off.unit.readRegister32(0x1c) & ENABLE, 0);
  assert.equal(off.unit.interrupt(message).kind, "delivered");
});

test("an entry stays cached until it is invalidated, alone or with all", () => {
  const { entry, send, bench } = unit();
  const vector = (index: number) => {
    const answer = send(index);
    return answer.kind === "delivered" ? answer.interrupt.vector : undefined;
  };
  const program = (v: bigint) => {
    entry(8, 1n | (v << 16n), 0n);
    entry(9, 1n | (v << 16n), 0n);
  };
  program(0x30n);
  assert.deepEqual([vector(8), vector(9)], [0x30, 0x30]);
  program(0x31n);
  assert.deepEqual([vector(8), vector(9)], [0x30, 0x30], "stale");
  bench.submit(4n | (1n << 4n) | (9n << 32n));
  assert.deepEqual([vector(8), vector(9)], [0x30, 0x31]);
  program(0x32n);
  bench.submit(4n | (1n << 4n) | (1n << 27n) | (8n << 32n));
  assert.deepEqual([vector(8), vector(9)], [0x32, 0x32]);
  program(0x33n);
  bench.submit(4n);
  assert.deepEqual([vector(8), vector(9)], [0x33, 0x33]);
});
