/**
 * Whole answers, kept as text: a change of words or layout shows in review as what a user will see.
 *
 * Each file under test/fixtures/golden is a transcript: lines that start with `$ ioasis` are run,
 * what follows up to the next is the answer. After a change that is meant,
 * `IOASIS_RENEW_GOLDEN=1 npm test -- test/golden` writes the answers anew; read the diff.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { main } from "../src/cli/main.js";
import { makePaint } from "../src/cli/render/text.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const GOLDEN = join(ROOT, "test/fixtures/golden");
const PROMPT = "$ ioasis ";

async function answer(command: string): Promise<string> {
  const lines: string[] = [];
  const code = await main(command.slice(PROMPT.length).split(" "), {
    paint: makePaint(false),
    interactive: false,
    line: (line = "") => void lines.push(line),
    note: (note) => void lines.push(note),
  });
  return [command, ...lines, ...(code === 0 ? [] : [`exit code ${code}`]), ""].join("\n");
}

for (const name of readdirSync(GOLDEN).filter((file) => file.endsWith(".txt"))) {
  test(`golden: ${name}`, async () => {
    // Sources are named from the root, and shown in the headings.
    process.chdir(ROOT);
    const file = join(GOLDEN, name);
    const kept = readFileSync(file, "utf8");
    const commands = kept.split("\n").filter((line) => line.startsWith(PROMPT));
    assert.ok(commands.length > 0, `${name} has no line that starts with "${PROMPT}"`);
    const answers: string[] = [];
    for (const command of commands) answers.push(await answer(command));
    const text = answers.join("\n");
    if (process.env["IOASIS_RENEW_GOLDEN"] !== undefined) writeFileSync(file, text);
    else assert.equal(text, kept);
  });
}
