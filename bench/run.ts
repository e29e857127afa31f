/**
 * `npm run bench [-- --ci] [--record] [WORD ...]`: runs every `bench/*.bench.ts` whose name
 * contains one of the words (all without words).
 *
 * Without `--ci` sizes are full and a value above its goal fails; with it sizes are small and a
 * value fails only above twice its goal, since CI machines are noisy. `--record` appends to
 * bench/history.jsonl.
 */
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { type Bench, historyPath, ROOT, Scoreboard } from "./harness.js";

async function loadBenches(words: readonly string[]): Promise<Bench[]> {
  const names = readdirSync(join(ROOT, "bench"))
    .filter((name) => name.endsWith(".bench.ts"))
    .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
    .sort();
  const found: Bench[] = [];
  for (const name of names) {
    const path = join(ROOT, "dist", "bench", name.replace(/\.ts$/, ".js"));
    const module = (await import(pathToFileURL(path).href)) as { bench?: Bench };
    if (module.bench === undefined) throw new Error(`bench/${name} exports no \`bench\``);
    found.push(module.bench);
  }
  return found;
}

function commitName(): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
  try {
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") === "" ? "" : "+");
  } catch {
    return "unknown";
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { ci: { type: "boolean" }, record: { type: "boolean" } },
  });
  const ci = values.ci === true;
  const board = new Scoreboard(ci);
  const benches = await loadBenches(positionals);
  console.log(`Node ${process.version}; goals are upper limits${ci ? ", doubled in CI" : ""}`);
  for (const bench of benches) {
    console.log(`\n${bench.name}`);
    await bench.run({
      size: ci ? "ci" : "full",
      report: (m) => board.add(m),
      log: (line) => console.log(`  ${line}`),
      skip: (metric, reason) => board.skip(metric, reason),
    });
  }
  if (values.record === true) board.appendTo(historyPath(), commitName());
  const failed = board.failures.length;
  const passed = board.measurements.length - board.measurements.filter(isFailure(board)).length;
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 && board.measurements.length > 0 ? 0 : 1;
}

function isFailure(board: Scoreboard): (m: { readonly metric: string }) => boolean {
  return (m) => board.failures.includes(m.metric);
}

process.exitCode = await main();
