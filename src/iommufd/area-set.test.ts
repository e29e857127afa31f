/** Areas and the search for free addresses against an array of intervals. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TestSystem } from "../../test/support/iommufd.js";
import { type NaiveArea, NaiveSpace } from "../../test/support/naive-space.js";
import { Random } from "../../test/support/random.js";
import { UapiError } from "../abi/index.js";
import { AreaSet } from "./area-set.js";
import { type Iommufd, MapFlag } from "./index.js";
import { addressOf, offsetOf, pageOf } from "./position.js";

const SEED = 20260611;
const RW = MapFlag.readable | MapFlag.writeable;

function insert(set: AreaSet, first: bigint, last: bigint): number {
  return set.insert(
    pageOf(first),
    offsetOf(first),
    pageOf(last),
    offsetOf(last),
    pageOf(first),
    offsetOf(first),
    7,
    3,
  );
}

function contents(set: AreaSet): NaiveArea[] {
  const out: NaiveArea[] = [];
  for (set.toFirst(); set.found; set.next()) {
    const { row, firstPage, rows } = set;
    const first = addressOf(firstPage, rows.firstOffset(row));
    const last = addressOf(rows.lastPage(row), rows.lastOffset(row));
    out.push({ first, last, start: addressOf(rows.startPage(row), rows.startOffset(row)) });
  }
  return out;
}

/** Positions where areas crowd: within one page, around 2^53 pages' worth, at the very top. */
function randomRange(random: Random): { first: bigint; last: bigint } {
  const base = random.pick([0n, 0x10000n, 0x10000n, 0x40000000n, 2n ** 63n, 2n ** 64n - 0x20000n]);
  const unit = random.pick([1n, 0x100n, 0x1000n, 0x1000n]);
  const first = base + BigInt(random.below(4096)) * unit;
  const length = BigInt(1 + random.below(3)) * unit;
  const last = first + length - 1n;
  const top = 2n ** 64n - 1n;
  return { first: first > top ? top : first, last: last > top ? top : last };
}

describe("areas", () => {
  it("insert, seek and remove as an array of intervals does", () => {
    const random = new Random(SEED);
    const set = new AreaSet();
    const naive = new NaiveSpace();
    for (let step = 0; step < 6000; step++) {
      const range = randomRange(random);
      if (random.below(100) < 65) {
        const row = insert(set, range.first, range.last);
        assert.equal(row < 0, naive.overlaps(range.first, range.last), `seed ${SEED} step ${step}`);
        if (row >= 0) naive.add({ ...range, start: range.first });
      } else {
        set.seekEnding(pageOf(range.first), offsetOf(range.first));
        const expected = naive.areas.find((a) => a.last >= range.first);
        assert.equal(set.found, expected !== undefined, `seed ${SEED} step ${step}`);
        if (expected === undefined) continue;
        assert.equal(addressOf(set.firstPage, set.rows.firstOffset(set.row)), expected.first);
        set.remove();
        naive.areas.splice(naive.areas.indexOf(expected), 1);
      }
    }
    assert.ok(naive.areas.length > 1200, `${naive.areas.length} areas split chunks`);
    assert.deepEqual(contents(set), naive.areas);
    assert.equal(set.size, naive.areas.length);
  });

  it("grow and shrink in either order without waste", () => {
    for (const order of ["up", "down"] as const) {
      const set = new AreaSet();
      const count = 20_000;
      for (let i = 0; i < count; i++) {
        const page = BigInt(order === "up" ? i : count - i);
        assert.ok(insert(set, page << 12n, (page << 12n) + 4095n) >= 0);
      }
      assert.ok(set.storedBytes <= count * 64 * 1.05, `${order}: ${set.storedBytes} bytes`);
      for (let i = 0; i < count; i++) {
        set.toFirst();
        set.remove();
      }
      assert.equal(set.size, 0);
      set.toFirst();
      assert.equal(set.found, false);
      assert.ok(set.storedBytes < count * 30, "chunks went");
    }
  });

  it("stay within 64 bytes each at random places", () => {
    const random = new Random(SEED);
    const set = new AreaSet();
    while (set.size < 50_000) {
      const first = (BigInt(random.next()) << 20n) | BigInt(random.below(256) << 12);
      insert(set, first, first + 4095n);
    }
    assert.ok(set.storedBytes <= set.size * 64 * 1.05, `${set.storedBytes / set.size} bytes each`);
  });
});

type Step =
  | { readonly kind: "auto"; readonly start: bigint; readonly length: bigint }
  | { readonly kind: "unmap"; readonly pick: number }
  | { readonly kind: "fixed"; readonly iova: bigint; readonly length: bigint }
  | { readonly kind: "reserve"; readonly first: bigint; readonly length: bigint }
  | { readonly kind: "allow"; readonly spans: readonly (readonly [bigint, bigint])[] };

const small = (limit: number) => fc.integer({ min: 0, max: limit }).map(BigInt);
const length = fc.oneof(
  small(12).map((n) => (n + 1n) << 12n),
  small(12).map((n) => (n + 1n) << 9n),
  fc.constantFrom(1n, 0x200000n, 0x201000n, 0x40000000n),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ start: start(), length }).map(auto) },
  { weight: 3, arbitrary: fc.nat(1000).map((pick): Step => ({ kind: "unmap", pick })) },
  {
    weight: 2,
    arbitrary: fc
      .record({ iova: small(64).map((n) => n << 11n), length })
      .map((r): Step => ({ kind: "fixed", ...r })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ first: small(4000).map((n) => n << 10n), length })
      .map((r): Step => ({ kind: "reserve", ...r })),
  },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.tuple(small(63), small(40)), { maxLength: 3 })
      .map((list): Step => ({ kind: "allow", spans: allowedFrom(list) })),
  },
);

function start(): fc.Arbitrary<bigint> {
  return fc.oneof(
    small(64).map((n) => n << 12n),
    small(64).map((n) => n << 9n),
    fc.constantFrom(0n, 0x200000n, 0x40000000n, 1n, 0x123n),
  );
}

function auto(r: { start: bigint; length: bigint }): Step {
  return { kind: "auto", ...r };
}

function allowedFrom(list: readonly (readonly [bigint, bigint])[]): [bigint, bigint][] {
  let at = 0n;
  return list.map(([gap, pages]) => {
    const first = at + (gap << 12n);
    const last = first + ((pages + 1n) << 12n) - 1n;
    at = last + 1n;
    return [first, last];
  });
}

function play(fd: Iommufd, naive: NaiveSpace, ioasId: number, s: Step): void {
  const expect = (call: () => bigint | undefined, code: string | undefined): bigint | undefined => {
    try {
      const got = call();
      assert.equal(undefined, code, "was not refused");
      return got;
    } catch (error) {
      if (!UapiError.is(error)) throw error;
      assert.equal(error.code, code);
      return undefined;
    }
  };
  if (s.kind === "auto") {
    const wanted = naive.choose(s.length, s.start);
    const args = { ioasId, flags: RW, userVa: s.start, length: s.length };
    const got = expect(() => fd.ioasMap(args), wanted === undefined ? "ENOSPC" : undefined);
    assert.equal(got, wanted);
    if (wanted !== undefined) {
      naive.add({ first: wanted, last: wanted + s.length - 1n, start: s.start });
    }
  } else if (s.kind === "fixed") {
    const last = s.iova + s.length - 1n;
    const code = naive.isReserved(s.iova, last) ? "EINVAL" : naive.overlaps(s.iova, last);
    const args = { ioasId, flags: RW | MapFlag.fixedIova, userVa: 0n, length: s.length };
    const want = code === false ? undefined : code === true ? "EEXIST" : code;
    expect(() => fd.ioasMap({ ...args, iova: s.iova }), want);
    if (want === undefined) naive.add({ first: s.iova, last, start: 0n });
  } else if (s.kind === "unmap") {
    const area = naive.areas[s.pick % (naive.areas.length || 1)];
    if (area === undefined) return;
    const size = area.last - area.first + 1n;
    assert.equal(fd.ioasUnmap(ioasId, area.first, size), naive.unmap(area.first, area.last));
  } else if (s.kind === "reserve") {
    const last = s.first + s.length - 1n;
    const isUsed =
      naive.overlaps(s.first, last) ||
      naive.allowed.some((a) => a.first <= last && s.first <= a.last);
    expect(
      () => {
        fd.ioasReserve(ioasId, { first: s.first, last });
        return 0n;
      },
      isUsed ? "EADDRINUSE" : undefined,
    );
    if (!isUsed) naive.reserved.push({ first: s.first, last });
  } else {
    const spans = s.spans.map(([first, last]) => ({ first, last }));
    const isReserved = spans.some((a) => naive.isReserved(a.first, a.last));
    expect(
      () => {
        fd.ioasAllowIovas(ioasId, spans);
        return 0n;
      },
      isReserved ? "EADDRINUSE" : undefined,
    );
    if (!isReserved) naive.allowed = spans;
  }
}

describe("the automatic choice", () => {
  it("is the naive first fit's, after any steps", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        const fd = new TestSystem().open();
        const ioasId = fd.ioasAlloc();
        const naive = new NaiveSpace();
        for (const s of steps) play(fd, naive, ioasId, s);
        assert.deepEqual(contents(fd.ioas(ioasId).space.areas), naive.areas);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("is right over many chunks with holes of all sizes", () => {
    const random = new Random(SEED);
    const fd = new TestSystem().open();
    const ioasId = fd.ioasAlloc();
    const { space } = fd.ioas(ioasId);
    const mapped: { first: bigint; size: bigint }[] = [];
    for (let i = 0; i < 5000; i++) {
      const size = BigInt(1 + random.below(4)) << 12n;
      const first = fd.ioasMap({ ioasId, flags: RW, userVa: 0x1000n, length: size });
      mapped.push({ first, size });
    }
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 25; i++) {
        const [gone] = mapped.splice(random.below(mapped.length), 1);
        if (gone !== undefined) fd.ioasUnmap(ioasId, gone.first, gone.size);
      }
      const naive = new NaiveSpace();
      naive.areas = contents(space.areas);
      for (let i = 0; i < 4; i++) {
        const size = BigInt(1 + random.below(6)) << 12n;
        const userVa = BigInt(1 + random.below(16)) << 12n;
        const wanted = naive.choose(size, userVa);
        const got = fd.ioasMap({ ioasId, flags: RW, userVa, length: size });
        assert.equal(got, wanted, `seed ${SEED} round ${round}`);
        naive.add({ first: got, last: got + size - 1n, start: userVa });
        mapped.push({ first: got, size });
      }
    }
  });
});
