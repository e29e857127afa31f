/**
 * `npm run conformance`: the kernel's own test programs as judge.
 *
 * Fetches the sources of two kernels from Debian, builds their test programs and runs each on a
 * platform. Nothing is installed. Exit status: 0 all pass, 1 something does not, 2 wrong usage, 3
 * this machine cannot do it (no apt, no network, no compiler).
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ToolError } from "../debian/tool-error.js";
import { buildAll } from "./build.io.js";
import { enlargePool } from "./huge-pages.io.js";
import { JUDGES, type KernelJudge, type TestProgram } from "./judges.js";
import { isGood, judge, type KernelOutcome, type ProgramOutcome } from "./outcome.js";
import { conformancePage, summaryLine } from "./page.js";
import { runOnPlatform } from "./run.io.js";
import { type Cache, prepareLibraries, prepareSources } from "./sources.io.js";
import { readTap } from "./tap.js";

/** This file runs from dist/tools/conformance. */
const REPOSITORY = fileURLToPath(new URL("../../../", import.meta.url));
const PAGE = join(REPOSITORY, "docs/reference/conformance.md");

const USAGE = `usage: npm run conformance -- [options]

Builds the kernel's own test programs from Debian's source packages and runs them on a platform.

  --kernel VERSION   only this kernel: ${JUDGES.map((one) => one.version).join(", ")}
  --program NAME     only this program
  --build-only       fetch and build, run nothing
  --no-page          leave docs/reference/conformance.md as it is (also with --kernel, --program)
  --cache DIR        packages, sources, programs, logs (default ~/.cache/ioasis)
  --refresh          fetch the package lists again
  --mirror URL       Debian mirror (default: the one this machine's apt uses)
  --help             this text
`;

const OPTIONS = {
  kernel: { type: "string" },
  program: { type: "string" },
  "build-only": { type: "boolean", default: false },
  "no-page": { type: "boolean", default: false },
  cache: { type: "string" },
  refresh: { type: "boolean", default: false },
  mirror: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

type Options = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>["values"];

function say(line: string): void {
  console.log(line);
}

function main(options: Options): number {
  if (options.help === true) {
    say(USAGE);
    return 0;
  }
  const kernels = JUDGES.filter(
    (one) => options.kernel === undefined || one.version === options.kernel,
  );
  if (kernels.length === 0) {
    console.error(`--kernel ${options.kernel}: not known\n\n${USAGE}`);
    return 2;
  }
  const { XDG_CACHE_HOME: base = join(homedir(), ".cache") } = process.env;
  const cache: Cache = {
    folder: options.cache ?? join(base, "ioasis"),
    mirror: options.mirror,
    refresh: options.refresh === true,
  };
  mkdirSync(cache.folder, { recursive: true });
  const release = holdAlone(join(cache.folder, "conformance.pid"));
  const pool = enlargePool();
  say(`huge pages: ${pool.pages === 0 ? "no pool, and none could be made" : pool.pages}`);
  try {
    const outcomes = kernels.map((kernel) => judgeKernel(cache, kernel, options, pool.pages));
    if (options["build-only"] === true) return 0;
    const isWhole = options.kernel === undefined && options.program === undefined;
    if (isWhole && options["no-page"] !== true) writeFileSync(PAGE, conformancePage(outcomes));
    return finish(outcomes);
  } finally {
    pool.restore();
    release();
  }
}

/**
 * Two runs at once would share logs and the pool of huge pages.
 * @throws ToolError when another run holds the file.
 */
function holdAlone(path: string): () => void {
  const holder = existsSync(path) ? readFileSync(path, "utf8") : "";
  if (holder !== "" && existsSync(`/proc/${holder}`)) {
    throw new ToolError(`another run is under way (process ${holder}, see ${path})`);
  }
  writeFileSync(path, `${process.pid}`);
  return () => rmSync(path, { force: true });
}

function judgeKernel(
  cache: Cache,
  kernel: KernelJudge,
  options: Options,
  hugePages: number,
): KernelOutcome {
  say(`\nLinux ${kernel.version}: sources from Debian ${kernel.suite}`);
  const sources = prepareSources(cache, kernel);
  say(`${sources.package}${sources.reportOnly ? ", instead of the version asked for" : ""}`);
  const output = join(cache.folder, `programs-${kernel.version}`);
  const standIns = join(REPOSITORY, "tools/conformance/stand-ins");
  const place = { sources, libraries: prepareLibraries(cache), standIns, output };
  const built = buildAll(onlyChosen(kernel, options.program), place, say);
  const programs: ProgramOutcome[] = [];
  for (const [program, file] of built) {
    if (options["build-only"] === true && typeof file === "string") say(`built ${file}`);
    if (options["build-only"] === true) continue;
    const outcome = runProgram(cache, kernel, program, file, hugePages);
    programs.push(outcome);
    say(summaryLine(outcomeOf([]), outcome));
  }
  return outcomeOf(programs);

  function outcomeOf(all: readonly ProgramOutcome[]): KernelOutcome {
    const { package: from, reportOnly } = sources;
    return { version: kernel.version, package: from, reportOnly, programs: all };
  }
}

function onlyChosen(kernel: KernelJudge, name: string | undefined): KernelJudge {
  if (name === undefined) return kernel;
  const suites = kernel.suites.map((suite) => ({
    ...suite,
    programs: suite.programs.filter((program) => program.name === name),
  }));
  return { ...kernel, suites };
}

function runProgram(
  cache: Cache,
  kernel: KernelJudge,
  program: TestProgram,
  file: string | Error,
  hugePages: number,
): ProgramOutcome {
  const common = { program: program.name, suite: kernel.version };
  if (typeof file !== "string") {
    return { ...common, planned: undefined, instances: [], problem: "it does not build" };
  }
  const log = join(cache.folder, "logs", `${program.name}-${kernel.version}.log`);
  say(`running ${program.name} (log ${log})`);
  const ran = runOnPlatform(REPOSITORY, program, file, log);
  const output = readTap(ran.output);
  const instances = judge(kernel, output, hugePages);
  const problem =
    output.planned === undefined
      ? `it did not start (exit ${ran.status ?? "by signal"})`
      : undefined;
  return {
    ...common,
    planned: output.planned,
    instances,
    ...(problem === undefined ? {} : { problem }),
  };
}

function finish(outcomes: readonly KernelOutcome[]): number {
  say("");
  for (const kernel of outcomes) {
    for (const program of kernel.programs) say(summaryLine(kernel, program));
  }
  const judged = outcomes.filter((one) => !one.reportOnly).flatMap((one) => one.programs);
  const bad = judged.filter((one) => !isGood(one)).length;
  say(`${judged.length - bad} passed, ${bad} failed`);
  return bad === 0 && judged.length > 0 ? 0 : 1;
}

function start(): number {
  let options: Options;
  try {
    options = parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    return 2;
  }
  try {
    return main(options);
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    console.error(`conformance cannot be judged on this machine: ${error.message}`);
    return 3;
  }
}

process.exitCode = start();
