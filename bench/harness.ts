/**
 * Measures alternatives side by side and judges each number against its goal.
 *
 * Invariants: alternatives take turns within each round, so that a slow minute of the machine hits
 * all of them; a result is the median over the rounds; a goal is a ratio where possible, since
 * ratios survive a change of machine. Goals are upper limits. Output is one line per metric; with
 * `record` each line is also appended to bench/history.jsonl.
 */
import { appendFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const HISTORY = join(ROOT, "bench", "history.jsonl");
const CI_TOLERANCE = 2;

export type BenchSize = "ci" | "full";

export interface Measurement {
  /** Stable name, words joined by dots: `parse.hex.per-function`. */
  readonly metric: string;
  readonly value: number;
  /** "x" for a ratio, else "ms", "us", "MiB" … */
  readonly unit: string;
  /** The upper limit that the value should keep; absent for a number that is only stated. */
  readonly goal?: number;
  /** What the alternative took, in the same run and in words: "node -e 0: 21.4 ms". */
  readonly floor?: string;
}

export interface BenchContext {
  readonly size: BenchSize;
  readonly report: (measurement: Measurement) => void;
  readonly log: (line: string) => void;
  /** Says why a metric cannot be measured here. Counts as failed in CI. */
  readonly skip: (metric: string, reason: string) => void;
}

export interface Bench {
  readonly name: string;
  readonly run: (context: BenchContext) => Promise<void> | void;
}

/**
 * Runs each alternative once per round, in turns, after `warmUp` rounds that do not count.
 * @returns milliseconds of each round, by alternative.
 */
export async function interleave<Name extends string>(
  rounds: number,
  alternatives: Readonly<Record<Name, () => unknown>>,
  warmUp = 1,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(alternatives) as Name[];
  const taken = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    number[]
  >;
  for (let round = -warmUp; round < rounds; round++) {
    for (const name of names) {
      const began = performance.now();
      await alternatives[name]();
      const ms = performance.now() - began;
      if (round >= 0) taken[name].push(ms);
    }
  }
  return taken;
}

/** The middle value; of an even number the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[(sorted.length - 1) >> 1];
  if (middle === undefined) throw new RangeError("no values to take the median of");
  return middle;
}

/** Median of the ratios a[i] / b[i], round by round. */
export function medianRatio(a: readonly number[], b: readonly number[]): number {
  return median(a.map((value, i) => value / (b[i] ?? Number.NaN)));
}

/** Collects measurements, prints them, and keeps count of those above their goal. */
export class Scoreboard {
  readonly measurements: Measurement[] = [];
  readonly failures: string[] = [];
  readonly #ci: boolean;

  constructor(ci: boolean) {
    this.#ci = ci;
  }

  add(m: Measurement): void {
    this.measurements.push(m);
    const limit = m.goal === undefined ? undefined : m.goal * (this.#ci ? CI_TOLERANCE : 1);
    const isOver = limit !== undefined && !(m.value <= limit);
    if (isOver) this.failures.push(m.metric);
    console.log(describe(m, isOver));
  }

  skip(metric: string, reason: string): void {
    if (this.#ci) this.failures.push(metric);
    console.log(`  ${metric.padEnd(44)} skipped: ${reason}`);
  }

  appendTo(path: string, commit: string): void {
    const common = {
      date: new Date().toISOString().slice(0, 10),
      commit,
      node: process.version,
      cpu: cpus()[0]?.model ?? "unknown",
    };
    for (const { metric, value, unit, goal, floor } of this.measurements) {
      const rounded = Number(value.toPrecision(4));
      const row = { ...common, metric, value: rounded, unit, goal, floor };
      appendFileSync(path, `${JSON.stringify(row)}\n`);
    }
  }
}

function describe(m: Measurement, isOver: boolean): string {
  const value = `${m.value < 10 ? m.value.toFixed(2) : m.value.toFixed(1)} ${m.unit}`;
  const goal = m.goal === undefined ? "" : `goal ${m.goal} ${m.unit}${isOver ? "  ABOVE" : ""}`;
  const floor = m.floor === undefined ? "" : `  (${m.floor})`;
  return `  ${m.metric.padEnd(44)} ${value.padStart(12)}  ${goal}${floor}`.trimEnd();
}

export function historyPath(): string {
  return HISTORY;
}
