/** BARs and windows against registers written by hand from the specifications. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { barSpan, readBars } from "./bar.js";
import { readBridgeWindows } from "./bridge-window.js";
import { ConfigSpace, ConfigSpaceBuilder } from "./config-space.js";

function config(dwords: Readonly<Record<number, number>>): ConfigSpace {
  const builder = new ConfigSpaceBuilder();
  for (const [at, value] of Object.entries(dwords)) builder.set32(Number(at), value);
  return builder.buildComplete(256);
}

test("type bits make the kind, and a 64-bit BAR takes two registers", () => {
  const space = config({ 16: 0xfe00_0000, 20: 0x0000_e001, 24: 0x0000_000c, 28: 0x40 });
  assert.deepEqual(
    readBars(space, 0)?.map((b) => [b.index, b.kind, b.prefetchable, b.base]),
    [
      [0, "memory32", false, 0xfe00_0000n],
      [1, "io", false, 0xe000n],
      [2, "memory64", true, 0x40_0000_0000n],
    ],
  );
});

test("hints give sizes, and addresses where registers read zero", () => {
  const space = config({ 16: 0xfe00_0000 });
  const bars = readBars(space, 0, [
    { index: 0, size: 0x1000n },
    { index: 2, kind: "memory64", base: 0x1_0000_0000n, size: 0x10n },
    { index: 4, size: 0x100n, unassigned: true },
  ]);
  assert.deepEqual(
    bars?.map((b) => [b.index, b.base, b.size]),
    [
      [0, 0xfe00_0000n, 0x1000n],
      [2, 0x1_0000_0000n, 0x10n],
      [4, undefined, 0x100n],
    ],
  );
  assert.deepEqual(bars?.[0] && barSpan(bars[0]), { first: 0xfe00_0000n, last: 0xfe00_0fffn });
});

test("without registers hints are all there is, and without both nothing is known", () => {
  const nothing = new ConfigSpace(new Uint8Array(0), 0);
  assert.equal(readBars(nothing, undefined), undefined);
  assert.equal(readBars(nothing, undefined, [{ index: 0, base: 1n }])?.length, 1);
});

test("registers that read all ones, and half of a 64-bit BAR at the end, are harmless", () => {
  assert.deepEqual(readBars(config({ 16: 0xffff_ffff }), 0), []);
  const last = readBars(config({ 36: 0xfe00_0004, 40: 0x1234_5678 }), 0);
  assert.equal(last?.[0]?.base, 0xfe00_0000n);
});

test("a bridge has two BARs", () => {
  assert.equal(readBars(config({ 16: 0xfe00_0000, 24: 0x0201_0100 }), 1)?.length, 1);
});

test("windows: open, closed, 64-bit, 32-bit I/O, absent, unknown", () => {
  const open = readBridgeWindows(
    config({ 28: 0x3121, 32: 0xfe70_fe60, 36: 0x0011_0001, 40: 0x38, 44: 0x38, 48: 1 }),
  );
  assert.deepEqual(open.memory, {
    state: "open",
    span: { first: 0xfe60_0000n, last: 0xfe7f_ffffn },
  });
  assert.deepEqual(open.prefetchable, {
    state: "open",
    span: { first: 0x38_0000_0000n, last: 0x38_001f_ffffn },
  });
  // I/O base 1_2000, limit 0_3fff: above the limit.
  assert.deepEqual(open.io, { state: "closed" });
  const closed = readBridgeWindows(config({ 28: 0x01f1, 32: 0x0000_fff0, 36: 0x0001_fff1 }));
  assert.deepEqual(
    [closed.io.state, closed.memory.state, closed.prefetchable.state],
    ["closed", "closed", "closed"],
  );
  const absent = readBridgeWindows(config({ 32: 0xfe70_fe60 }));
  assert.deepEqual([absent.io.state, absent.prefetchable.state], ["absent", "absent"]);
  const unknown = readBridgeWindows(new ConfigSpace(new Uint8Array(0), 0));
  assert.deepEqual(
    [unknown.io.state, unknown.memory.state, unknown.prefetchable.state],
    ["unknown", "unknown", "unknown"],
  );
});

test("a 16-bit I/O window ignores the upper registers", () => {
  const { io } = readBridgeWindows(config({ 28: 0x2010, 48: 0xffff_ffff }));
  assert.deepEqual(io, { state: "open", span: { first: 0x1000n, last: 0x2fffn } });
});
