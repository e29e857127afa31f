/**
 * The product's Linux groups against the naive second implementation, on random hosts with quirked
 * ids, random scopes and firmware aliases, under all three rule sets. CAMPAIGN_SIZE sets the number
 * of hosts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type HostFacts, LINUX_RULE_SETS, linuxGroups } from "../src/isolation/index.js";
import {
  buildFabric,
  ConfigSpace,
  describeFunction,
  type FunctionDescription,
  type FunctionSpec,
} from "../src/pcie/index.js";
import { busOf, devFnOf, formatBdf, segmentOf } from "../src/units/index.js";
import { bootedSamples } from "./support/groundtruth.js";
import { type NaiveFunction, type NaiveHost, naiveGroups } from "./support/naive-linux-groups.js";
import { arbitraryFabric } from "./support/random-fabric.js";
import { skipWithoutShared } from "./support/shared.js";

const HOSTS = Number(process.env["CAMPAIGN_SIZE"] ?? 600);
const SEED = Number(process.env["CAMPAIGN_SEED"] ?? 20210609);

/** One id or more for every ACS rule and every alias rule, and ids just outside. */
const IDS = [
  [0x1002, 0x4385],
  [0x1022, 0x7809],
  [0x8086, 0x10c9],
  [0x8086, 0x1521],
  [0x8086, 0x9999],
  [0x17cb, 0x0400],
  [0x8086, 0x8c10],
  [0x8086, 0x9d10],
  [0x8086, 0xa2e7],
  [0x177d, 0xa001],
  [0x177d, 0xa026],
  [0x1def, 0xe005],
  [0x14e4, 0xd714],
  [0x0014, 0x7a09],
  [0x1c36, 0x0031],
  [0x1957, 0x8d80],
  [0x1d17, 0x0721],
  [0x1d17, 0x0722],
  [0x8088, 0x1001],
  [0x8088, 0x1002],
  [0x1180, 0xe832],
  [0x1b4b, 0x9230],
  [0x9005, 0x0285],
  [0x8086, 0x2260],
  [0x8086, 0x2954],
  [0x10b5, 0x87b0],
  [0x14e4, 0x9000],
  [0x1a03, 0x1150],
  [0x1b21, 0x1080],
  [0x8086, 0x244e],
  [0x111d, 0x80b5],
  [0x111d, 0x8090],
  [0x8086, 0xb60b],
].map(([vendor = 0, device = 0]) => ({ vendor, device }));

interface Case {
  readonly specs: readonly FunctionSpec[];
  readonly ivrs: boolean;
  /** Requester IDs left out of the table's scope, by low bits. */
  readonly hole: number | undefined;
  readonly aliases: readonly { readonly from: number; readonly to: number }[];
}

const cases = fc.record({
  specs: arbitraryFabric({ ids: IDS, maxBuses: 24, unassigned: false }),
  ivrs: fc.boolean(),
  hole: fc.option(fc.integer({ min: 0, max: 15 }), { nil: undefined }),
  aliases: fc.array(fc.record({ from: fc.nat({ max: 200 }), to: fc.nat({ max: 255 }) }), {
    maxLength: 3,
  }),
});

/** Complete bytes: the builder knows only what it wrote. */
function dumped(spec: FunctionSpec): FunctionDescription {
  const made = describeFunction(spec);
  const bytes = new Uint8Array(4096);
  bytes.set(made.config.bytes);
  return { ...made, config: ConfigSpace.fromDump(bytes) };
}

function plain(functions: readonly FunctionDescription[]): NaiveFunction[] {
  const at = new Map(functions.map((f, i) => [f.bdf, i]));
  return functions.map((f) => ({
    seg: segmentOf(f.bdf),
    bus: busOf(f.bdf),
    df: devFnOf(f.bdf),
    vendor: f.ids?.vendor ?? f.config.u16(0),
    device: f.ids?.device ?? f.config.u16(2),
    bytes: f.config.bytes,
    pf: f.physfn === undefined ? undefined : at.get(f.physfn),
  }));
}

function factsOf(c: Case, functions: readonly FunctionDescription[]): HostFacts {
  if (!c.ivrs) return { dmar: ALL_COVERED };
  const segments = new Set(functions.map((f) => segmentOf(f.bdf)));
  const aliases = c.aliases.flatMap(({ from, to }) => {
    const fn = functions[from];
    if (fn === undefined) return [];
    const rid = busOf(fn.bdf) * 256 + devFnOf(fn.bdf);
    return [{ first: rid, last: rid, alias: (rid & 0xff00) | to }];
  });
  return {
    ivrs: {
      memory: [],
      units: [...segments].map((segment) => ({
        segment,
        iommu: 0xffff as never,
        base: 0n,
        covered: holes(c.hole),
        aliases: segment === 0 ? aliases : [],
      })),
    },
  };
}

const ALL_COVERED: NonNullable<HostFacts["dmar"]> = {
  addressWidth: 48,
  interruptRemapping: true,
  platformOptIn: false,
  units: [0, 1, 0x10000].map((segment) => ({
    segment,
    includeAll: true,
    registerBase: 0n,
    scopes: [],
  })),
  reserved: [],
  ats: [],
};

/** Everything except buses whose number has `hole` in its low four bits. */
function holes(hole: number | undefined) {
  const out: { first: number; last: number }[] = [];
  for (let bus = 0; bus < 256; bus++) {
    if (bus % 16 !== hole) out.push({ first: bus * 256, last: bus * 256 + 255 });
  }
  return out;
}

function naiveHost(facts: HostFacts, functions: NaiveFunction[], series: NaiveHost["series"]) {
  const entries = facts.ivrs?.units ?? [];
  const rid = (f: NaiveFunction) => f.bus * 256 + f.df;
  return {
    functions,
    series,
    ivrs: facts.ivrs !== undefined,
    inScope: (f: NaiveFunction) =>
      facts.ivrs === undefined ||
      entries.some(
        (u) =>
          u.segment === f.seg &&
          [...u.covered, ...u.aliases].some((r) => rid(f) >= r.first && rid(f) <= r.last),
      ),
    ivrsAlias: (f: NaiveFunction) => {
      const of = entries.find((u) => u.segment === f.seg)?.aliases ?? [];
      const found = of.find((a) => a.first === rid(f) && a.alias !== rid(f));
      return found === undefined ? undefined : found.alias & 0xff;
    },
  };
}

function compare(functions: readonly FunctionDescription[], facts: HostFacts): void {
  const simple = plain(functions);
  const fabric = buildFabric({ functions });
  for (const rules of LINUX_RULE_SETS) {
    const series = rules.slice("linux-".length) as NaiveHost["series"];
    const expected = new Map<number, string[]>();
    naiveGroups(naiveHost(facts, simple, series)).forEach((group, i) => {
      const name = formatBdf((functions[i] as FunctionDescription).bdf);
      expected.set(group, [...(expected.get(group) ?? []), name]);
    });
    const without = (expected.get(-1) ?? []).sort();
    expected.delete(-1);
    const made = linuxGroups(fabric, facts, rules);
    const text = (groups: Iterable<readonly string[]>) =>
      [...groups]
        .map((g) => [...g].sort().join(" "))
        .sort()
        .join("\n");
    assert.equal(text(made.groups.map((g) => g.map(formatBdf))), text(expected.values()), rules);
    assert.deepEqual(made.ungrouped.map((u) => formatBdf(u.device)).sort(), without, rules);
  }
}

test(`${HOSTS} random hosts (seed ${SEED}): product and naive rules agree`, () => {
  fc.assert(
    fc.property(cases, (c) => {
      const functions = c.specs.map(dumped);
      compare(functions, factsOf(c, functions));
    }),
    { seed: SEED, numRuns: HOSTS },
  );
});

test("booted samples: product and naive rules agree", { skip: skipWithoutShared() }, () => {
  for (const sample of bootedSamples()) {
    const { dmar: _, viot: __, ivrs, ...rest } = sample.facts;
    const facts = ivrs === undefined ? { ...rest, dmar: ALL_COVERED } : { ...rest, ivrs };
    if (facts.iommuInUse === false) continue;
    if (ivrs !== undefined) continue; // The naive scope does not know the IOMMU's own function.
    compare(sample.functions, facts);
  }
});
