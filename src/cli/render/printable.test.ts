import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { printable } from "./printable.js";

test("line ends, tabs and text in any script stay as they are", () => {
  const text = "0000:03:00.0\tGigabit └ … § Größe 漢字\nnext\n";
  assert.equal(printable(text, false), text);
});

test("a title, a clear screen, a carriage return and a reordering do not reach the terminal", () => {
  const bad = "a\u001b]0;title\u0007b\u001b[2Jc\rd\u202ee\u009bm";
  assert.equal(printable(bad, true), "a\ufffd]0;title\ufffdb\ufffd[2Jc\ufffdd\ufffde\ufffdm");
});

test("colour stays where colour is on, and only there", () => {
  const red = "\u001b[31mred\u001b[39m";
  assert.equal(printable(red, true), red);
  assert.equal(printable(red, false), "\ufffdred\ufffd");
});

test("whatever the text, no control character is left (seed 5)", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const shown = printable(text, false);
      for (const c of shown) {
        const code = c.codePointAt(0) ?? 0;
        assert.ok(code === 9 || code === 10 || (code >= 32 && (code < 127 || code > 159)), shown);
      }
    }),
    { seed: 5, numRuns: 2000 },
  );
});
