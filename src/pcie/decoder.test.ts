import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AddressDecoder, type Claim, makeDisjoint, UNCLAIMED, WINDOW } from "./decoder.js";

const SEED = 7;
const TOP = (1n << 64n) - 1n;

function split(address: bigint): Uint32Array {
  return Uint32Array.of(Number(address >> 32n), Number(address & 0xffffffffn));
}

/** Small addresses overlap often; the others reach both ends of 64 bits. */
const address = fc.oneof(fc.bigInt(0n, 40n), fc.bigInt(TOP - 40n, TOP), fc.bigInt(0n, TOP));
const claims = fc.array(
  fc
    .tuple(address, address, fc.nat(5), fc.integer({ min: WINDOW, max: 5 }))
    .map(
      ([a, b, owner, bar]): Claim => ({ first: a < b ? a : b, last: a < b ? b : a, owner, bar }),
    ),
  { maxLength: 12 },
);

test("a look-up finds the first claim that holds the address, in the right table", () => {
  console.log("seed", SEED);
  fc.assert(
    fc.property(claims, claims, fc.array(address, { minLength: 1 }), (one, two, at) => {
      const decoder = new AddressDecoder([one, two]);
      for (const [table, list] of [one, two].entries()) {
        const points = [...at, ...list.flatMap((c) => [c.first, c.last])];
        for (const a of points) {
          const entry = decoder.find(table, split(a));
          const expected = list.find((c) => c.first <= a && a <= c.last);
          assert.equal(entry === UNCLAIMED, expected === undefined);
          if (expected === undefined) continue;
          assert.equal(decoder.owner[entry], expected.owner);
          assert.equal(decoder.bar[entry], expected.bar);
        }
      }
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test("entries come back sorted, disjoint, and cover what the claims cover", () => {
  fc.assert(
    fc.property(claims, (list) => {
      const entries = [...new AddressDecoder([list]).entries(0)];
      assert.deepEqual(
        entries.map((e) => ({ ...e })),
        makeDisjoint(list).map(({ first, last, owner, bar }) => ({ first, last, owner, bar })),
      );
      entries.forEach((e, i) => {
        const before = entries[i - 1];
        assert.ok(e.first <= e.last && (before === undefined || before.last < e.first));
      });
    }),
    { seed: SEED, numRuns: 300 },
  );
});

test("claims past 64 bits are cut, and empty ones ignored", () => {
  const entries = makeDisjoint([
    { first: TOP, last: TOP + 100n, owner: 1, bar: 0 },
    { first: 8n, last: 7n, owner: 2, bar: 0 },
  ]);
  assert.deepEqual(
    entries.map((e) => [e.first, e.last, e.owner]),
    [[TOP, TOP, 1]],
  );
});
