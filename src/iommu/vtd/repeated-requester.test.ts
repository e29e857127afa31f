import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdBench } from "../../../test/support/vtd-tables.js";

const CONTEXTS_GLOBAL = 1n | (1n << 4n);
const PASIDS_GLOBAL = 7n | (3n << 4n);
const DEVICE = 0x300;
/** Second stage, 4 levels. */
const STAGE2 = 1n | (2n << 2n) | (2n << 6n);

function twoTables() {
  const bench = new VtdBench("scalable");
  const { tables } = bench;
  const roots = [tables.frame(), tables.frame()] as const;
  const targets = [0x10_0000n, 0x20_0000n] as const;
  roots.forEach((root, i) => void tables.map2(root, 4, 0x1000n, targets[i] ?? 0n));
  const directory = tables.frame();
  const entry = (which: 0 | 1): void => {
    tables.pasidEntry(directory, 0, roots[which] | STAGE2, BigInt(which + 1));
  };
  entry(0);
  tables.pasidEntry(directory, 7, roots[1] | STAGE2, 2n);
  tables.scalableContext(bench.root, DEVICE, directory | 1n | (1n << 3n));
  const ask = (change = {}) => bench.ask(0x1000n, { requester: DEVICE, ...change });
  return { bench, tables, targets, directory, entry, ask };
}

test("a repeated request sees an invalidation of its PASID entry and of its context", () => {
  const { bench, targets, entry, ask, tables } = twoTables();
  assert.deepEqual([ask(), ask()], [targets[0], targets[0]]);
  entry(1);
  assert.equal(ask(), targets[0], "stale until invalidated");
  bench.submit(PASIDS_GLOBAL);
  assert.deepEqual([ask(), ask()], [targets[1], targets[1]]);
  tables.scalableContext(bench.root, DEVICE, 0n);
  assert.equal(ask(), targets[1]);
  bench.submit(CONTEXTS_GLOBAL);
  assert.deepEqual([ask(), ask()], ["scalableContextNotPresent", "scalableContextNotPresent"]);
});

test("a request that differs from the one before in anything is looked up anew", () => {
  const { bench, targets, ask } = twoTables();
  const pasid7 = { hasPasid: true, pasid: 7 };
  assert.deepEqual([ask(), ask(pasid7), ask()], [targets[0], targets[1], targets[0]]);
  assert.equal(ask({ ...pasid7, pasid: 8 }), "pasidEntryNotPresent");
  assert.equal(ask({ addressType: 2 }), "deviceTlbDisabled");
  assert.equal(ask({ requester: DEVICE + 1 }), "scalableContextNotPresent");
  assert.deepEqual([ask(), ask(pasid7), ask(pasid7)], [targets[0], targets[1], targets[1]]);
  assert.equal(bench.ask(0xfee0_0000n, { requester: DEVICE, access: 2, length: 4 }), "interrupt");
  assert.equal(ask(), targets[0]);
  bench.unit.writeRegister32(0x18, 0);
  assert.equal(ask(), 0x1000n);
});
