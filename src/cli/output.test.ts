import assert from "node:assert/strict";
import { test } from "node:test";
import { type Output, writeJson, writeJsonList } from "./output.js";
import { makePaint } from "./render/text.js";

function recorded(write: (out: Output) => void): { text: string; pieces: number } {
  const lines: string[] = [];
  write({
    paint: makePaint(false),
    interactive: false,
    line: (text = "") => void lines.push(text),
    note: assert.fail,
  });
  return { text: `${lines.join("\n")}\n`, pieces: lines.length };
}

test("a list written in pieces is the same text as the whole", () => {
  const item = (n: number) => ({ n, text: "a\nb \u2028", list: n % 2 === 0 ? [] : [{}, null] });
  for (const count of [0, 1, 2, 5_000]) {
    const items = Array.from({ length: count }, (_, n) => item(n));
    const head = { schema: "x/1", edges: { certain: 1 } };
    const whole = recorded((out) => writeJson(out, { ...head, items }));
    const parts = recorded((out) => writeJsonList(out, head, "items", items.values()));
    assert.equal(parts.text, whole.text, `${count} items`);
    assert.ok(parts.pieces > 1 || count < 1000, "a long list is never one string");
  }
});
