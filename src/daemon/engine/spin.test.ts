/** The time to look grows only while looking pays. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SpinBudget } from "./spin.js";

test("it grows while calls come soon, shrinks when none does, and is never above the limit", () => {
  const budget = new SpinBudget({ most: 40, least: 5 });
  assert.equal(budget.microseconds, 0);
  budget.came(1000);
  assert.equal(budget.microseconds, 0, "a late call is no reason to look");
  for (const wanted of [5, 10, 20, 40, 40]) {
    budget.came(3);
    assert.equal(budget.microseconds, wanted);
  }
  for (const wanted of [20, 10, 5, 0]) {
    budget.missed();
    assert.equal(budget.microseconds, wanted);
  }
  budget.came(3);
  budget.stop();
  assert.equal(budget.microseconds, 0);
});
