/**
 * How the cost of an analysis grows with the host, in process and warmed up.
 *
 * Each size is a synthetic host of switch trees, multi-function cards and VFs. The stages run in
 * their real order on fresh objects: read a 4,096-byte hex dump, build the fabric, group it (Linux
 * 7.2), build the P2P graph, group it again (device-centric; counted with the first), report every
 * device. Cost per function at the largest size: at most twice that at 1,000.
 *
 * What is compared: equal work on equal memory. A sample of any size analyses as many functions as
 * the largest host has, so 50 hosts of 1,000 stand against one of 50,000, each stage for all hosts
 * of the sample before the next one, all alive to the end. One small host repeated by itself would
 * stay in the processor's cache and in the young generation, and its ratio to a large host would
 * tell of the cache and the garbage collector, not of the algorithms. What a single small host
 * costs by itself is stated besides.
 *
 * Ratios are taken of wall time and of processor time (of all threads, the collector's included),
 * round by round; the larger of their two medians counts.
 *
 * The report leaves out `reaches`: below one root complex everybody may reach everybody, so the
 * list of pairs is quadratic by its nature. It is measured for a fixed number of devices.
 */
import { fromCapture, mergeParts, parsePureHexDump } from "../src/host/index.js";
import { type Analysis, analyse, reachesOf } from "../src/isolation/index.js";
import { buildFabric } from "../src/pcie/index.js";
import { hexDumpOf, syntheticHost } from "../test/support/synthetic-host.js";
import { type Bench, type BenchContext, type BenchSize, median, medianRatio } from "./harness.js";
import { collectYoung, liveBytes } from "./memory.js";

const BASE = 1000;
const GOAL = 2;
const SIZES: Readonly<Record<BenchSize, readonly number[]>> = {
  ci: [100, BASE, 10_000],
  full: [100, BASE, 10_000, 50_000],
};
const REACHES_OF = 50;
const ROUNDS = 5;
const ALONE = 10;

const STAGES = ["parse", "build", "group", "p2p", "report", "all"] as const;
type Stage = (typeof STAGES)[number];

/** Microseconds per function. */
interface Cost {
  readonly cpu: number;
  readonly wall: number;
}
type Sample = Readonly<Record<Stage, Cost>>;

export const bench: Bench = {
  name: "analysis of synthetic hosts",
  run: (context) => {
    const sizes = SIZES[context.size];
    const largest = Math.max(...sizes);
    const dumps = new Map(sizes.map((size) => [size, dumpOf(size)]));
    const samples = new Map<number, Sample[]>(sizes.map((size) => [size, []]));
    const alone: Sample[] = [];
    for (let round = -1; round < ROUNDS; round++) {
      for (const [size, dump] of dumps) {
        const taken = new Sampling(dump, size, largest / size).run();
        if (round >= 0) samples.get(size)?.push(taken);
      }
      for (let i = 0; i < ALONE; i++) {
        const taken = new Sampling(dumps.get(BASE) as Uint8Array, BASE, 1).run();
        if (round >= 0) alone.push(taken);
      }
    }
    for (const stage of STAGES) reportStage(context, stage, samples, alone);
    reportMemory(context, dumps.get(largest) as Uint8Array, largest);
  },
};

function reportStage(
  context: BenchContext,
  stage: Stage,
  samples: ReadonlyMap<number, readonly Sample[]>,
  alone: readonly Sample[],
): void {
  const sizes = [...samples.keys()];
  const largest = Math.max(...sizes);
  const cpu = (of: readonly Sample[]): number[] => of.map((s) => s[stage].cpu);
  const wall = (of: readonly Sample[]): number[] => of.map((s) => s[stage].wall);
  const at = (size: number): readonly Sample[] => samples.get(size) ?? [];
  const us = (of: readonly number[]): string => `${median(of).toFixed(2)} us`;
  const text = sizes.map((n) => `${us(wall(at(n)))} at ${n}`);
  context.log(`${stage}: ${text.join(", ")}; one host of ${BASE}: ${us(wall(alone))}`);
  context.report({
    metric: `scaling.${stage}.${largest}-to-${BASE}`,
    value: Math.max(
      medianRatio(cpu(at(largest)), cpu(at(BASE))),
      medianRatio(wall(at(largest)), wall(at(BASE))),
    ),
    unit: "x",
    goal: GOAL,
    floor: `processor time: ${us(cpu(at(largest)))} to ${us(cpu(at(BASE)))}`,
  });
}

/** `hosts` hosts of `size` functions each, a stage at a time. */
class Sampling {
  readonly #dump: Uint8Array;
  readonly #size: number;
  readonly #hosts: number;
  readonly #spent: Record<Stage, { cpu: number; wall: number }>;

  constructor(dump: Uint8Array, size: number, hosts: number) {
    this.#dump = dump;
    this.#size = size;
    this.#hosts = hosts;
    const none = STAGES.map((stage) => [stage, { cpu: 0, wall: 0 }]);
    this.#spent = Object.fromEntries(none);
  }

  run(): Sample {
    const dumps = Array.from({ length: this.#hosts }, () => this.#dump);
    const inputs = this.#each("parse", dumps, readDump);
    const fabrics = this.#each("build", inputs, (input) => buildFabric(input.fabric));
    const analyses = fabrics.map((fabric, i) => {
      return analyse(fabric, { ...inputs[i]?.facts, iommuInUse: true });
    });
    this.#each("group", analyses, (a) => a.partition);
    this.#each("p2p", analyses, (a) => a.p2p);
    this.#each("group", analyses, (a) => a.deviceCentric);
    this.#each("report", analyses, countEligible);
    return this.#spent;
  }

  #each<From, To>(stage: Stage, items: readonly From[], work: (item: From) => To): To[] {
    // Young garbage of the stages before is not this one's cost.
    collectYoung();
    const wall = performance.now();
    const cpu = process.cpuUsage();
    const results = items.map(work);
    const { user, system } = process.cpuUsage(cpu);
    const functions = this.#size * this.#hosts;
    for (const spent of [this.#spent[stage], this.#spent.all]) {
      spent.cpu += (user + system) / functions;
      spent.wall += ((performance.now() - wall) * 1000) / functions;
    }
    return results;
  }
}

function countEligible(analysis: Analysis): number {
  let eligible = 0;
  for (const report of analysis.deviceReports()) {
    if (report.pasid.ok === true && report.mustShare.value && report.viability.ok) eligible++;
  }
  return eligible;
}

function dumpOf(size: number): Uint8Array {
  const encoder = new TextEncoder();
  const parts = syntheticHost(size).map((fn) => encoder.encode(hexDumpOf(fn)));
  return new Uint8Array(Buffer.concat(parts));
}

function readDump(dump: Uint8Array) {
  const part = parsePureHexDump(dump, "synthetic");
  if (part === undefined) throw new Error("the synthetic dump is not recognised as one");
  return fromCapture(mergeParts([part], { file: "synthetic" }));
}

function reportMemory(context: BenchContext, dump: Uint8Array, size: number): void {
  const before = liveBytes();
  const input = readDump(dump);
  const fabric = buildFabric(input.fabric);
  const built = liveBytes();
  const analysis = analyse(fabric, { ...input.facts, iommuInUse: true });
  const groups = analysis.partition.groups.length + analysis.deviceCentric.groups.length;
  const analysed = liveBytes();
  const kib = (bytes: number): number => bytes / 1024 / size;
  context.report({
    metric: `memory.fabric-per-function.${size}`,
    value: kib(built - before),
    unit: "KiB",
    floor: "from 4,096-byte dumps",
  });
  context.report({
    metric: `memory.analysis-per-function.${size}`,
    value: kib(analysed - built),
    unit: "KiB",
    floor: `${groups} groups of both kinds`,
  });
  const began = performance.now();
  for (let i = 0; i < REACHES_OF; i++) {
    const fn = fabric.functions[Math.floor((i * fabric.functions.length) / REACHES_OF)];
    if (fn !== undefined) reachesOf(analysis.p2p, fn);
  }
  context.report({
    metric: `reaches.one-device.${size}`,
    value: (performance.now() - began) / REACHES_OF,
    unit: "ms",
  });
}
