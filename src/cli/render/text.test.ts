import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fit, labelled, MAX_COLUMNS, table, wrap } from "./text.js";

const words = fc.array(fc.stringMatching(/^[a-z0-9:.]{1,20}$/), { minLength: 1, maxLength: 60 });

test("wrapped text fits and keeps every word in order (seed 11)", () => {
  fc.assert(
    fc.property(words, fc.nat(30), fc.nat(30), (list, indent, first) => {
      const lines = wrap(list.join(" "), indent, first).split("\n");
      for (const line of lines) assert.ok(line.length <= MAX_COLUMNS, line);
      assert.deepEqual(lines.join(" ").split(/ +/).filter(Boolean), list);
      for (const line of lines.slice(1)) assert.equal(line.search(/\S/), indent);
    }),
    { seed: 11 },
  );
});

test("a label keeps its column and the text wraps beside it", () => {
  const text = labelled("  driver", 12, "word ".repeat(40).trim());
  assert.ok(text.startsWith("  driver    word"));
  for (const line of text.split("\n").slice(1)) assert.match(line, /^ {12}word/);
  assert.equal(labelled("a long label", 4, "x"), "a long label x");
});

test("a table gives way in its flexible column only (seed 12)", () => {
  const cell = fc.stringMatching(/^[a-z]{0,150}$/);
  fc.assert(
    fc.property(fc.array(cell, { maxLength: 8 }), (cells) => {
      const rows = cells.map((c, i) => [`0000:00:${String(i).padStart(2, "0")}.0`, c, "driver"]);
      const columns = [{ title: "device" }, { title: "what", flexible: true }, { title: "driver" }];
      for (const line of table(columns, rows)) {
        assert.ok(line.length <= MAX_COLUMNS);
        assert.match(line, /driver$/);
      }
    }),
    { seed: 12 },
  );
});

test("cut text says so", () => {
  assert.equal(fit("abcdef", 4), "abc…");
  assert.equal(fit("abcd", 4), "abcd");
});
