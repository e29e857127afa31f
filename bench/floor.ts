/**
 * Floors: C programs in bench/floors, compiled once, that do the product's work on the same bytes.
 *
 * A floor prints the nanoseconds it measured, a checksum and a count; the bench does the same work
 * and must get the same checksum and count before any ratio means something.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchContext, median, medianRatio, ROOT } from "./harness.js";

export interface Outcome {
  readonly ns: number;
  readonly sum: number;
  readonly reads: number;
}

/** A folder for images and programs, removed at the end. */
export function withScratch<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "ioasis-bench-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Compiles bench/floors/NAME.c with -O2. @throws when there is no C compiler. */
export function compileFloor(name: string, folder: string): string {
  const program = join(folder, name);
  const source = join(ROOT, "bench", "floors", `${name}.c`);
  execFileSync("cc", ["-O2", "-o", program, source], { stdio: ["ignore", "ignore", "pipe"] });
  return program;
}

export function runFloor(program: string, args: readonly string[]): Outcome {
  const text = execFileSync(program, args, { encoding: "utf8" });
  const [ns = Number.NaN, sum = Number.NaN, reads = Number.NaN] = text.split(" ").map(Number);
  return { ns, sum, reads };
}

export interface Comparison {
  readonly metric: string;
  readonly goal: number;
  readonly count: number;
  /** Both do `count` operations, warmed up. */
  readonly floor: () => Outcome;
  readonly own: () => Outcome;
}

const ROUNDS = 5;

/** Floor and product in turns; reports the median ratio. @throws when their results differ. */
export function compare(context: BenchContext, comparison: Comparison): void {
  const own: number[] = [];
  const floor: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const a = comparison.floor();
    const b = comparison.own();
    if (a.sum !== b.sum || a.reads !== b.reads) {
      const says = (o: Outcome): string => `sum ${o.sum}, ${o.reads} reads`;
      throw new Error(`${comparison.metric}: floor ${says(a)}; product ${says(b)}`);
    }
    floor.push(a.ns);
    own.push(b.ns);
  }
  const each = (values: readonly number[]): string =>
    `${(median(values) / comparison.count).toFixed(1)} ns`;
  context.report({
    metric: comparison.metric,
    value: medianRatio(own, floor),
    unit: "x",
    goal: comparison.goal,
    floor: `C ${each(floor)}, here ${each(own)}`,
  });
}
