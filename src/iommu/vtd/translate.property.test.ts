/**
 * Random tables in every mode against a map of pages: what the model says is mapped is what the
 * unit translates, with the rights of every entry on the way; without an invalidation it may also
 * be what was mapped since the last one, and nothing else.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type PageBytes, VtdBench, type VtdTables } from "../../../test/support/vtd-tables.js";
import { DmaAccess, DmaSource } from "../translation.js";

const SEED = 20260711;
const REQUESTER = 0x0310;
const PASID = 0x123;

interface Mode {
  readonly name: string;
  readonly bench: VtdBench;
  readonly hasPasid: boolean;
  /** Writes the entry of a page; 0 unmaps. */
  readonly map: (iova: bigint, target: bigint, bits: bigint, page: PageBytes) => void;
  readonly isStage1: boolean;
}

const MODES: readonly (() => Mode)[] = [
  ...([3, 4, 5] as const).map((levels) => () => legacy(levels)),
  ...([3, 4, 5] as const).map((levels) => () => stage2(levels)),
  ...([4, 5] as const).map((levels) => () => stage1(levels)),
  () => nested(4, 3),
  () => nested(5, 4),
];

function legacy(levels: 3 | 4 | 5): Mode {
  const bench = new VtdBench("legacy", { stage2Levels: [levels], iotlbEntries: 64 });
  const table = bench.tables.frame();
  bench.tables.context(bench.root, REQUESTER, table | 1n, BigInt(levels - 2) | (7n << 8n));
  const map: Mode["map"] = (...page) => mapStage2(bench.tables, table, levels, ...page);
  return { name: `legacy ${levels}`, bench, hasPasid: false, map, isStage1: false };
}

function scalable(levels: 3 | 4 | 5): { bench: VtdBench; directory: bigint } {
  const bench = new VtdBench("scalable", { stage2Levels: [levels], iotlbEntries: 64 });
  const directory = bench.tables.frame();
  bench.tables.scalableContext(bench.root, REQUESTER, directory | 0b1001n);
  return { bench, directory };
}

function stage2(levels: 3 | 4 | 5): Mode {
  const { bench, directory } = scalable(levels);
  const table = bench.tables.frame();
  const aw = BigInt(levels - 2) << 2n;
  bench.tables.pasidEntry(directory, PASID, table | 1n | (2n << 6n) | aw, 9n);
  const map: Mode["map"] = (...page) => mapStage2(bench.tables, table, levels, ...page);
  return { name: `stage 2, ${levels}`, bench, hasPasid: true, map, isStage1: false };
}

function stage1(levels: 4 | 5): Mode {
  const { bench, directory } = scalable(4);
  const { tables } = bench;
  const table = tables.frame();
  const mode = BigInt(levels - 4) << 2n;
  tables.pasidEntry(directory, PASID, 1n | (1n << 6n), 9n, table | mode);
  const map: Mode["map"] = (iova, target, bits, page) => {
    const at = tables.entry(tables.host, table, levels, iova, page, 7n);
    tables.write(at, entryOf(target, bits === 0n ? 0n : (bits & 2n) | 5n, page));
  };
  return { name: `stage 1, ${levels}`, bench, hasPasid: true, map, isStage1: true };
}

/** Stage 1 is fixed: IOVA n is guest address n + 2^38 / 2; stage 2 holds the random pages. */
function nested(levels1: 4 | 5, levels2: 3 | 4): Mode {
  const { bench, directory } = scalable(levels2);
  const { tables } = bench;
  const outer = tables.frame();
  let next = 0x10_0000n;
  const frames = new Map<bigint, bigint>();
  const guest = {
    frame: () => {
      const address = next;
      next += 0x1000n;
      const frame = tables.frame();
      frames.set(address, frame);
      tables.map2(outer, levels2, address, frame);
      return address;
    },
    where: (address: bigint) => (frames.get(address & ~0xfffn) ?? 0n) + (address & 0xfffn),
  };
  const inner = guest.frame();
  const aw = BigInt(levels2 - 2) << 2n;
  const mode = BigInt(levels1 - 4) << 2n;
  tables.pasidEntry(directory, PASID, outer | 1n | (3n << 6n) | aw, 9n, inner | mode);
  const shift = 1n << 37n;
  for (let gib = 0n; gib < 4n; gib++) {
    const iova = gib << 30n;
    tables.map1(guest, inner, levels1, iova, iova + shift, 7n, 0x4000_0000);
  }
  const map: Mode["map"] = (iova, ...page) =>
    mapStage2(tables, outer, levels2, iova + shift, ...page);
  return { name: `nested ${levels1} in ${levels2}`, bench, hasPasid: true, map, isStage1: true };
}

function entryOf(target: bigint, bits: bigint, page: PageBytes): bigint {
  if (bits === 0n) return 0n;
  return target | bits | (page === 0x1000 ? 0n : 0x80n);
}

function mapStage2(
  tables: VtdTables,
  table: bigint,
  levels: number,
  iova: bigint,
  target: bigint,
  bits: bigint,
  page: PageBytes,
): void {
  const at = tables.entry(tables.host, table, levels, iova, page, 3n);
  tables.write(at, entryOf(target, bits, page));
}

/** Where pages may be: each size in a place of its own, so that sizes do not meet. */
const PLACES: readonly (readonly [PageBytes, bigint])[] = [
  [0x1000, 0x0000_3000n],
  [0x1000, 0x001f_f000n],
  [0x1000, 0x4020_0000n],
  [0x20_0000, 0x0040_0000n],
  [0x20_0000, 0x4000_0000n],
  [0x4000_0000, 0x8000_0000n],
];

type Step =
  | { readonly kind: "map"; readonly place: number; readonly target: number; readonly bits: number }
  | { readonly kind: "flush" }
  | {
      readonly kind: "ask";
      readonly place: number;
      readonly offset: number;
      readonly write: boolean;
    };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("map" as const),
    place: fc.nat(PLACES.length - 1),
    target: fc.nat(15),
    bits: fc.nat(3),
  }),
  fc.constant({ kind: "flush" } as const),
  fc.record({
    kind: fc.constant("ask" as const),
    place: fc.nat(PLACES.length - 1),
    offset: fc.nat(0x3fff_ffff),
    write: fc.boolean(),
  }),
);

interface Page {
  readonly target: bigint;
  readonly bits: number;
}

for (const make of MODES) {
  const { name } = make();
  test(`${name}: random pages and invalidations against a map of pages (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => play(make(), steps)),
      { seed: SEED, numRuns: 30 },
    );
  });
}

function play(mode: Mode, steps: readonly Step[]): void {
  const now = new Map<number, Page>();
  /** Per place: everything that was mapped there since the last flush. */
  const since = new Map<number, Page[]>();
  for (const step of steps) {
    if (step.kind === "flush") {
      mode.bench.submit(2n | (1n << 4n));
      since.clear();
      for (const [place, page] of now) since.set(place, [page]);
    } else if (step.kind === "map") {
      const [size, iova] = PLACES[step.place] as readonly [PageBytes, bigint];
      const target = 0x100_0000_0000n + BigInt(step.target) * 0x4000_0000n;
      // Stage 1 has no page that can only be written.
      const bits = mode.isStage1 && step.bits === 2 ? 3 : step.bits;
      mode.map(iova, target, BigInt(bits), size);
      const page = { target, bits };
      now.set(step.place, page);
      since.set(step.place, [...(since.get(step.place) ?? []), page]);
    } else {
      ask(mode, step, now.get(step.place), since.get(step.place) ?? []);
    }
  }
}

function ask(
  mode: Mode,
  step: Step & { readonly kind: "ask" },
  now: Page | undefined,
  since: readonly Page[],
): void {
  const { bench, hasPasid } = mode;
  const [size, iova] = PLACES[step.place] as readonly [PageBytes, bigint];
  const offset = BigInt(step.offset % size) & ~3n;
  const request = {
    requester: REQUESTER,
    hasPasid,
    pasid: hasPasid ? PASID : 0,
    access: step.write ? DmaAccess.write : DmaAccess.read,
  };
  const want = (page: Page | undefined): bigint | "fault" => {
    const need = step.write ? 2 : 1;
    return page === undefined || (page.bits & need) === 0 ? "fault" : page.target + offset;
  };
  const got = bench.ask(iova + offset, request);
  const outcome = typeof got === "bigint" ? got : "fault";
  if (bench.answer.source === DmaSource.cache) {
    assert.ok(since.map(want).includes(outcome), `${mode.name}: ${got} was never there`);
  } else {
    assert.equal(outcome, want(now), mode.name);
  }
  if (typeof got !== "bigint") return;
  assert.ok(bench.answer.readable || bench.answer.writable);
  assert.ok(2 ** bench.answer.pageShift <= size);
}
