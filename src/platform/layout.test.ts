/** Numbers and addresses: apart, inside their windows, aligned, and around what is fixed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { arbitraryRoots } from "../../test/support/random-fabric.js";
import { type FunctionSpec, PortType } from "../pcie/index.js";
import {
  busOf,
  formatBdf,
  type Span,
  segmentOf,
  spanContains,
  spansOverlap,
} from "../units/index.js";
import { layOut, type PlannedFunction, type PlannedRoot } from "./index.js";

const SEED = 8;

function memoryOf(spec: FunctionSpec): Span[] {
  return (spec.bars ?? []).flatMap((b) =>
    b.base === undefined || b.kind === "io" ? [] : [{ first: b.base, last: b.base + b.size - 1n }],
  );
}

test("BARs of random plans never overlap and are aligned", () => {
  fc.assert(
    fc.property(arbitraryRoots({}), (roots) => {
      const { functions, problems } = layOut(roots);
      if (problems.length > 0) {
        // Trees that are too large run out of bus numbers, and nothing else goes wrong.
        for (const p of problems) assert.match(p.text, /bus/);
        return;
      }
      const all = functions.flatMap((f) => memoryOf(f.spec));
      all.sort((a, b) => (a.first < b.first ? -1 : 1));
      for (let i = 1; i < all.length; i++) {
        assert.ok(!spansOverlap(all[i - 1] as Span, all[i] as Span));
      }
      for (const { first, last } of all) assert.equal(first % (last - first + 1n), 0n);
    }),
    { seed: SEED, numRuns: 200 },
  );
});

test("bus ranges of bridges are nested or apart, and hold the buses below", () => {
  fc.assert(
    fc.property(arbitraryRoots({ segments: false }), (roots) => {
      const { functions, problems } = layOut(roots);
      if (problems.length > 0) return;
      const ranges = functions.flatMap(({ spec }) =>
        spec.buses === undefined ? [] : [{ on: busOf(spec.bdf), range: spec.buses }],
      );
      for (const { on, range } of ranges) {
        assert.ok(range[1] > on && range[2] >= range[1]);
        for (const other of ranges) {
          const apart = other.range[1] > range[2] || other.range[2] < range[1];
          const inside = other.range[1] >= range[1] && other.range[2] <= range[2];
          const outside = other.range[1] <= range[1] && other.range[2] >= range[2];
          assert.ok(apart || inside || outside);
        }
      }
    }),
    { seed: SEED, numRuns: 100 },
  );
});

const MIB = 0x10_0000n;
const endpoint = (devFn: number, base?: bigint | null): PlannedFunction => ({
  devFn,
  type: PortType.Endpoint,
  bars: [{ index: 0, kind: "memory32", size: MIB, base }],
});
const port = (devFn: number, below: PlannedFunction[], window?: Span | null): PlannedFunction => ({
  devFn,
  type: PortType.RootPort,
  below,
  windows: { memory: window },
});
const root = (functions: PlannedFunction[]): PlannedRoot[] => [{ segment: 0, functions }];
const bars = (roots: PlannedRoot[]) =>
  layOut(roots).functions.flatMap((f) => f.spec.bars?.map((b) => b.base) ?? []);

test("automatic addresses keep clear of fixed ones", () => {
  const fixed = 0x8000_0000n;
  assert.deepEqual(bars(root([endpoint(8), endpoint(16, fixed), endpoint(24)])), [
    0x8010_0000n,
    fixed,
    0x8020_0000n,
  ]);
});

test("behind a fixed window addresses are taken from it, around those fixed inside", () => {
  const window = { first: 0x9000_0000n, last: 0x900f_ffffn + 2n * MIB };
  const inside = [endpoint(0), endpoint(1, 0x9010_0000n), endpoint(2)];
  const layout = layOut(root([port(8, inside, window), endpoint(16)]));
  assert.deepEqual(layout.problems, []);
  assert.deepEqual(
    layout.functions.flatMap((f) => f.spec.bars?.map((b) => b.base) ?? []),
    [0x9000_0000n, 0x9010_0000n, 0x9020_0000n, 0x8000_0000n],
  );
  assert.deepEqual(layout.functions[0]?.spec.memoryWindow, window);
});

test("a fixed window that is too small is a problem", () => {
  const window = { first: 0x9000_0000n, last: 0x900f_ffffn };
  const { problems } = layOut(root([port(8, [endpoint(0), endpoint(1)], window)]));
  assert.match(problems[0]?.text ?? "", /no memory addresses are left/);
});

test("behind a closed window BARs stay unassigned", () => {
  assert.deepEqual(bars(root([port(8, [endpoint(0)], null)])), [undefined]);
});

test("two windows that overlap are a problem, wherever they come from", () => {
  const window = { first: 0x9000_0000n, last: 0x900f_ffffn };
  const { problems } = layOut(root([port(8, [], window), port(16, [], window)]));
  assert.match(problems[0]?.text ?? "", /overlaps/);
});

test("an automatic window covers fixed addresses below", () => {
  const { functions } = layOut(root([port(8, [endpoint(0, 0xa000_0000n)])]));
  const window = functions[0]?.spec.memoryWindow;
  assert.ok(window && spanContains(window, { first: 0xa000_0000n, last: 0xa00f_ffffn }));
});

test("VFs that run past their bus keep the numbers they need", () => {
  const pf: PlannedFunction = {
    devFn: 0,
    type: PortType.Endpoint,
    sriov: { total: 4, enabled: 4, offset: 0x180, stride: 0x80 },
  };
  const { functions } = layOut(root([port(8, [pf]), port(16, [endpoint(0)])]));
  assert.deepEqual(
    functions.map((f) => formatBdf(f.spec.bdf)),
    [
      "0000:00:01.0",
      "0000:01:00.0",
      "0000:02:10.0",
      "0000:03:00.0",
      "0000:03:10.0",
      "0000:04:00.0",
      "0000:00:02.0",
      "0000:05:00.0",
    ],
  );
  assert.deepEqual(functions[0]?.spec.buses, [0, 1, 4]);
});

test("segments number their buses apart, and root buses of one segment follow each other", () => {
  const layout = layOut([
    { segment: 0, functions: [port(8, [endpoint(0)])] },
    { segment: 0, functions: [endpoint(8)] },
    { segment: 5, functions: [endpoint(8)] },
  ]);
  assert.deepEqual(
    layout.functions.map((f) => [segmentOf(f.spec.bdf), busOf(f.spec.bdf)]),
    [
      [0, 0],
      [0, 1],
      [0, 2],
      [5, 0],
    ],
  );
});
