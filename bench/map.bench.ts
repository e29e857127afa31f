/**
 * Page tables against C that does the same steps on the same directory of frames: pages mapped and
 * unmapped one at a time and in runs of 512, in order and at random, in a table of 64k pages.
 *
 * Both sides end with the same entries and the same number of tables. A round maps everything and
 * unmaps everything; the round that other processes disturbed least counts, on both sides.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RadixTable, stage2Format, TableFrames } from "../src/driver/index.js";
import { PhysicalMemory } from "../src/memory/index.js";
import { type Bench, type BenchContext, median, medianRatio, ROOT } from "./harness.js";

const PAGES_LOG2 = 16;
const BASE = 2 ** 26;
const TARGET = 2 ** 24;
const TURNS = 5;

interface Outcome {
  /** Nanoseconds per page. */
  readonly map: number;
  readonly unmap: number;
  readonly sum: number;
  readonly tables: number;
}

interface Setting {
  readonly what: "one" | "run";
  readonly order: "sequential" | "random";
  /** For mapping; unmapping is stated only. */
  readonly goal: number;
}

const SETTINGS: readonly Setting[] = [
  { what: "one", order: "sequential", goal: 3.5 },
  { what: "one", order: "random", goal: 3.5 },
  { what: "run", order: "sequential", goal: 4.5 },
];

export const bench: Bench = {
  name: "page tables against C",
  run: (context) => {
    const folder = mkdtempSync(join(tmpdir(), "ioasis-map-"));
    try {
      const program = join(folder, "map");
      const source = join(ROOT, "bench", "floors", "map.c");
      try {
        execFileSync("cc", ["-O2", "-o", program, source], { stdio: ["ignore", "ignore", "pipe"] });
      } catch (error) {
        context.skip("driver.map", `no C compiler: ${String(error).slice(0, 80)}`);
        return;
      }
      const rounds = context.size === "ci" ? 9 : 25;
      for (const setting of SETTINGS) compare(context, program, setting, rounds);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

function compare(context: BenchContext, program: string, setting: Setting, rounds: number): void {
  const { what, order } = setting;
  const own: Outcome[] = [];
  const floor: Outcome[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    const args = [what, order, String(PAGES_LOG2), String(rounds)];
    const text = execFileSync(program, args, { encoding: "utf8" });
    const [map = Number.NaN, sum = 0, tables = 0, unmap = Number.NaN] = text.split(" ").map(Number);
    const c = { map, unmap, sum, tables };
    const js = measure(setting, rounds);
    if (c.sum !== js.sum || c.tables !== js.tables) {
      throw new Error(
        `${what} ${order}: C has ${c.sum}, ${c.tables}; here ${js.sum}, ${js.tables}`,
      );
    }
    floor.push(c);
    own.push(js);
  }
  for (const op of ["map", "unmap"] as const) {
    const mine = own.map((outcome) => outcome[op]);
    const theirs = floor.map((outcome) => outcome[op]);
    context.report({
      metric: `driver.${op}.${what}.${order}`,
      value: medianRatio(mine, theirs),
      unit: "x",
      ...(op === "map" ? { goal: setting.goal } : {}),
      floor: `C ${median(theirs).toFixed(2)} ns, here ${median(mine).toFixed(2)} ns`,
    });
  }
}

function measure({ what, order }: Setting, rounds: number): Outcome {
  const memory = new PhysicalMemory();
  const frames = new TableFrames(memory);
  const table = new RadixTable(frames, stage2Format(4, 3), { label: "bench" });
  const step = what === "run" ? 512 : 1;
  const calls = 2 ** PAGES_LOG2 / step;
  const mapped: number[] = [];
  const unmapped: number[] = [];
  let sum = 0;
  let tables = 0;
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    for (let i = 0; i < calls; i++) {
      const page = (order === "random" ? (Math.imul(i, 40503) + 12345) & (calls - 1) : i) * step;
      // One frame off, so that runs are not taken for large pages.
      table.map(BASE + page, TARGET + page + 1, step, 3);
    }
    const between = performance.now();
    tables = frames.held;
    sum = checksum(memory);
    const again = performance.now();
    for (let i = 0; i < calls; i++) {
      const page = (order === "random" ? (Math.imul(i, 40503) + 12345) & (calls - 1) : i) * step;
      table.unmap(BASE + page, step);
    }
    unmapped.push(perPage(performance.now() - again));
    mapped.push(perPage(between - began));
    for (const pfn of table.unlinked.splice(0)) frames.free(pfn);
  }
  return { map: Math.min(...mapped), unmap: Math.min(...unmapped), sum, tables };
}

function perPage(ms: number): number {
  return (ms * 1e6) / 2 ** PAGES_LOG2;
}

/** The entries that lead to target frames, wherever their tables lie. */
function checksum(memory: PhysicalMemory): number {
  const { words } = memory;
  let sum = 0;
  for (let word = 0; word < words.length; word += 2) {
    const high = words[word + 1] as number;
    if (high >= TARGET / 2 ** 20) sum = (sum + (words[word] as number) + high) >>> 0;
  }
  return sum;
}
