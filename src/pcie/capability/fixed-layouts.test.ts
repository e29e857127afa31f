/** Capabilities that no sample has, by bytes laid out as the specification draws them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigSpace } from "../config-space.js";
import { readEnhancedAllocation } from "./enhanced-allocation.js";
import { readResizableBars, resizableSizes } from "./resizable-bar.js";

const MIB = 1n << 20n;

test("enhanced allocation: 32-bit and 64-bit entries, BARs and VF BARs", () => {
  const bytes = new Uint8Array(256);
  const dwords = new DataView(bytes.buffer);
  const put = (at: number, ...words: number[]) => {
    words.forEach((word, i) => {
      dwords.setUint32(at + 4 * i, word, true);
    });
  };
  // Two entries. First: BAR 0, memory, 32-bit, 64 KiB at fe000000, enabled.
  put(0x40, 0x0002_0014, 0x80ff_0002, 0xfe00_0000, 0x0000_fffc);
  // Second: VF BAR 0, VF prefetchable, base and offset 64 bits wide, writable, enabled.
  put(0x50, 0xc0ff_0394, 0x0000_0002, 0xffff_fffe, 0x0000_0001, 0x0000_0000);
  const facts = readEnhancedAllocation(ConfigSpace.fromDump(bytes), 0x40);
  assert.equal(facts.broken, false);
  assert.equal(facts.fixedBuses, undefined);
  assert.deepEqual(
    facts.entries.map((e) => [e.target, e.primary, e.enabled, e.writable, e.span]),
    [
      [
        { kind: "bar", index: 0 },
        "memory",
        true,
        false,
        { first: 0xfe00_0000n, last: 0xfe00_ffffn },
      ],
      [
        { kind: "vf-bar", index: 0 },
        "vf-prefetchable",
        true,
        true,
        { first: 1n << 32n, last: (1n << 32n) + 0xffff_ffffn },
      ],
    ],
  );
});

test("an enhanced allocation entry that leaves its space is cut", () => {
  const bytes = new Uint8Array(256);
  bytes.set([0x14, 0, 5, 0], 0xf0);
  bytes.set([0x03], 0xf4);
  const facts = readEnhancedAllocation(ConfigSpace.fromDump(bytes), 0xf0);
  assert.equal(facts.broken, true);
  assert.equal(facts.entries.length, 0);
});

test("resizable BARs: 1 MiB is capability bit 4, 256 TiB control bit 16", () => {
  assert.deepEqual(resizableSizes(0x10, 0), [MIB]);
  assert.deepEqual(resizableSizes(0x8000_0000, 0x1_0000), [1n << 47n, 1n << 48n]);
  const bytes = new Uint8Array(4096);
  // 256 MiB to 1 GiB; two BARs, index 2, now 512 MiB.
  bytes.set([0x00, 0x70, 0, 0, 0x42, 0x09, 0, 0], 0x104);
  // The second: index 4, 1 MiB, with size 0.
  bytes.set([0x10, 0x00, 0, 0, 0x04, 0x00, 0, 0], 0x10c);
  assert.deepEqual(readResizableBars(ConfigSpace.fromDump(bytes), 0x100), [
    { offset: 0x104, index: 2, sizes: [256n * MIB, 512n * MIB, 1024n * MIB], size: 512n * MIB },
    { offset: 0x10c, index: 4, sizes: [MIB], size: MIB },
  ]);
});
