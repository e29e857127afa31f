import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { RecordedGroups } from "../host/index.js";
import { makePartition } from "../isolation/index.js";
import { type Bdf, bdfFromRid } from "../units/index.js";
import { compareGroups } from "./compare.js";

const bdf = (n: number): Bdf => bdfFromRid(0, n);
const partition = (groups: number[][], ungrouped: number[] = []) =>
  makePartition(
    "linux-7.2",
    groups.map((g) => g.map(bdf)),
    [],
    ungrouped.map((n) => ({
      device: bdf(n),
      because: [{ kind: "outside-iommu-scope", at: bdf(n), cite: "DMAR" }],
    })),
  );
const recorded = (groups: number[][]): RecordedGroups => ({
  from: "lspci",
  place: { file: "x" },
  groups: groups.map((g, id) => ({ id: id * 7, devices: g.map(bdf) })),
});
const none = () => [];

test("numbers and order mean nothing, memberships do", () => {
  const agreement = compareGroups(partition([[1, 2], [3]]), recorded([[3], [2, 1]]), none);
  assert.deepEqual(agreement, { compared: 3, same: 3, different: [] });
});

test("devices that one side does not know are left out of the comparison", () => {
  const agreement = compareGroups(
    partition([[1, 2, 9], [3]]),
    recorded([
      [1, 2, 8],
      [3, 7],
    ]),
    none,
  );
  assert.deepEqual(agreement, { compared: 3, same: 3, different: [] });
});

test("a split, a merge and a device in no group are each a difference with both sides", () => {
  const split = compareGroups(partition([[1], [2]]), recorded([[1, 2]]), none);
  assert.equal(split.same, 0);
  assert.deepEqual(
    split.different.map((d) => [d.computed, d.recorded]),
    [
      [[1], [1, 2]],
      [[2], [1, 2]],
    ],
  );
  const merge = compareGroups(partition([[1, 2]]), recorded([[1], [2]]), none);
  assert.equal(merge.different.length, 2);
  const missing = compareGroups(partition([[1]], [2]), recorded([[1], [2]]), none);
  assert.deepEqual(missing.different, [
    {
      computed: [],
      recorded: [2],
      because: [{ kind: "outside-iommu-scope", at: 2, cite: "DMAR" }],
    },
  ]);
});

test("same counts the devices whose two groups are equal, as counted naively (seed 7)", () => {
  const labels = fc.array(fc.record({ a: fc.nat(3), b: fc.nat(3) }), {
    minLength: 1,
    maxLength: 12,
  });
  fc.assert(
    fc.property(labels, (list) => {
      const group = (key: "a" | "b"): number[][] =>
        [0, 1, 2, 3]
          .map((n) => list.flatMap((l, i) => (l[key] === n ? [i] : [])))
          .filter((g) => g.length > 0);
      const agreement = compareGroups(partition(group("a")), recorded(group("b")), none);
      const naive = list.filter((l) => list.every((m) => (l.a === m.a) === (l.b === m.b))).length;
      assert.equal(agreement.compared, list.length);
      assert.equal(agreement.same, naive);
      assert.equal(agreement.different.length === 0, naive === list.length);
    }),
    { seed: 7, numRuns: 300 },
  );
});
