import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  bdfFromRid,
  bitOf,
  busOf,
  devFnOf,
  deviceOf,
  formatBdf,
  formatRid,
  formatSpan,
  functionOf,
  InputError,
  intersectSpans,
  makeBdf,
  makePasid,
  makeRid,
  mergeSpans,
  parseBdf,
  ridOf,
  type Span,
  segmentOf,
  spanContains,
  spansOverlap,
  subtractSpan,
} from "./index.js";

const SEED = 3;
const parts = fc.tuple(
  fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 0xffff_ffff })),
  fc.integer({ min: 0, max: 255 }),
  fc.integer({ min: 0, max: 31 }),
  fc.integer({ min: 0, max: 7 }),
);

test("an address keeps its parts and survives printing", () => {
  fc.assert(
    fc.property(parts, ([segment, bus, device, fn]) => {
      const bdf = makeBdf(segment, bus, device, fn);
      assert.deepEqual(
        [segmentOf(bdf), busOf(bdf), deviceOf(bdf), functionOf(bdf)],
        [segment, bus, device, fn],
      );
      assert.equal(devFnOf(bdf), device * 8 + fn);
      assert.equal(bdfFromRid(segment, ridOf(bdf)), bdf);
      assert.equal(parseBdf(formatBdf(bdf)), bdf);
      assert.equal(parseBdf(formatBdf(bdf).toUpperCase()), bdf);
    }),
    { seed: SEED },
  );
});

test("addresses sort by segment, bus, device, function", () => {
  const compare = (a: number[], b: number[]) => {
    for (let i = 0; i < 4; i++) {
      const d = (a[i] ?? 0) - (b[i] ?? 0);
      if (d !== 0) return Math.sign(d);
    }
    return 0;
  };
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      assert.equal(Math.sign(makeBdf(...a) - makeBdf(...b)), compare(a, b));
    }),
    { seed: SEED },
  );
});

test("printed addresses look as lspci prints them", () => {
  assert.equal(formatBdf(makeBdf(0, 3, 0, 0)), "0000:03:00.0");
  assert.equal(formatBdf(makeBdf(0x10000, 0xe1, 0x1f, 7)), "10000:e1:1f.7");
  assert.equal(formatRid(makeRid(0x0308)), "03:01.0");
  assert.equal(parseBdf("03:00.0"), makeBdf(0, 3, 0, 0));
});

test("texts that are no addresses are undefined", () => {
  for (const text of ["", "3:00.0", "03:00.8", "03:20.0", "003:00.0", "03:00.0 ", "xx:00.0"]) {
    assert.equal(parseBdf(text), undefined, text);
  }
});

test("parts out of range are refused", () => {
  for (const bad of [
    () => makeBdf(2 ** 32, 0, 0, 0),
    () => makeBdf(0, 256, 0, 0),
    () => makeBdf(0, 0, 32, 0),
    () => makeBdf(0, 0, 0, 8),
    () => makeBdf(0, 0.5, 0, 0),
    () => bdfFromRid(0, 65_536),
    () => bdfFromRid(-1, 0),
    () => makeRid(-1),
    () => makePasid(1 << 20),
    () => makePasid(-1),
  ]) {
    assert.throws(bad, RangeError);
  }
  assert.equal(makePasid(0xfffff), 0xfffff);
});

test("a bit of an unknown word is unknown", () => {
  assert.equal(bitOf(undefined, 3), undefined);
  assert.equal(bitOf(0x8000_0000, 31), true);
  assert.equal(bitOf(0x7fff_ffff, 31), false);
});

test("an input error says where and what would be right", () => {
  const error = new InputError("is odd", { file: "a", line: 3, field: "b" }, "an even number");
  assert.equal(error.message, "a:3: b: is odd; expected an even number");
  assert.equal(new InputError("is odd", { file: "a" }).message, "a: is odd");
  assert.ok(InputError.is(error));
  assert.ok(!InputError.is(new Error("x")));
  assert.ok(!InputError.is("x"));
});

/** Spans over 0..20, judged by their members. */
const span = fc
  .tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 6 }))
  .map(([first, more]): Span => ({ first: BigInt(first), last: BigInt(first + more) }));

function members(spans: readonly Span[]): Set<number> {
  const out = new Set<number>();
  for (const { first, last } of spans) for (let i = first; i <= last; i++) out.add(Number(i));
  return out;
}

test("spans behave as the sets of their addresses", () => {
  fc.assert(
    fc.property(span, span, fc.array(span, { maxLength: 6 }), (a, b, many) => {
      const inA = members([a]);
      const inB = members([b]);
      const common = [...inA].filter((x) => inB.has(x));
      assert.equal(spansOverlap(a, b), common.length > 0);
      assert.equal(
        spanContains(a, b),
        [...inB].every((x) => inA.has(x)),
      );
      const both = intersectSpans(a, b);
      assert.deepEqual(both === undefined ? [] : [...members([both])], common);
      assert.deepEqual(members(subtractSpan(a, b)), new Set([...inA].filter((x) => !inB.has(x))));
      const before = structuredClone(many);
      const merged = mergeSpans(many);
      assert.deepEqual(many, before);
      assert.deepEqual(
        [...members(merged)],
        [...members(many)].sort((x, y) => x - y),
      );
      for (let i = 1; i < merged.length; i++) {
        const gap = (merged[i]?.first ?? 0n) - (merged[i - 1]?.last ?? 0n);
        assert.ok(gap > 1n, "adjacent spans are merged");
      }
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test("a span may end at the last 64-bit address", () => {
  const all: Span = { first: 0n, last: (1n << 64n) - 1n };
  assert.deepEqual(mergeSpans([all, { first: 5n, last: 9n }]), [all]);
  assert.equal(formatSpan({ first: 0xfde0_0000n, last: 0xfe3f_ffffn }), "0xfde00000-0xfe3fffff");
});
