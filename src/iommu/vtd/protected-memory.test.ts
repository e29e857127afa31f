import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdBench } from "../../../test/support/vtd-tables.js";
import { DmaAddressType } from "../translation.js";
import type { VtdUnitOptions } from "./unit.js";

/* Registers as numbers of their own, from the figures of VT-d § 11.4.16-11.4.20. */
const ENABLE = 0x64;
const LOW = { base: 0x68, limit: 0x6c };
const HIGH = { base: 0x70, limit: 0x78 };
const COMMAND = 0x18;
const ON = 0x8000_0000;
const BOTH = { protectedLowMemory: true, protectedHighMemory: true };
const DEVICE = 0x300;

/** Low region 0x40_0000-0x7f_ffff, high region 0x12_0020_0000-0x12_003f_ffff. */
function fenced(mode: "legacy" | "scalable" = "legacy", options: VtdUnitOptions = BOTH) {
  const bench = new VtdBench(mode, options);
  const { unit } = bench;
  unit.writeRegister32(LOW.base, 0x40_0000);
  unit.writeRegister32(LOW.limit, 0x60_0000);
  unit.writeRegister64(HIGH.base, 0x12_0020_0000n);
  unit.writeRegister64(HIGH.limit, 0x12_0020_0000n);
  unit.writeRegister32(ENABLE, ON);
  return bench;
}

const EDGES: readonly (readonly [bigint, boolean])[] = [
  [0x3f_fffcn, false],
  [0x40_0000n, true],
  [0x7f_fffcn, true],
  [0x80_0000n, false],
  [0x12_001f_fffcn, false],
  [0x12_0020_0000n, true],
  [0x12_003f_fffcn, true],
  [0x12_0040_0000n, false],
];

test("capability bits 5 and 6 tell the regions; without them there are no registers", () => {
  const capability = (options: VtdUnitOptions) =>
    (new VtdBench("legacy", options).unit.readRegister64(8) >> 5n) & 3n;
  assert.equal(capability({}), 0n);
  assert.equal(capability({ protectedLowMemory: true }), 1n);
  assert.equal(capability({ protectedHighMemory: true }), 2n);
  const none = fenced("legacy", {});
  for (const offset of [ENABLE, LOW.base, LOW.limit, HIGH.base, HIGH.base + 4, HIGH.limit]) {
    assert.equal(none.unit.readRegister32(offset), 0);
  }
  none.unit.writeRegister32(COMMAND, 0);
  assert.equal(none.ask(0x40_0000n), 0x40_0000n);
});

test("software finds the granule by writing ones, and the status follows the enable bit", () => {
  const { unit } = new VtdBench("legacy", { ...BOTH, hostAddressWidth: 46 });
  for (const offset of [LOW.base, LOW.limit]) {
    unit.writeRegister32(offset, 0xffff_ffff);
    assert.equal(unit.readRegister32(offset), 0xffe0_0000);
  }
  for (const offset of [HIGH.base, HIGH.limit]) {
    unit.writeRegister64(offset, 0xffff_ffff_ffff_ffffn);
    assert.equal(unit.readRegister64(offset), 0x3fff_ffe0_0000n);
  }
  unit.writeRegister32(ENABLE, ON);
  assert.equal(unit.readRegister32(ENABLE), ON + 1);
  unit.writeRegister32(ENABLE, 0);
  assert.equal(unit.readRegister32(ENABLE), 0);
});

test("remapping off: requests to the regions do not pass, and are not recorded", () => {
  const bench = fenced();
  bench.unit.writeRegister32(COMMAND, 0);
  for (const [address, isBlocked] of EDGES) {
    assert.equal(bench.ask(address), isBlocked ? "protectedMemory" : address);
    assert.equal(bench.answer.recorded, false);
  }
  assert.deepEqual(bench.unit.faults, { recorded: 0, lost: 0 });
  bench.unit.writeRegister32(ENABLE, 0);
  assert.equal(bench.ask(0x40_0000n), 0x40_0000n);
});

test("one region alone, and a limit below the base", () => {
  const low = fenced("legacy", { protectedLowMemory: true });
  low.unit.writeRegister32(COMMAND, 0);
  assert.equal(low.ask(0x40_0000n), "protectedMemory");
  assert.equal(low.ask(0x12_0020_0000n), 0x12_0020_0000n);
  low.unit.writeRegister32(LOW.limit, 0x20_0000);
  assert.equal(low.ask(0x40_0000n), 0x40_0000n);
});

test("legacy: pass-through and translated requests are blocked, remapped ones are not", () => {
  const bench = fenced();
  const { tables } = bench;
  const addressType = DmaAddressType.translated;
  tables.context(bench.root, DEVICE, (2n << 2n) | 1n, (5n << 8n) | 2n);
  const root = tables.frame();
  tables.context(bench.root, DEVICE + 1, root | (1n << 2n) | 1n, (6n << 8n) | 2n);
  tables.map2(root, 4, 0x1000n, 0x40_0000n);
  for (const [address, isBlocked] of EDGES) {
    const expected = isBlocked ? "protectedMemory" : address;
    assert.equal(bench.ask(address, { requester: DEVICE }), expected);
    assert.equal(bench.ask(address, { requester: DEVICE + 1, addressType }), expected);
  }
  assert.equal(bench.ask(0x1000n, { requester: DEVICE + 1 }), 0x40_0000n);
  assert.equal(bench.unit.faults.recorded, 0);
});

test("scalable: a blocked pass-through request does not keep later faults unrecorded", () => {
  const bench = fenced("scalable");
  const { tables } = bench;
  const directory = tables.frame();
  tables.pasidEntry(directory, 0, (4n << 6n) | 1n, 7n);
  tables.scalableContext(bench.root, DEVICE, directory | 1n);
  const ask = (address: bigint) => bench.ask(address, { requester: DEVICE });
  assert.equal(ask(0x1000n), 0x1000n);
  assert.equal(ask(0x40_0000n), "protectedMemory");
  assert.equal(bench.unit.faults.recorded, 0);
  assert.equal(ask(1n << 60n), "inputBeyondWidth");
  assert.equal(bench.unit.faults.recorded, 1);
  assert.equal(ask(0x80_0000n), 0x80_0000n);
});
