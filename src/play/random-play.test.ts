/**
 * Random steps on real tables: whatever owners, devices and kernel drivers do in whatever order,
 * the safety rules hold after every step, under both rule sets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { noPlayCounts, playRandomly } from "../../test/support/random-play.js";
import { readScenario } from "./read-scenario.js";
import { PLAY_RULES } from "./scenario-shape.js";

const SEED = 20_210_609;
const RUNS = 40;

for (const rules of PLAY_RULES) {
  test(`${RUNS} random scenarios under ${rules}, seed ${SEED}`, () => {
    const counts = noPlayCounts();
    playRandomly(SEED, RUNS, rules, counts);
    const { steps, landed, moved } = counts;
    assert.ok(steps > RUNS * 30 && landed > RUNS && moved > RUNS, JSON.stringify(counts));
  });
}

test("any value is a scenario or an error that names its place", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.throws(() => readScenario(value), { name: "InputError" });
    }),
    { seed: SEED, numRuns: 200 },
  );
});
