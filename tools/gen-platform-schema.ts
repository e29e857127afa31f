/**
 * Makes schemas/platform.schema.json from the shapes in src/platform.
 *
 * usage: node dist/tools/gen-platform-schema.js [--check]     --check only compares and exits 1
 * when they differ
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { platformJsonSchema } from "../src/platform/index.js";
import { ROOT } from "./root.js";

const TARGET = join(ROOT, "schemas", "platform.schema.json");

function main(check: boolean): number {
  const text = `${JSON.stringify(platformJsonSchema(), null, 2)}\n`;
  // Compared by content, so that the formatter may lay it out.
  const old = existsSync(TARGET) ? readFileSync(TARGET, "utf8") : "null";
  if (JSON.stringify(JSON.parse(old)) === JSON.stringify(JSON.parse(text))) return 0;
  if (check) {
    console.log("schemas/platform.schema.json differs from the shapes in src/platform");
    return 1;
  }
  mkdirSync(join(ROOT, "schemas"), { recursive: true });
  writeFileSync(TARGET, text);
  return 0;
}

process.exitCode = main(process.argv.includes("--check"));
