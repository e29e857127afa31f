import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRefusal } from "../abi/index.js";
import { FailNth, PhysicalMemory } from "../memory/index.js";
import { RadixTable } from "./radix.js";
import type { RadixFormat } from "./radix-format.js";
import { TableFrames } from "./table-frames.js";
import { stage1Format, stage2Format } from "./vtd/page-formats.js";

const OWNER = { label: "test" };
const SEED = 17;

function make(format: RadixFormat) {
  const memory = new PhysicalMemory();
  const frames = new TableFrames(memory);
  return { memory, frames, table: new RadixTable(frames, format, OWNER) };
}

/** Frees what an unmap unlinked. */
function settle(frames: TableFrames, table: RadixTable): void {
  for (const pfn of table.unlinked.splice(0)) frames.free(pfn);
}

/** A RISC-V Sv39 format, to show that the algorithms know no particular one. */
const SV39: RadixFormat = {
  name: "sv39",
  levels: 3,
  leafLevels: 0b1110,
  frameShift: 10,
  frameHigh: 0x003f_ffff,
  present: 1,
  tableMask: 0xe,
  tableValue: [0, 0, 0, 0, 0, 0],
  tableLow: [1, 1, 1, 1, 1, 1],
  tableHigh: [0, 0, 0, 0, 0, 0],
  leafMark: [0, 0, 0, 0, 0, 0],
  protLow: Array.from({ length: 16 }, (_, prot) => 1 | ((prot & 3) << 1)),
  protHigh: new Array<number>(16).fill(0),
  writable: 4,
  dirty: 0x80,
};

test("a single page: every byte of the tables, by hand from the figures (VT-d 5.0 § 9.8)", () => {
  const { memory, table } = make(stage2Format(4, 3));
  // Indices from the top: 0, 259, 1, 3.
  table.map(259 * 2 ** 18 + 512 + 3, 0x12_3456_789a, 1, 3);
  const root = memory.frameWord(table.root);
  const l4 = [memory.words[root], memory.words[root + 1]];
  const l3pfn = ((l4[0] ?? 0) >>> 12) + ((l4[1] ?? 0) & 0xfffff) * 0x10_0000;
  assert.equal((l4[0] ?? 0) & 0xfff, 3);
  const l3 = memory.frameWord(l3pfn) + 2 * 259;
  const l2pfn = (memory.words[l3] ?? 0) >>> 12;
  const l2 = memory.frameWord(l2pfn + ((memory.words[l3 + 1] ?? 0) & 0xfffff) * 0x10_0000) + 2;
  const l1pfn = (memory.words[l2] ?? 0) >>> 12;
  const l1 = memory.frameWord(l1pfn + ((memory.words[l2 + 1] ?? 0) & 0xfffff) * 0x10_0000) + 6;
  assert.equal(memory.words[l1], 0x6789_a003);
  assert.equal(memory.words[l1 + 1], 0x0001_2345);
});

test("the largest pages that alignment allows, by level", () => {
  const { table } = make(stage2Format(4, 3));
  // 1 page, then 2 MiB pages up to 1 GiB, one 1 GiB page, then 3 single pages.
  const first = 2 ** 18 - 512 - 1;
  table.map(first, 2 ** 20 + first, 1 + 512 + 2 ** 18 + 3, 3);
  const sizes = [...table.pages()].map((p) => p.count);
  assert.deepEqual(sizes, [1, 512, 2 ** 18, 1, 1, 1]);
  assert.equal(table.pageFrames(first + 1), 512);
  assert.equal(table.pageFrames(first + 600), 2 ** 18);
});

test("pages are no larger than the format has, and than both addresses are aligned", () => {
  const small = make(stage2Format(4, 1)).table;
  small.map(0, 512, 1024, 3);
  assert.equal([...small.pages()].length, 1024);
  const odd = make(stage1Format(4, 3)).table;
  odd.map(512, 513, 512, 1);
  assert.equal([...odd.pages()].length, 512);
});

test("frames cross 32 bits inside a run", () => {
  for (const format of [stage2Format(4, 3), stage1Format(5, 3), SV39]) {
    const { table } = make(format);
    const perHigh = 2 ** (32 - format.frameShift);
    table.map(5, perHigh - 3, 7, 3);
    table.map(1024, 3 * perHigh - 512, 1024, 3);
    for (let i = 0; i < 7; i++) assert.equal(table.translate(5 + i), perHigh - 3 + i, format.name);
    assert.equal(table.translate(1024 + 511), 3 * perHigh - 1);
    assert.equal(table.translate(1024 + 512), 3 * perHigh);
  }
});

test("mapping what is mapped is refused and leaves everything as it was", () => {
  for (const level of [1, 3] as const) {
    const { frames, table } = make(stage2Format(4, level));
    table.map(1000, 7, 600, 3);
    const before = JSON.stringify([...table.pages()]);
    const held = frames.held;
    const isThere = (e: unknown) => isRefusal(e, "EEXIST");
    assert.throws(() => table.map(990, 1, 11, 3), isThere);
    assert.throws(() => table.map(512, 1024, 1024, 3), isThere);
    assert.throws(() => table.map(1599, 1, 1, 3), isThere);
    assert.throws(() => table.map(0, 0, 2 ** 18, 3), isThere);
    assert.equal(JSON.stringify([...table.pages()]), before);
    assert.equal(frames.held, held);
  }
});

test("a large page that is partly unmapped goes as a whole; split keeps the rest", () => {
  const { frames, table } = make(stage2Format(4, 3));
  table.map(512, 1024, 512, 1);
  assert.equal(table.unmap(600, 1), 512);
  assert.equal(table.translate(512), undefined);
  settle(frames, table);
  assert.equal(frames.held, 1);

  table.map(2 ** 18, 2 ** 18, 2 ** 18, 1);
  assert.equal(table.split(2 ** 18), false, "a boundary between pages needs no split");
  assert.equal(table.split(2 ** 18 + 5), true);
  assert.equal(table.unmap(2 ** 18 + 5, 10), 10);
  assert.equal(table.translate(2 ** 18 + 4), 2 ** 18 + 4);
  assert.equal(table.translate(2 ** 18 + 5), undefined);
  assert.equal(table.translate(2 ** 18 + 15), 2 ** 18 + 15);
  assert.equal(table.pageFrames(2 ** 18 + 512), 512);
  const low = [...table.pages()][0]?.low ?? 0;
  assert.equal(low & 0xfff, 1, "rights are kept, the large-page bit is not");
});

test("dirty pages are found in runs and cleared on demand", () => {
  const { memory, table } = make(stage2Format(4, 2));
  table.map(0, 0, 512 + 8, 3);
  const mark = (iova: number) => {
    // The unit sets bit 9 of the page's entry: find it as the walk does.
    let word = memory.frameWord(table.root);
    for (let level = 4; level >= 1; level--) {
      word += 2 * (Math.floor(iova / 2 ** (9 * (level - 1))) % 512);
      const low = memory.words[word] ?? 0;
      if (level === 1 || low & 0x80) break;
      word = memory.frameWord((low >>> 12) + (memory.words[word + 1] ?? 0) * 0x10_0000);
    }
    memory.words[word] = (memory.words[word] ?? 0) | 0x200;
  };
  for (const iova of [3, 513, 514, 516]) mark(iova);
  const runs: number[][] = [];
  const see = (iova: number, count: number) => runs.push([iova, count]);
  assert.equal(table.scanDirty(0, 520, false, see), false);
  assert.deepEqual(runs, [
    [0, 512],
    [513, 2],
    [516, 1],
  ]);
  runs.length = 0;
  assert.equal(table.scanDirty(514, 1, true, see), true);
  assert.deepEqual(runs, [[514, 1]]);
  runs.length = 0;
  table.scanDirty(0, 520, true, see);
  table.scanDirty(0, 520, true, see);
  assert.deepEqual(runs, [
    [0, 512],
    [513, 1],
    [516, 1],
  ]);
});

/** Random operations against a Map of pages; sizes and places that make large pages. */
const operation = fc.record({
  kind: fc.constantFrom("map", "map", "unmap", "split"),
  iova: fc.oneof(
    fc.integer({ min: 0, max: 3000 }),
    fc.integer({ min: 2 ** 18 - 600, max: 2 ** 18 + 600 }),
    fc.constantFrom(0, 512, 1024, 2 ** 18),
  ),
  count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(512, 1024, 2000)),
  pfn: fc.oneof(fc.integer({ min: 0, max: 2 ** 38 }), fc.constantFrom(0, 512, 2 ** 20, 2 ** 18)),
});

test("tables say what a Map of pages says, and hold no frame too many", () => {
  for (const format of [stage2Format(3, 3), stage2Format(4, 2), stage1Format(5, 3), SV39]) {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 25 }), (operations) => {
        const { frames, table } = make(format);
        const naive = new Map<number, number>();
        for (const { kind, iova, count, pfn } of operations) {
          const range = Array.from({ length: count }, (_, i) => iova + i);
          if (kind === "split") table.split(iova);
          else if (kind === "unmap") {
            table.split(iova);
            table.split(iova + count);
            const there = range.filter((at) => naive.delete(at)).length;
            assert.equal(table.unmap(iova, count), there);
            settle(frames, table);
          } else if (range.some((at) => naive.has(at))) {
            assert.throws(() => table.map(iova, pfn, count, 3), UapiLike);
          } else {
            table.map(iova, pfn, count, 3);
            range.forEach((at, i) => {
              naive.set(at, pfn + i);
            });
          }
        }
        for (const [at, to] of naive) assert.equal(table.translate(at), to);
        const pages = [...table.pages()];
        assert.equal(
          pages.reduce((sum, p) => sum + p.count, 0),
          naive.size,
        );
        assert.equal(frames.held, table.tableCount);
        const tables = new Set(pages.map((p) => Math.floor(p.iova / 512)));
        assert.ok(table.tableCount <= 1 + tables.size * (format.levels - 1), "no empty tables");
        table.unmap(0, 2 ** 20);
        settle(frames, table);
        assert.equal(frames.held, 1, "only the root is left");
        table.free();
        assert.equal(frames.held, 0);
      }),
      { seed: SEED, numRuns: 60 },
    );
  }
});
const UapiLike = (e: unknown): boolean => isRefusal(e, "EEXIST");

test("each frame that is refused leaves the old state, and nothing leaks", () => {
  const spread = [1, 1025, 2 ** 18, 2 ** 27, 2 ** 27 + 1024, 2 ** 35];
  for (let n = 1; ; n++) {
    const { memory, frames, table } = make(stage2Format(5, 3));
    table.map(2 ** 18 - 3, 0, 2, 3);
    const before = JSON.stringify([...table.pages()]);
    const held = frames.held;
    const fail = new FailNth(n);
    memory.allocations = fail;
    try {
      for (const at of spread) table.map(at, at, 600, 3);
      table.split(2 ** 35 + 17);
    } catch (error) {
      assert.ok(isRefusal(error, "ENOMEM"));
    }
    for (const at of spread) table.unmap(at, 600);
    settle(frames, table);
    assert.equal(JSON.stringify([...table.pages()]), before, `failure ${n}`);
    assert.equal(frames.held, held, `failure ${n}`);
    assert.equal(memory.tableFrames, held);
    if (!fail.hasFailed) break;
  }
});

test("a map that fails leaves tables alone that wait for their caches", () => {
  const { frames, table } = make(stage2Format(4, 3));
  table.map(0, 0, 1, 3);
  table.unmap(0, 1);
  const waiting = [...table.unlinked];
  assert.equal(waiting.length, 3);
  const held = frames.held;
  table.map(2 ** 18, 0, 1, 3);
  assert.throws(() => table.map(2 ** 18 - 1, 0, 2, 3));
  assert.deepEqual(table.unlinked, waiting);
  assert.equal(frames.held, held + 3);
});

test("a table whose memory is lost refuses maps and is let go by unmap", () => {
  const { memory, frames, table } = make(stage2Format(4, 3));
  table.map(0, 0, 1, 3);
  for (const { pfn } of memory.tables()) if (pfn !== table.root) memory.mark(pfn, "poisoned");
  const again = new RadixTable(frames, stage2Format(4, 3), OWNER);
  again.map(0, 0, 1, 3);
  table.unmap(2 ** 30, 1);
  assert.throws(
    () => table.map(512, 0, 1, 3),
    (e) => isRefusal(e, "EIO"),
  );
  assert.equal(table.translate(0), undefined);
});
