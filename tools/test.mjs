/**
 * `npm test [-- WORD ...]`: installs what is missing, builds, and runs with Node's own test runner
 * every test file whose path contains one of the words (all without words). Prints failures in
 * full, skipped tests with their reason, and ends with the line `N passed, N failed`.
 *
 * Compiled tests are looked up from their sources, so what an earlier build left in `dist` never
 * runs. With CI=true a skipped test counts as failed: the reasons for skipping do not exist there.
 */
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative, resolve } from "node:path";
import { run } from "node:test";
import { ROOT, setup } from "./setup.mjs";

const FILE_TIMEOUT_MS = 600_000;
const isCi = process.env.CI === "true";
const hasShared = existsSync(process.env.IOASIS_SHARED ?? join(ROOT, "..", "shared"));

function findTests(words) {
  const found = [];
  for (const top of ["src", "test", "tools", "bench"]) {
    for (const entry of readdirSync(join(ROOT, top), { recursive: true })) {
      const path = join(top, entry);
      if (!path.endsWith(".test.ts")) continue;
      if (words.length > 0 && !words.some((word) => path.includes(word))) continue;
      found.push(join(ROOT, "dist", path.replace(/\.ts$/, ".js")));
    }
  }
  return found.sort();
}

/** What the events of one run add up to. */
class Tally {
  passed = 0;
  failures = [];
  skipped = [];

  pass(event) {
    if (isContainer(event)) return;
    if (event.skip !== undefined || event.todo !== undefined) this.skipped.push(event);
    else this.passed++;
  }

  fail(event) {
    // A suite or file that failed only because something inside failed is already counted.
    if (event.details?.error?.failureType === "subtestsFailed") return;
    this.failures.push(event);
  }
}

/** Suites and whole files are not tests; Node 20 reports both like tests. */
function isContainer(event) {
  return event.details?.type === "suite" || (event.file !== undefined && isFileItself(event));
}

function isFileItself(event) {
  return (
    event.nesting === 0 && event.name.endsWith(".test.js") && resolve(event.name) === event.file
  );
}

function place(event) {
  const file = event.file === undefined ? "" : relative(ROOT, event.file);
  return `${file.replace(/^dist\//, "").replace(/\.js$/, ".ts")}: ${event.name}`;
}

function describeFailure(event) {
  const error = event.details?.error;
  const cause = error?.cause ?? error;
  const text = cause?.stack ?? cause?.message ?? String(cause);
  return `\nFAILED ${place(event)}\n${text.replace(/^/gm, "    ")}`;
}

/** Skipped tests by reason, since many share one. */
function reportSkipped(skipped) {
  const byReason = new Map();
  for (const event of skipped) {
    const reason = typeof event.skip === "string" ? event.skip : (event.todo ?? "no reason given");
    byReason.set(reason, [...(byReason.get(reason) ?? []), event]);
  }
  let unaccepted = 0;
  for (const [reason, events] of byReason) {
    const more = events.length > 3 ? `, and ${events.length - 3} more` : "";
    console.log(`skipped, ${reason}: ${events.slice(0, 3).map(place).join("; ")}${more}`);
    if (hasShared || !String(reason).includes("shared captures")) unaccepted += events.length;
  }
  return unaccepted;
}

function report(tally, files, milliseconds) {
  const unaccepted = reportSkipped(tally.skipped);
  for (const event of tally.failures) console.log(describeFailure(event));
  if (isCi && unaccepted > 0) console.log(`\n${unaccepted} skipped tests count as failed in CI`);
  const seconds = (milliseconds / 1000).toFixed(1);
  console.log(`\n${files} test files in ${seconds} s, Node ${process.version}`);
  const failed = tally.failures.length + (isCi ? unaccepted : 0);
  console.log(`${tally.passed} passed, ${failed} failed`);
  return failed;
}

/** How far the run is, on a terminal only; returns what removes the line again. */
function showProgress(tally) {
  if (!process.stdout.isTTY) return () => {};
  const show = () => process.stdout.write(`\r${tally.passed} passed ...`);
  const timer = setInterval(show, 250);
  return () => {
    clearInterval(timer);
    process.stdout.write("\r\u001b[K");
  };
}

async function main(words) {
  if (process.env.IOASIS_NO_SETUP !== "1") setup();
  const files = findTests(words);
  if (files.length === 0) {
    console.log(`no test file matches ${words.join(" ") || "any folder"}`);
    console.log("0 passed, 0 failed");
    process.exitCode = 1;
    return;
  }
  const tally = new Tally();
  const began = performance.now();
  const stream = run({ files, concurrency: availableParallelism(), timeout: FILE_TIMEOUT_MS });
  stream.on("test:pass", (event) => tally.pass(event));
  stream.on("test:fail", (event) => tally.fail(event));
  stream.on("test:stderr", (event) => process.stderr.write(event.message));
  stream.resume();
  const done = showProgress(tally);
  await new Promise((ended) => stream.once("end", ended));
  done();
  process.exitCode = report(tally, files.length, performance.now() - began) === 0 ? 0 : 1;
}

await main(process.argv.slice(2));
