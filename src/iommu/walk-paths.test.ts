/**
 * Each walk has a path for the usual case and one for every case; an observer forces the second.
 * Both must say the same, and read the same number of entries.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VtdTables } from "../../test/support/vtd-tables.js";
import { Stage1Walk } from "./walk-stage1.js";
import { Stage2Walk } from "./walk-stage2.js";

const SEED = 424242;
const FEATURES = {
  addressWidth: 52,
  pages2M: true,
  pages1G: true,
  snoopControl: true,
  deviceTlb: true,
};
const OBSERVER = { entryRead: () => {} };

/** Random bits in every entry of one path through a table. */
const path = fc.record({
  levels: fc.constantFrom(4, 5),
  flags: fc.array(fc.bigInt({ min: 0n, max: 0xfffn }), { minLength: 5, maxLength: 5 }),
  high: fc.array(fc.constantFrom(0n, 0n, 0n, 1n << 62n, 1n << 63n), { minLength: 5, maxLength: 5 }),
  target: fc.bigInt({ min: 0n, max: (1n << 30n) - 1n }),
  need: fc.nat(15),
  rules: fc.nat(15),
});

test(`stage 2: both paths agree on random entries (seed ${SEED})`, () => {
  fc.assert(
    fc.property(path, ({ levels, flags, high, target, need }) => {
      const tables = new VtdTables();
      const root = write(
        tables,
        levels,
        flags.map((f) => f | 3n),
        high,
        target,
      );
      const outcomes = [undefined, OBSERVER].map((observer) => {
        const walk = new Stage2Walk(tables.memory, FEATURES);
        walk.observer = observer;
        const fault = walk.walk(low(root), upper(root), levels, 0x123, 0, need & 3, false);
        const { lo, hi, pageShift, rights, reads } = walk;
        return fault === 0 ? { fault, lo, hi, pageShift, rights, reads } : { fault, reads };
      });
      assert.deepEqual(outcomes[0], outcomes[1]);
    }),
    { seed: SEED, numRuns: 300 },
  );
});

test(`stage 1: both paths agree on random entries (seed ${SEED})`, () => {
  fc.assert(
    fc.property(path, ({ levels, flags, high, target, need, rules }) => {
      const outcomes = [undefined, OBSERVER].map((observer) => {
        const tables = new VtdTables();
        const root = write(
          tables,
          levels,
          flags.map((f) => f | 1n),
          high,
          target,
        );
        const walk = new Stage1Walk(
          tables.memory,
          new Stage2Walk(tables.memory, FEATURES),
          FEATURES,
        );
        walk.observer = observer;
        const run = () => walk.walk(low(root), upper(root), levels, 0x123, 0, need, rules, false);
        // The first walk sets accessed and dirty bits, so that the second takes the short path.
        run();
        const before = walk.reads;
        const fault = run();
        const { lo, hi, pageShift, rights, denial } = walk;
        const reads = walk.reads - before;
        if (fault !== 0) return { fault, reads, denial };
        return { fault, lo, hi, pageShift, rights, reads };
      });
      assert.deepEqual(outcomes[0], outcomes[1]);
    }),
    { seed: SEED, numRuns: 300 },
  );
});

/** A chain of tables in which entry 0 of each leads on. */
function write(
  tables: VtdTables,
  levels: number,
  flags: readonly bigint[],
  high: readonly bigint[],
  target: bigint,
): bigint {
  const frames = Array.from({ length: levels }, () => tables.frame());
  frames.forEach((frame, i) => {
    const isLast = i === levels - 1;
    // Mostly tables: only every fourth value makes an upper entry a page.
    const bits =
      isLast || (flags[i] as bigint) % 4n === 3n ? flags[i] : (flags[i] as bigint) & ~0x880n;
    const next = isLast ? target << 12n : (frames[i + 1] as bigint);
    tables.write(frame, next | (bits as bigint) | (high[i] as bigint));
  });
  return frames[0] as bigint;
}

const low = (address: bigint): number => Number(BigInt.asIntN(32, address));
const upper = (address: bigint): number => Number(BigInt.asIntN(32, address >> 32n));
