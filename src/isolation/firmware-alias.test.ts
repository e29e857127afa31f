import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bdf } from "../../test/support/topologies.js";
import { makeRid } from "../units/index.js";
import { foldedStreamOf, ivrsAliasOf } from "./firmware-alias.js";
import type { IvrsTable } from "./host-facts.js";

const SEED = 53;

function table(...units: { first: number; last: number; alias: number }[][]): IvrsTable {
  return {
    units: units.map((aliases, i) => ({
      segment: 0,
      iommu: bdf(`00:00.${i}`),
      base: 0n,
      covered: [],
      aliases,
    })),
    memory: [],
  };
}

test(`the last entry that holds a number decides, over all units (seed ${SEED})`, () => {
  // Ranges may be backwards, endless or outside: a damaged table must not matter.
  const edge = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.constantFrom(-5, 65535, 65536, 2 ** 31),
  );
  const entry = fc.record({ first: edge, last: edge, alias: fc.integer({ min: 0, max: 99 }) });
  const entries = fc.array(entry, { maxLength: 8 });
  fc.assert(
    fc.property(entries, entries, fc.integer({ min: 0, max: 45 }), (one, two, rid) => {
      const hits = [...one, ...two].filter((e) => e.first <= rid && rid <= e.last);
      const last = hits.at(-1)?.alias;
      const expected = last === rid ? undefined : last;
      assert.equal(ivrsAliasOf(table(one, two), 0, makeRid(rid))?.rid, expected);
    }),
    { seed: SEED, numRuns: 300 },
  );
});

test("entries of other segments do not count", () => {
  const ivrs = table([{ first: 0, last: 0xffff, alias: 7 }]);
  assert.equal(ivrsAliasOf(ivrs, 1, makeRid(3)), undefined);
  assert.equal(ivrsAliasOf(undefined, 0, makeRid(3)), undefined);
});

test("only a single mapping to an SMMU folds a segment", () => {
  const complex = (to: "smmuv3" | "its", single: boolean) => ({
    iort: {
      rootComplexes: [
        {
          segment: 2,
          ats: false,
          pasidBits: 0,
          mappings: [{ firstRid: 0, lastRid: 0, to, single, outputBase: 8 }],
        },
      ],
    },
  });
  assert.equal(foldedStreamOf(complex("smmuv3", true), 2), "0:8");
  assert.equal(foldedStreamOf(complex("smmuv3", true), 0), undefined);
  assert.equal(foldedStreamOf(complex("smmuv3", false), 2), undefined);
  assert.equal(foldedStreamOf(complex("its", true), 2), undefined);
  assert.equal(foldedStreamOf({}, 2), undefined);
});
