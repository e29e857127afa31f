import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

// dist/test → repository root
const ROOT = resolve(fileURLToPath(import.meta.url), "../../..");

test("the routing demonstration prints what stands beside it, in 100 columns", () => {
  const folder = resolve(ROOT, "examples/routing");
  const output = execFileSync(process.execPath, [resolve(folder, "routing.mjs")], {
    encoding: "utf8",
  });
  assert.equal(output, readFileSync(resolve(folder, "expected.txt"), "utf8"));
  for (const line of output.split("\n")) assert.ok(line.length <= 100, line);
});
