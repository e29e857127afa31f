import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DisjointSets } from "./disjoint-sets.js";

const SEED = 59;
const COUNT = 20;

test(`unions as a naive list of labels makes them (seed ${SEED})`, () => {
  const element = fc.integer({ min: 0, max: COUNT - 1 });
  fc.assert(
    fc.property(fc.array(fc.tuple(element, element), { maxLength: 40 }), (pairs) => {
      const sets = new DisjointSets(COUNT);
      let label = Array.from({ length: COUNT }, (_, i) => i);
      for (const [a, b] of pairs) {
        const [x, y] = [label[a], label[b]];
        assert.equal(sets.union(a, b), x !== y);
        label = label.map((l) => (l === x ? (y as number) : l));
      }
      const expected = [...new Set(label)].map((l) =>
        label.flatMap((other, i) => (other === l ? [i] : [])),
      );
      assert.deepEqual(sets.sets(), expected);
    }),
    { seed: SEED, numRuns: 300 },
  );
});
