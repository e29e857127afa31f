import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

// dist/test → repository root
const FOLDER = resolve(fileURLToPath(import.meta.url), "../../../examples/drivers");

const expected = readdirSync(FOLDER).filter((name) => name.endsWith(".expected.txt"));

test("there is an example of each kind of driver", () => {
  assert.equal(expected.length, 4);
});

for (const name of expected) {
  const program = name.replace(".expected.txt", ".mjs");
  test(`examples/drivers/${program} prints what stands beside it`, () => {
    const output = execFileSync(process.execPath, [resolve(FOLDER, program)], { encoding: "utf8" });
    assert.equal(output, readFileSync(resolve(FOLDER, name), "utf8"));
  });
}
