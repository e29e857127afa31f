import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_PORTS, VtdBench } from "../../../test/support/vtd-tables.js";
import { readLayout, VTD_FAULT_RECORD } from "../../formats/index.js";
import { DmaAccess } from "../translation.js";

const RECORDS = 0x400;

function record(bench: VtdBench, index: number) {
  const words = [0, 4, 8, 12].map((at) => bench.unit.readRegister32(RECORDS + index * 16 + at));
  return readLayout(VTD_FAULT_RECORD, words);
}

test("a record holds address, requester, PASID, type and reason", () => {
  const bench = new VtdBench("scalable");
  const directory = bench.tables.frame();
  bench.tables.scalableContext(bench.root, 0x1234, directory | 0b1001n);
  bench.ask(0xfedc_ba98_7654_3210n, {
    requester: 0x1234,
    hasPasid: true,
    pasid: 0x1fff,
    execute: true,
    access: DmaAccess.atomic,
  });
  assert.deepEqual(record(bench, 0), {
    frame: 0xf_edcb_a987_6543,
    sourceId: 0x1234,
    type2: 1,
    privileged: 0,
    execute: 1,
    pasidPresent: 1,
    reason: 0x51,
    pasid: 0x1fff,
    addressType: 0,
    type1: 1,
    fault: 1,
  });
  assert.equal(bench.unit.readRegister32(0x34), 0b10, "pending, first record 0");
});

test("when every record is taken faults are lost, and the overflow bit says so", () => {
  const bench = new VtdBench("legacy", { faultRecords: 2 });
  for (const requester of [0x100, 0x200, 0x300]) bench.ask(0x1000n, { requester });
  assert.deepEqual(bench.unit.faults, { recorded: 2, lost: 1 });
  assert.equal(bench.unit.readRegister32(0x34), 0b11);
  // A free record does not help before the overflow bit is cleared.
  bench.unit.writeRegister32(RECORDS + 12, 0x8000_0000);
  bench.ask(0x1000n, { requester: 0x400 });
  assert.deepEqual(bench.unit.faults, { recorded: 2, lost: 2 });
  assert.equal(bench.unit.readRegister32(0x34), 0b11 | (1 << 8), "first pending record is 1");
  bench.unit.writeRegister32(0x34, 1);
  bench.ask(0x1000n, { requester: 0x500 });
  assert.equal(record(bench, 0).sourceId, 0x500);
  bench.unit.writeRegister32(RECORDS + 12, 0x8000_0000);
  bench.unit.writeRegister32(RECORDS + 28, 0x8000_0000);
  assert.equal(bench.unit.readRegister32(0x34), 0);
});

test("the fault event: masked it stays pending, unmasked it is sent once", () => {
  const sent: number[][] = [];
  const bench = new VtdBench(
    "legacy",
    {},
    { ...NO_PORTS, sendInterrupt: (a, u, d) => void sent.push([a, u, d]) },
  );
  const { unit } = bench;
  unit.writeRegister32(0x3c, 0x41);
  unit.writeRegister32(0x40, 0xfee0_1000);
  unit.writeRegister32(0x44, 7);
  assert.equal(unit.readRegister32(0x38), 0x8000_0000, "masked at first");
  bench.ask(0x1000n, { requester: 0x100 });
  assert.equal(unit.readRegister32(0x38) >>> 0, 0xc000_0000, "masked and pending");
  unit.writeRegister32(0x38, 0);
  assert.deepEqual(sent, [[0xfee0_1000, 7, 0x41]]);
  bench.ask(0x1000n, { requester: 0x200 });
  assert.equal(sent.length, 1, "a second fault raises no second event");
  unit.writeRegister32(RECORDS + 12, 0x8000_0000);
  unit.writeRegister32(RECORDS + 28, 0x8000_0000);
  bench.ask(0x1000n, { requester: 0x300 });
  assert.equal(sent.length, 2);
});

test("a settled condition takes its pending event away", () => {
  const bench = new VtdBench("legacy");
  bench.ask(0x1000n, { requester: 0x100 });
  bench.unit.writeRegister32(RECORDS + 12, 0x8000_0000);
  assert.equal(bench.unit.readRegister32(0x38), 0x8000_0000);
});
