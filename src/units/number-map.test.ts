import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NumberMap } from "./number-map.js";

const SEED = 20_260_601;

test(`answers as a Map does, whatever the keys (seed ${SEED})`, () => {
  const key = fc.oneof(
    fc.nat(40),
    fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    fc.constantFrom(2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
  );
  const step = fc.tuple(fc.constantFrom("set", "add"), key, fc.nat());
  fc.assert(
    fc.property(fc.nat(64), fc.array(step, { maxLength: 200 }), (expected, steps) => {
      const map = new NumberMap(expected);
      const model = new Map<number, number>();
      for (const [how, k, value] of steps) {
        if (how === "set") {
          map.set(k, value);
          model.set(k, value);
        } else {
          assert.equal(map.add(k, value), model.get(k) ?? -1);
          if (!model.has(k)) model.set(k, value);
        }
        assert.equal(map.size, model.size);
      }
      for (const [, k] of steps) assert.equal(map.get(k), model.get(k));
      for (let k = 0; k < 50; k++) assert.equal(map.has(k), model.has(k));
    }),
    { seed: SEED },
  );
});
