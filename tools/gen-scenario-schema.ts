/**
 * Makes schemas/scenario.schema.json from the shapes in src/play.
 *
 * usage: node dist/tools/gen-scenario-schema.js [--check]     --check only compares and exits 1
 * when they differ
 */
import { scenarioJsonSchema } from "../src/play/index.js";
import { writeOrCheck } from "./generated-files.js";

const text = `${JSON.stringify(scenarioJsonSchema(), null, 2)}\n`;
process.exitCode = writeOrCheck(
  [{ path: "schemas/scenario.schema.json", text }],
  process.argv.slice(2),
);
