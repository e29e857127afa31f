/**
 * Random scenarios on real tables, and what is left of one that fails: a platform file and a
 * scenario file that `ioasis play` replays and that break the same way.
 */
import fc from "fast-check";
import { buildPlatform, readPlatform } from "../../src/platform/index.js";
import { type Play, type PlayRules, play, readScenario } from "../../src/play/index.js";
import { type FailureFile, keepFailure, stepsThatPlayed } from "./failure-scenario.js";

const engine = (name: string) => ({
  kind: "endpoint",
  name,
  engine: "dma",
  driver: null,
  pasid: { width: 16, enabled: false },
  ats: { enabled: false },
  pri: { enabled: false },
});
const port = (name: string, below: object) => ({ kind: "switch-downstream", name, below: [below] });
const conventional = (name: string) => ({
  kind: "conventional",
  name,
  engine: "dma",
  driver: null,
});
/** a and b below a switch without ACS, c and d behind a bridge, e alone. */
const PLATFORM = {
  schema: "ioasis/platform/1",
  iommu: { kind: "intel" },
  roots: [
    {
      devices: [
        {
          kind: "root-port",
          acs: "full",
          below: [
            {
              kind: "switch-upstream",
              name: "up",
              below: [port("pa", engine("a")), port("pb", engine("b"))],
            },
          ],
        },
        {
          kind: "root-port",
          acs: "full",
          below: [{ kind: "pcie-to-pci-bridge", below: [conventional("c"), conventional("d")] }],
        },
        { kind: "root-port", acs: "full", below: [engine("e")] },
      ],
    },
  ],
};

const device = fc.constantFrom("a", "b", "c", "d", "e");
const context = fc.constantFrom("u", "u", "u", "u", "u", "v");
const space = fc.constantFrom("s0", "s1", "s2");
const target = fc.constantFrom("s0", "s0", "s1", "s2", "t0", "t1");
const pasid = fc.constantFrom(undefined, undefined, 5, 9);
const policy = fc.constantFrom(undefined, "raw", "exclude-windows", "translated-only");
const at = fc.constantFrom(0x10000, 0x11000, 0x12000);
const slot = <T>(more: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record({ device, ...more }).map((value) => JSON.parse(JSON.stringify(value)) as object);

/** `undefined` fields fall away. */
const step = fc.oneof(
  { weight: 4, arbitrary: slot({ to: context }).map((bind) => ({ bind })) },
  { weight: 8, arbitrary: slot({ to: target, pasid, policy }).map((attach) => ({ attach })) },
  { weight: 4, arbitrary: slot({ to: target, pasid, policy }).map((replace) => ({ replace })) },
  { weight: 2, arbitrary: slot({ pasid }).map((detach) => ({ detach })) },
  { weight: 1, arbitrary: slot({}).map((close) => ({ close })) },
  {
    weight: 2,
    arbitrary: fc.record({ space, memory: fc.constant("m"), at }).map((map) => ({ map })),
  },
  { weight: 1, arbitrary: fc.record({ space, at }).map((unmap) => ({ unmap })) },
  {
    weight: 2,
    arbitrary: slot({
      name: fc.constantFrom("t0", "t1"),
      on: space,
      pasid: fc.constantFrom(true, undefined),
    }).map((table) => ({ table })),
  },
  { weight: 1, arbitrary: target.map((destroy) => ({ destroy })) },
  {
    weight: 8,
    arbitrary: slot({
      write: fc.constant("x"),
      at,
      pasid,
      via: fc.constantFrom("untranslated", "ats"),
      as: fc.constantFrom(undefined, undefined, "b"),
    }).map((dma) => ({ dma })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("a", "b", "up", "e").map((unplug) => ({ unplug })),
  },
  { weight: 1, arbitrary: fc.constantFrom("a", "b", "up", "e").map((plug) => ({ plug })) },
  {
    weight: 1,
    arbitrary: slot({
      bind: fc.constantFrom("e1000e", undefined),
      unbind: fc.constantFrom(true, undefined),
    }).map((driver) => ({ driver })),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 6 }).map((fail) => ({ fail })) },
);

const HEAD = { schema: "ioasis/scenario/1", name: "r", platforms: ["r"], anything: true };
const BEGIN = [
  { context: "u" },
  { context: "v" },
  { memory: { name: "m", pages: 4 } },
  { space: { name: "s0", in: "u" } },
  { space: { name: "s1", in: "u" } },
  { space: { name: "s2", in: "v" } },
  { map: { space: "s0", memory: "m", page: 0, pages: 2, at: 0x10000 } },
  { map: { space: "s1", memory: "m", page: 2, pages: 2, at: 0x10000 } },
  ...["a", "b", "c", "d", "e"].map((name) => ({ bind: { device: name, to: "u" } })),
  { table: { name: "t0", device: "e", on: "s0", pasid: true } },
  { table: { name: "t1", device: "a", on: "s1", pasid: true } },
  { attach: { device: "a", to: "s0" } },
  { attach: { device: "c", to: "s1" } },
];

export interface RandomPlayCounts {
  scenarios: number;
  steps: number;
  /** Transactions that reached memory. */
  landed: number;
  /** Attaches and replacements that worked. */
  moved: number;
}

export const noPlayCounts = (): RandomPlayCounts => ({
  scenarios: 0,
  steps: 0,
  landed: 0,
  moved: 0,
});

/** A safety rule does not hold; `file` replays it. */
export class RandomPlayFailure extends Error {
  readonly file: FailureFile;

  constructor(message: string, file: FailureFile) {
    super(message);
    this.file = file;
  }
}

/**
 * Plays `runs` random scenarios; the one that fails is made as short as it gets, and kept.
 * @throws RandomPlayFailure that names seed and file.
 */
export function playRandomly(
  seed: number,
  runs: number,
  rules: PlayRules,
  counts: RandomPlayCounts,
): void {
  const description = readPlatform(PLATFORM);
  let failed: Play | undefined;
  const property = fc.property(fc.array(step, { minLength: 30, maxLength: 80 }), (more) => {
    const node = { ...HEAD, steps: [...BEGIN, ...more] };
    const platform = buildPlatform(description);
    const played = play(readScenario(node), platform, "r", rules);
    count(played, counts);
    if (played.ok) return true;
    failed = played;
    return false;
  });
  const { failed: isBroken } = fc.check(property, { seed, numRuns: runs });
  if (!isBroken || failed === undefined) return;
  const broken = failed.steps.at(-1)?.broken ?? [];
  const texts = broken.map(({ rule, text }) => `rule ${rule}: ${text}`);
  const why = `seed ${seed}, ${rules}: ${texts.join("; ")}`;
  const file = keepFailure({
    name: "random-play",
    why,
    rules,
    platform: PLATFORM,
    steps: stepsThatPlayed(failed),
  });
  throw new RandomPlayFailure(`${why}; kept in ${file.scenario}`, file);
}

function count(played: Play, counts: RandomPlayCounts): void {
  counts.scenarios++;
  counts.steps += played.steps.length;
  for (const { step: done, outcome } of played.steps) {
    if (outcome.lands !== undefined) counts.landed++;
    const moves = done.action === "attach" || done.action === "replace";
    if (moves && outcome.errno === undefined) counts.moved++;
  }
}
