/**
 * What docs/walkthrough quotes is what the commands print. A block that begins with `$ ioasis …`
 * runs a command; it and the blocks after it quote the output in order. A line `…` stands for any
 * lines.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { main } from "../src/cli/main.js";
import { makePaint } from "../src/cli/render/text.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FOLDER = join(ROOT, "docs", "walkthrough");

/** Output of a command that is written as in the repository's root. */
async function linesOf(command: string): Promise<readonly string[]> {
  const args = command.split(/\s+/).slice(2);
  const lines: string[] = [];
  const code = await main(
    args.map((arg) => (arg.startsWith("examples/") ? join(ROOT, arg) : arg)),
    {
      paint: makePaint(false),
      interactive: false,
      line: (text = "") => lines.push(...text.split("\n")),
      note: (text) => lines.push(text),
    },
  );
  assert.equal(code, 0, lines.join("\n"));
  return lines;
}

/** Line after the quoted part, at `from` or later; undefined when the output does not have it. */
function find(output: readonly string[], quoted: readonly string[], from: number) {
  for (let start = from; start < output.length; start++) {
    const end = matchAt(output, quoted, start);
    if (end !== undefined) return end;
  }
  return undefined;
}

function matchAt(output: readonly string[], quoted: readonly string[], start: number) {
  let at = start;
  let skipping = false;
  for (const line of quoted) {
    if (line === "…") {
      skipping = true;
      continue;
    }
    if (skipping) {
      at = output.indexOf(line, at);
      if (at < 0) return undefined;
      skipping = false;
    } else if (output[at] !== line) return undefined;
    at++;
  }
  return at;
}

for (const file of readdirSync(FOLDER)) {
  const text = readFileSync(join(FOLDER, file), "utf8");
  if (!text.includes("\n$ ioasis ")) continue;
  test(`${file} quotes what the commands print`, async () => {
    let output: readonly string[] = [];
    let at = 0;
    for (const [, block = ""] of text.matchAll(/^```text\n([\s\S]*?)\n```$/gm)) {
      const lines = block.split("\n");
      if (lines[0]?.startsWith("$ ioasis ") === true) {
        output = await linesOf(lines.shift() ?? "");
        at = 0;
      }
      const end = find(output, lines, at);
      assert.ok(end !== undefined, `not in the output, or not in this order:\n${block}`);
      at = end;
    }
  });
}
