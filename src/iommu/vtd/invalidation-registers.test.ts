import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdBench } from "../../../test/support/vtd-tables.js";
import type { VtdUnitOptions } from "./unit.js";

/* Registers and fields as numbers of their own, from the figures of VT-d § 11.4.7 and § 11.4.8. */
const CONTEXT_COMMAND = 0x28;
const ROOT_TABLE = 0x20;
const COMMAND = { translation: 0x8000_0000, root: 0x4000_0000, queue: 0x0400_0000 };
const GO = 1n << 63n;

const DOMAIN = 0x21n;
const FIRST = 0x300;
const SECOND = 0x301;

/** Two functions of one domain with a stage-2 table each, in legacy mode without a queue. */
function legacy(options: VtdUnitOptions = {}) {
  const bench = new VtdBench("legacy", { registerInvalidation: true, ...options });
  const { tables, unit } = bench;
  unit.writeRegister32(0x18, COMMAND.translation);
  const root = tables.frame();
  const entries = [FIRST, SECOND].map((requester, i) =>
    tables.context(bench.root, requester, root | 1n, ((DOMAIN + BigInt(i)) << 8n) | 2n),
  );
  const map = (page: bigint, target: bigint) => tables.map2(root, 4, page << 12n, target << 12n);
  const iotlb = Number((unit.readRegister64(0x10) >> 8n) & 0x3ffn) * 16;
  const context = (command: bigint): bigint => {
    unit.writeRegister64(CONTEXT_COMMAND, command | GO);
    return unit.readRegister64(CONTEXT_COMMAND);
  };
  const flush = (command: bigint, address = 0n): bigint => {
    unit.writeRegister64(iotlb, address);
    unit.writeRegister64(iotlb + 8, command | GO);
    return unit.readRegister64(iotlb + 8);
  };
  return { bench, tables, unit, entries, map, context, flush, iotlb };
}

test("a unit without the option has version 6 and none of the registers", () => {
  const { unit } = new VtdBench("legacy");
  assert.equal(unit.readRegister32(0), 0x60);
  for (const offset of [CONTEXT_COMMAND, 0x500, 0x508]) {
    unit.writeRegister64(offset, GO | (1n << 61n));
    assert.equal(unit.readRegister64(offset), 0n);
  }
  assert.equal(legacy().unit.readRegister32(0), 0x50);
});

test("the IOTLB registers lie behind the fault records", () => {
  assert.equal(legacy().iotlb, 0x500);
  const { iotlb, flush } = legacy({ faultRecords: 256 });
  assert.equal(iotlb, 0x1400);
  assert.equal(flush(1n << 60n), (1n << 60n) | (1n << 57n));
});

test("context command: global, domain, device with and without function mask", () => {
  const { bench, entries, map, context, tables } = legacy();
  map(5n, 9n);
  const cached = () =>
    bench.unit
      .inspect()
      .contexts.map((line) => line.requester)
      .sort();
  const load = () => {
    for (const requester of [FIRST, SECOND])
      assert.equal(bench.ask(0x5000n, { requester }), 0x9000n);
    assert.deepEqual(cached(), [FIRST, SECOND]);
  };
  load();
  assert.equal(context(1n << 61n), (1n << 61n) | (1n << 59n));
  assert.deepEqual(cached(), []);
  load();
  assert.equal(context((2n << 61n) | DOMAIN), (2n << 61n) | (2n << 59n) | DOMAIN);
  assert.deepEqual(cached(), [SECOND]);
  load();
  context((3n << 61n) | (BigInt(SECOND) << 16n) | (DOMAIN + 1n));
  assert.deepEqual(cached(), [FIRST]);
  load();
  // All functions of the device; the domain still has to be the entry's.
  context((3n << 61n) | (3n << 32n) | (BigInt(SECOND) << 16n) | DOMAIN);
  assert.deepEqual(cached(), [SECOND]);
  load();
  tables.write(entries[0] ?? 0n, 0n);
  assert.equal(bench.ask(0x5000n, { requester: FIRST }), 0x9000n, "stale until invalidated");
  context(1n << 61n);
  assert.equal(bench.ask(0x5000n, { requester: FIRST }), "contextNotPresent");
});

test("IOTLB command: global, domain and pages", () => {
  const { bench, map, flush } = legacy();
  const ask = (page: bigint) => bench.ask(page << 12n, { requester: FIRST });
  const remap = (by: bigint) => {
    for (const page of [4n, 5n, 6n]) map(page, 0x100n + page + by);
  };
  const seen = () => [4n, 5n, 6n].map((page) => (ask(page) as bigint) >> 12n);
  remap(0n);
  assert.deepEqual(seen(), [0x104n, 0x105n, 0x106n]);
  remap(0x10n);
  assert.deepEqual(seen(), [0x104n, 0x105n, 0x106n]);
  // Pages 4 and 5, with the hint; drains change nothing that can be seen.
  const pages = (3n << 60n) | (3n << 48n) | (DOMAIN << 32n);
  assert.equal(flush(pages, 0x4000n | (1n << 6n) | 1n), pages | (3n << 57n));
  assert.deepEqual(seen(), [0x114n, 0x115n, 0x106n]);
  remap(0x20n);
  flush((2n << 60n) | ((DOMAIN + 1n) << 32n));
  assert.deepEqual(seen(), [0x114n, 0x115n, 0x106n]);
  flush((2n << 60n) | (DOMAIN << 32n));
  assert.deepEqual(seen(), [0x124n, 0x125n, 0x126n]);
  remap(0x30n);
  assert.equal(flush(1n << 60n), (1n << 60n) | (1n << 57n));
  assert.deepEqual(seen(), [0x134n, 0x135n, 0x136n]);
});

test("an incorrect command does nothing and reports granularity 0", () => {
  const { bench, unit, map, context, flush } = legacy();
  map(5n, 9n);
  const held = () => unit.inspect().contexts.length + unit.inspect().iotlb.length;
  bench.ask(0x5000n, { requester: FIRST });
  assert.equal(held(), 2);
  assert.equal(context(0n), 0n);
  assert.equal(flush(0n), 0n);
  // An address mask above what the capability register says (52).
  assert.equal(flush((3n << 60n) | (DOMAIN << 32n), 0x5000n | 53n), (3n << 60n) | (DOMAIN << 32n));
  // The queue is on.
  unit.writeRegister32(0x18, COMMAND.translation + COMMAND.queue);
  assert.equal(context(1n << 61n), 1n << 61n);
  assert.equal(flush(1n << 60n), 1n << 60n);
  unit.writeRegister32(0x18, COMMAND.translation);
  assert.equal(held(), 2);
  // Without the bit that begins, nothing begins.
  unit.writeRegister64(CONTEXT_COMMAND, 1n << 61n);
  assert.equal(held(), 2);
  // Scalable mode.
  unit.writeRegister64(ROOT_TABLE, bench.root | (1n << 10n));
  unit.writeRegister32(0x18, COMMAND.translation + COMMAND.root);
  assert.equal(flush(1n << 60n), 1n << 60n);
  assert.equal(unit.inspect().iotlb.length, 1);
});
