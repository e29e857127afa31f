import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Iotlb } from "./iotlb.js";

const SEED = 1234;
const SHIFTS = [12, 21, 30] as const;

const entry = fc.record({
  domain: fc.constantFrom(1, 2, 0xf001),
  pasid: fc.constantFrom(0, 5),
  stage1: fc.boolean(),
  shift: fc.constantFrom(...SHIFTS),
  page: fc.nat(3),
});
const action = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("insert" as const), entry) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("domain" as const), entry) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("pasid" as const), entry) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("pages" as const), entry) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("pasid-pages" as const), entry) },
);

interface Held {
  readonly domain: number;
  readonly pasid: number;
  readonly stage1: boolean;
  readonly shift: number;
  readonly page: number;
}

const sameKey = (a: Held, b: Held): boolean =>
  a.domain === b.domain &&
  a.pasid === b.pasid &&
  a.stage1 === b.stage1 &&
  a.shift === b.shift &&
  a.page === b.page;

/** Pages of different sizes have places of their own: at 2^40, 2^41, 2^42. */
const baseFrame = (e: Held): number =>
  2 ** (28 + SHIFTS.indexOf(e.shift as 12)) + e.page * 2 ** (e.shift - 12);

test(`holds what was put in and not invalidated (seed ${SEED})`, () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const iotlb = new Iotlb(4096);
      let model: Held[] = [];
      for (const [kind, given] of actions) {
        const e: Held = given.stage1 ? given : { ...given, pasid: 0 };
        const frame = baseFrame(e);
        if (kind === "insert") {
          const [lo, hi] = halves(frame);
          iotlb.insert(e.domain, e.pasid, e.stage1, lo, hi, 0x1000, 7, e.shift, 0x18);
          model = [...model.filter((held) => !sameKey(held, e)), e];
        } else if (kind === "domain") {
          iotlb.invalidateDomain(e.domain);
          model = model.filter((held) => held.domain !== e.domain);
        } else if (kind === "pasid") {
          iotlb.invalidatePasid(e.domain, e.pasid);
          model = model.filter((held) => !(held.domain === e.domain && isOfPasid(held, e.pasid)));
        } else {
          const order = e.page === 3 ? 40 : e.page;
          const first = Math.floor(frame / 2 ** order) * 2 ** order;
          const hit = (held: Held): boolean =>
            baseFrame(held) < first + 2 ** order &&
            first < baseFrame(held) + 2 ** (held.shift - 12);
          if (kind === "pages") {
            iotlb.invalidateDomainPages(e.domain, frame, order);
            model = model.filter((h) => !(h.domain === e.domain && (h.stage1 || hit(h))));
          } else {
            iotlb.invalidatePasidPages(e.domain, e.pasid, frame, order);
            model = model.filter(
              (h) => !(h.domain === e.domain && isOfPasid(h, e.pasid) && hit(h)),
            );
          }
        }
        assert.equal(iotlb.size, model.length);
        const seen = iotlb
          .entries()
          .map((x) => `${x.domainId}/${x.pasid}/${x.frame}/${x.pageShift}`);
        const want = model.map(
          (h) => `${h.domain}/${h.stage1 ? h.pasid : undefined}/${baseFrame(h)}/${h.shift}`,
        );
        assert.deepEqual(seen.sort(), want.sort());
        for (const held of model) {
          const [lo, hi] = halves(baseFrame(held));
          assert.ok(iotlb.find(held.domain, held.pasid, held.stage1, lo | 0x123, hi));
          assert.equal(iotlb.pageShift, held.shift);
        }
      }
    }),
    { seed: SEED, numRuns: 60 },
  );
});

const isOfPasid = (held: Held, pasid: number): boolean => held.stage1 && held.pasid === pasid;

function halves(frame: number): [number, number] {
  return [((frame % 2 ** 20) * 4096) | 0, Math.floor(frame / 2 ** 20) | 0];
}

test("a full set gives up entries in turn, and never an answer that is wrong", () => {
  const iotlb = new Iotlb(8);
  for (let page = 0; page < 1000; page++) {
    const lo = page << 12;
    iotlb.insert(1, 0, false, lo, 0, (page + 5000) << 12, 3, 12, 0x18);
    assert.ok(iotlb.find(1, 0, false, lo | 0x10, 0));
    assert.equal(iotlb.lo, ((page + 5000) << 12) | 0x10);
    assert.equal(iotlb.hi, 3);
    assert.ok(iotlb.size <= 8);
  }
  assert.equal(iotlb.size, 8);
  iotlb.clear();
  assert.equal(iotlb.size, 0);
  assert.equal(iotlb.find(1, 0, false, 999 << 12, 0), false);
});

test("sizes that the hardware model does not offer are refused", () => {
  for (const entries of [0, 4, 12, 8192]) assert.throws(() => new Iotlb(entries), RangeError);
});
