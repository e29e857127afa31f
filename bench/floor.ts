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
  /** Of one operation. */
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
  /** Both do the same number of operations, warmed up. */
  readonly floor: () => Outcome;
  readonly own: () => Outcome;
}

const ROUNDS = 5;
/**
 * Operations timed together. The median slice counts: one that another process interrupted does
 * not.
 */
export const SLICE = 4096;

/** Runs whole slices of `count` operations in all; `one` returns a checksum of so many. */
export function sliced(count: number, reads: () => number, one: (n: number) => number): Outcome {
  const slices = Math.floor(count / SLICE);
  const taken = new Float64Array(slices);
  const before = reads();
  let sum = 0;
  for (let slice = 0; slice < slices; slice++) {
    const began = performance.now();
    sum = (sum + one(SLICE)) >>> 0;
    taken[slice] = performance.now() - began;
  }
  const middle = taken.sort()[(slices - 1) >> 1] ?? Number.NaN;
  return { ns: (middle * 1e6) / SLICE, sum, reads: reads() - before };
}

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
  const each = (values: readonly number[]): string => `${median(values).toFixed(1)} ns`;
  context.report({
    metric: comparison.metric,
    value: medianRatio(own, floor),
    unit: "x",
    goal: comparison.goal,
    floor: `C ${each(floor)}, here ${each(own)}`,
  });
}
