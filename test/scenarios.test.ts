/** Every scenario of the examples, on every platform it names, under both rule sets. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { platformsOf, readScenarioFile } from "../src/host/io/scenario-file.io.js";
import { play } from "../src/play/index.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const FOLDER = join(ROOT, "examples", "scenarios");

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".yaml"))) {
  test(file, async () => {
    const scenario = await readScenarioFile(join(FOLDER, file));
    for (const { name, platform } of await platformsOf(scenario)) {
      for (const rules of scenario.rules) {
        const played = play(scenario, platform, name, rules);
        const last = played.steps.at(-1);
        const where = `${file}:${last?.step.line} on ${name} under ${rules}`;
        assert.deepEqual(last?.mismatches, [], where);
        assert.deepEqual(last?.broken, [], where);
        assert.ok(played.ok, where);
      }
    }
  });
}
