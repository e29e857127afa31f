import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { interleave, median, medianRatio, Scoreboard } from "./harness.js";

test("alternatives take turns, and warm-up rounds do not count", async () => {
  const order: string[] = [];
  const taken = await interleave(2, { a: () => order.push("a"), b: () => order.push("b") }, 1);
  assert.equal(order.join(""), "ababab");
  assert.equal(taken.a.length, 2);
  assert.equal(taken.b.length, 2);
});

test("median takes the lower middle and refuses nothing", () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(median([4, 1, 3, 2]), 2);
  assert.throws(() => median([]), RangeError);
});

test("a ratio is taken round by round, so that a slow round cancels out", () => {
  assert.equal(medianRatio([2, 200, 4], [1, 100, 2]), 2);
});

test("a value above its goal fails; in CI only above twice the goal", () => {
  const strict = new Scoreboard(false);
  const ci = new Scoreboard(true);
  for (const board of [strict, ci]) {
    board.add({ metric: "m.within", value: 1, unit: "x", goal: 1 });
    board.add({ metric: "m.above", value: 1.5, unit: "x", goal: 1 });
    board.add({ metric: "m.far-above", value: 2.5, unit: "x", goal: 1 });
    board.add({ metric: "m.not-a-number", value: Number.NaN, unit: "x", goal: 1 });
    board.add({ metric: "m.stated", value: 1e9, unit: "MiB" });
    board.skip("m.skipped", "a test");
  }
  assert.deepEqual(strict.failures, ["m.above", "m.far-above", "m.not-a-number"]);
  assert.deepEqual(ci.failures, ["m.far-above", "m.not-a-number", "m.skipped"]);
});

test("history has one JSON line for each metric", () => {
  const folder = mkdtempSync(join(tmpdir(), "ioasis-history-"));
  try {
    const board = new Scoreboard(false);
    board.add({ metric: "m.one", value: 1.23456, unit: "x", goal: 2, floor: "a: 1 ms" });
    board.add({ metric: "m.two", value: 7, unit: "MiB" });
    const path = join(folder, "history.jsonl");
    board.appendTo(path, "abc1234");
    const rows = readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((row) => JSON.parse(row));
    assert.equal(rows.length, 2);
    assert.equal(rows[0].value, 1.235);
    assert.equal(rows[0].commit, "abc1234");
    assert.equal(rows[0].goal, 2);
    assert.ok(!("goal" in rows[1]));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
