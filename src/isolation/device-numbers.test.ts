import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { buildFabric, ConfigSpace, FunctionTable, PciFunction } from "../pcie/index.js";
import { type Bdf, bdfFromRid } from "../units/index.js";
import { makePartition, partitionOf } from "./partition.js";

const SEED = 20_260_602;
const EMPTY = new ConfigSpace(new Uint8Array(0), 0);
const describe = (bdf: Bdf) => ({ bdf, config: EMPTY });

/** Addresses on a few buses of two segments, with a number from -1 to 5 each. */
const numbered = fc.uniqueArray(
  fc.record({
    bdf: fc
      .tuple(fc.constantFrom(0, 0x1_0000), fc.nat(0x3ff))
      .map(([segment, rid]) => bdfFromRid(segment, rid)),
    number: fc.integer({ min: -1, max: 5 }),
  }),
  { selector: (item) => item.bdf, maxLength: 40 },
);

test(`a partition from numbers is that from lists of members (seed ${SEED})`, () => {
  fc.assert(
    fc.property(numbered, (items) => {
      const fabric = buildFabric({ functions: items.map(({ bdf }) => describe(bdf)) });
      const numberOf = new Int32Array(items.length);
      const lists = new Map<number, Bdf[]>();
      for (const { bdf, number } of items) {
        numberOf[fabric.indexOf(bdf)] = number;
        if (number >= 0) lists.set(number, [...(lists.get(number) ?? []), bdf]);
      }
      const made = partitionOf("linux-7.2", fabric, numberOf, [], []);
      const expected = makePartition("linux-7.2", lists.values(), [], []);
      assert.deepEqual(made.groups, expected.groups);
      assert.deepEqual([...made.groupOf], [...expected.groupOf]);
      assert.deepEqual([...made.groupOf.keys()], [...expected.groupOf.keys()]);
      assert.deepEqual([...made.groupOf.values()], [...expected.groupOf.values()]);
      assert.equal(made.groupOf.size, expected.groupOf.size);
      const seen: [Bdf, number][] = [];
      made.groupOf.forEach((number, device) => {
        seen.push([device, number]);
      });
      assert.deepEqual(seen, [...expected.groupOf]);
      for (const { bdf } of items) {
        assert.equal(made.groupOf.get(bdf), expected.groupOf.get(bdf));
        assert.equal(made.groupOf.has(bdf), expected.groupOf.has(bdf));
      }
      assert.equal(made.groupOf.get(bdfFromRid(7, 7)), undefined);
    }),
    { seed: SEED },
  );
});

test("a table of functions keeps those of its fabric, of others and of none apart", () => {
  const functions = [0, 8, 16].map((rid) => describe(bdfFromRid(0, rid)));
  const [one, other] = [buildFabric({ functions }), buildFabric({ functions })];
  const table = new FunctionTable<string>(one);
  const stranger = new PciFunction(describe(bdfFromRid(0, 0)));
  const all = [...one.functions, ...other.functions, stranger];
  for (const fn of all) assert.equal(table.get(fn), undefined);
  all.forEach((fn, i) => {
    table.set(fn, String(i));
  });
  all.forEach((fn, i) => {
    assert.equal(table.get(fn), String(i));
  });
  const fabricless = new FunctionTable<number>();
  fabricless.set(stranger, 1);
  assert.equal(fabricless.get(stranger), 1);
});

test("functions are numbered in the fabric's order, and found by address", () => {
  const rids = [0x100, 0x0, 0x208, 0x8];
  const fabric = buildFabric({ functions: rids.map((rid) => describe(bdfFromRid(0, rid))) });
  fabric.functions.forEach((fn, i) => {
    assert.equal(fn.index, i);
    assert.equal(fabric.indexOf(fn.bdf), i);
  });
  assert.deepEqual(
    fabric.byAddress.map((fn) => fn.rid),
    [0x0, 0x8, 0x100, 0x208],
  );
  assert.equal(fabric.indexOf(bdfFromRid(0, 0x10)), -1);
  assert.equal(fabric.function(bdfFromRid(0, 0x10)), undefined);
});
