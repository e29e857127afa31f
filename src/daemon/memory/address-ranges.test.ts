/** Runs of pages against one target per page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AddressRanges } from "./address-ranges.js";

const SEED = 4101;
const PAGES = 24;

test(`random mappings against a table of pages (seed ${SEED})`, () => {
  const step = fc.record({
    first: fc.nat(PAGES - 1),
    count: fc.integer({ min: 1, max: 8 }),
    what: fc.constantFrom("map", "unmap", "pin", "unpin"),
    target: fc.constantFrom("a", "b", "c"),
    page: fc.nat(50),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const held = new Map<string, number>();
      const hold = (by: number) => (target: string) => {
        held.set(target, (held.get(target) ?? 0) + by);
        assert.ok((held.get(target) ?? 0) >= 0, "dropped more often than kept");
      };
      const ranges = new AddressRanges<string>(hold(1), hold(-1));
      const naive: ([string, number] | undefined)[] = [];
      for (const { first, count, what, target, page } of steps) {
        if (what === "map") ranges.add(first, first + count, target, page);
        if (what === "unmap") ranges.remove(first, first + count);
        for (let i = 0; i < count; i++) {
          if (what === "map") naive[first + i] = [target, page + i];
          if (what === "unmap") naive[first + i] = undefined;
        }
        for (let at = 0; at < PAGES + 8; at++) {
          const run = ranges.at(at);
          const shown = run && [run.target, run.targetPage + (at - run.first)];
          assert.deepEqual(shown, naive[at]);
        }
      }
      ranges.clear();
      assert.deepEqual(
        [...held.values()].filter((n) => n !== 0),
        [],
      );
    }),
    { seed: SEED, numRuns: 200 },
  );
});

test("pins are of what lay there when they were made", () => {
  const dropped: string[] = [];
  const ranges = new AddressRanges<string>(
    () => {},
    (target) => dropped.push(target),
  );
  ranges.add(10, 20, "old", 0);
  const old = ranges.at(12);
  assert.ok(old);
  old.pinned += 2;
  ranges.add(10, 20, "new", 0);
  assert.equal(ranges.at(12)?.target, "new");
  assert.equal(ranges.pinnedAt(12), old);
  assert.deepEqual(dropped, []);
  ranges.unpinned(old, 2);
  assert.deepEqual(dropped, ["old"]);
  assert.equal(ranges.pinnedAt(12)?.target, "new");
});
