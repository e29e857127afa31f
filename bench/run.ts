/**
 * Each file runs in a process of its own, so that what one leaves in memory does not slow the next.
 *
 * `npm run bench [-- --ci] [--record] [WORD ...]`: runs every `bench/*.bench.ts` whose name
 * contains one of the words (all without words).
 *
 * Without `--ci` sizes are full and a value above its goal fails; with it sizes are small and a
 * value fails only above twice its goal, since CI machines are noisy. `--record` appends to
 * bench/history.jsonl.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { type Bench, historyPath, ROOT, Scoreboard } from "./harness.js";

function benchFiles(words: readonly string[]): string[] {
  return readdirSync(join(ROOT, "bench"))
    .filter((name) => name.endsWith(".bench.ts"))
    .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
    .sort();
}

async function loadBench(name: string): Promise<Bench> {
  const path = join(ROOT, "dist", "bench", name.replace(/\.ts$/, ".js"));
  const module = (await import(pathToFileURL(path).href)) as { bench?: Bench };
  if (module.bench === undefined) throw new Error(`bench/${name} exports no \`bench\``);
  return module.bench;
}

function commitName(): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
  try {
    return (
      git("rev-parse", "--short", "HEAD") +
      (git("status", "--porcelain", "--", ".", ":!bench/history.jsonl") === "" ? "" : "+")
    );
  } catch {
    return "unknown";
  }
}

interface Count {
  readonly passed: number;
  readonly failed: number;
}

/** One file, here. */
async function runHere(name: string, ci: boolean, record: boolean): Promise<Count> {
  const board = new Scoreboard(ci);
  const bench = await loadBench(name);
  console.log(`\n${bench.name}`);
  await bench.run({
    size: ci ? "ci" : "full",
    report: (m) => board.add(m),
    log: (line) => console.log(`  ${line}`),
    skip: (metric, reason) => board.skip(metric, reason),
  });
  if (record) board.appendTo(historyPath(), commitName());
  const failed = board.failures.length;
  return { passed: board.measurements.length - failed, failed };
}

const COUNT = /\n(\d+) passed, (\d+) failed\n$/;

/** One file, in a process of its own; it prints its lines as they would be printed here. */
function runApart(name: string, options: readonly string[]): Count {
  const args = [...process.execArgv, process.argv[1] ?? "", ONE, ...options, name];
  const { stdout } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 1 << 26,
  });
  const count = COUNT.exec(stdout);
  process.stdout.write(stdout.replace(COUNT, ""));
  // Without its last line it died: that is a failure.
  if (count === null) return { passed: 0, failed: 1 };
  return { passed: Number(count[1]), failed: Number(count[2]) };
}

const ONE = "--one";

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ci: { type: "boolean" },
      record: { type: "boolean" },
      one: { type: "boolean" },
    },
  });
  const ci = values.ci === true;
  const record = values.record === true;
  const options = [...(ci ? ["--ci"] : []), ...(record ? ["--record"] : [])];
  const here = values.one === true;
  if (!here) {
    console.log(`Node ${process.version}; goals are upper limits${ci ? ", doubled in CI" : ""}`);
  }
  let passed = 0;
  let failed = 0;
  for (const name of benchFiles(positionals)) {
    const count = here ? await runHere(name, ci, record) : runApart(name, options);
    passed += count.passed;
    failed += count.failed;
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

process.exitCode = await main();
