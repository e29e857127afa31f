/**
 * How the cost of an analysis grows with the host, in process and warmed up.
 *
 * Each size is a synthetic host of switch trees, multi-function cards and VFs. The stages run in
 * their real order on fresh objects each round: read a 4,096-byte hex dump, build the fabric, build
 * the P2P graph, group it (Linux 7.2 and device-centric), report every device. Cost per function at
 * the largest size: at most twice that at 1,000.
 *
 * The report leaves out `reaches`: below one root complex everybody may reach everybody, so the
 * list of pairs is quadratic by its nature. It is measured for a fixed number of devices.
 */
import { fromCapture, mergeParts, parsePureHexDump } from "../src/host/index.js";
import { analyse, reachesOf } from "../src/isolation/index.js";
import { buildFabric } from "../src/pcie/index.js";
import { hexDumpOf, syntheticHost } from "../test/support/synthetic-host.js";
import { type Bench, type BenchContext, type BenchSize, median } from "./harness.js";
import { collectYoung, liveBytes } from "./memory.js";

const BASE = 1000;
const GOAL = 2;
const SIZES: Readonly<Record<BenchSize, readonly number[]>> = {
  ci: [100, BASE, 10_000],
  full: [100, BASE, 10_000, 50_000],
};
const REACHES_OF = 50;

const STAGES = ["parse", "build", "group", "p2p", "report", "all"] as const;
type Stage = (typeof STAGES)[number];

export const bench: Bench = {
  name: "analysis of synthetic hosts",
  run: (context) => {
    const sizes = SIZES[context.size];
    const largest = sizes[sizes.length - 1] as number;
    const dumps = new Map(sizes.map((size) => [size, dumpOf(size)]));
    const samples = new Map(sizes.map((size) => [size, new Samples()]));
    for (let round = -1; round < 5; round++) {
      for (const [size, dump] of dumps) {
        // Small hosts repeat within a round: one run of them is shorter than a collection of
        // garbage.
        for (let i = 0; i < Math.max(1, Math.min(5, BASE / size)); i++) {
          const taken = runStages(dump);
          if (round >= 0) samples.get(size)?.add(taken);
        }
      }
    }
    for (const stage of STAGES) {
      const perFunction = (size: number): number =>
        ((samples.get(size)?.median(stage) ?? Number.NaN) * 1000) / size;
      context.log(
        `${stage}: ${sizes.map((n) => `${perFunction(n).toFixed(2)} us at ${n}`).join(", ")}`,
      );
      context.report({
        metric: `scaling.${stage}.${largest}-to-${BASE}`,
        value: perFunction(largest) / perFunction(BASE),
        unit: "x",
        goal: GOAL,
        floor: `per function: ${perFunction(BASE).toFixed(2)} us at ${BASE}`,
      });
    }
    reportMemory(context, dumps.get(largest) as Uint8Array, largest);
  },
};

class Samples {
  readonly #taken = new Map<Stage, number[]>(STAGES.map((stage) => [stage, []]));

  add(row: Readonly<Record<Stage, number>>): void {
    for (const stage of STAGES) this.#taken.get(stage)?.push(row[stage]);
  }

  median(stage: Stage): number {
    return median(this.#taken.get(stage) ?? []);
  }
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

function runStages(dump: Uint8Array): Record<Stage, number> {
  const taken = {} as Record<Stage, number>;
  const time = <T>(stage: Stage, work: () => T): T => {
    // Young garbage of the stages before is not this one's cost. A full collection would also throw
    // away optimised code, and the stage would no longer be warm.
    collectYoung();
    const began = performance.now();
    const result = work();
    taken[stage] = performance.now() - began;
    return result;
  };
  const input = time("parse", () => readDump(dump));
  const fabric = time("build", () => buildFabric(input.fabric));
  const analysis = analyse(fabric, { ...input.facts, iommuInUse: true });
  time("p2p", () => analysis.p2p);
  time("group", () => [analysis.partition, analysis.deviceCentric]);
  time("report", () => {
    let eligible = 0;
    for (const report of analysis.deviceReports()) {
      if (report.pasid.ok === true && report.mustShare.value && report.viability.ok) eligible++;
    }
    return eligible;
  });
  taken.all = taken.parse + taken.build + taken.group + taken.p2p + taken.report;
  return taken;
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
