import assert from "node:assert/strict";
import { test } from "node:test";
import {
  buildFabric,
  ConfigSpaceBuilder,
  describeFunction,
  type FunctionDescription,
  type FunctionSpec,
  PortType,
} from "../pcie/index.js";
import { formatBdf, makeBdf, parseBdf } from "../units/index.js";
import type { HostFacts } from "./host-facts.js";
import { linuxGroups } from "./linux-groups.js";
import { joinPath } from "./partition.js";
import { LINUX_RULE_SETS } from "./rules/index.js";

const at = (text: string) => parseBdf(text) ?? makeBdf(0, 0, 0, 0);
const ON = { capability: 0x1f, control: 0x1f };

const port = (text: string, secondary: number, more: Partial<FunctionSpec> = {}): FunctionSpec => ({
  bdf: at(text),
  type: PortType.RootPort,
  buses: [0, secondary, secondary],
  acs: ON,
  ...more,
});
const endpoint = (text: string, more: Partial<FunctionSpec> = {}): FunctionSpec => ({
  bdf: at(text),
  type: PortType.Endpoint,
  vendor: 0x10de,
  device: 1,
  ...more,
});

function group(specs: readonly (FunctionSpec | FunctionDescription)[], facts: HostFacts = {}) {
  const functions = specs.map((s) => ("config" in s ? s : describeFunction(s)));
  return linuxGroups(buildFabric({ functions }), facts, "linux-6.12");
}
const show = (specs: readonly (FunctionSpec | FunctionDescription)[], facts?: HostFacts) =>
  group(specs, facts).groups.map((g) => g.map(formatBdf).join(" "));

test("an empty host has no groups", () => {
  const made = group([]);
  assert.deepEqual([made.groups, made.joins, made.ungrouped, made.unknown], [[], [], [], []]);
});

test("the evidence of a broken path names the port and its bits", () => {
  const made = group([
    port("00:01.0", 1, { acs: { capability: 0x1f, control: 0x0d } }),
    endpoint("01:00.0"),
  ]);
  const [join] = joinPath(made, at("00:01.0"), at("01:00.0")) ?? [];
  assert.deepEqual(
    join?.because.map((e) => [e.kind, formatBdf(e.at), e.bits]),
    [
      ["path-not-isolated", "0000:00:01.0", undefined],
      ["acs-bits-off", "0000:00:01.0", ["UF"]],
    ],
  );
});

test("a port far above that fails is named where it is", () => {
  const made = group([
    port("00:01.0", 1, { acs: undefined, buses: [0, 1, 9] }),
    { ...port("01:00.0", 2), type: PortType.UpstreamPort, buses: [1, 2, 9] },
    { ...port("02:00.0", 3), type: PortType.DownstreamPort, buses: [2, 3, 9] },
    endpoint("03:00.0"),
  ]);
  assert.equal(made.groups.length, 1);
  const join = made.joins.find((j) => j.a === at("03:00.0"));
  assert.deepEqual([join?.because[0]?.at, join?.because[0]?.with], [at("02:00.0"), at("00:01.0")]);
  assert.equal(join?.because[1]?.kind, "acs-capability-missing");
});

test("slot mates share only when none of both isolates, and both are in the evidence", () => {
  const made = group([
    endpoint("00:03.0", { multifunction: true }),
    endpoint("00:03.1", { acs: ON }),
    endpoint("00:03.2"),
    endpoint("00:04.0"),
  ]);
  assert.deepEqual(
    made.groups.map((g) => g.map(formatBdf)),
    [["0000:00:03.0", "0000:00:03.2"], ["0000:00:03.1"], ["0000:00:04.0"]],
  );
  assert.deepEqual(
    made.joins[0]?.because.map((e) => [e.kind, formatBdf(e.at)]),
    [
      ["same-slot-not-isolated", "0000:00:03.2"],
      ["acs-capability-missing", "0000:00:03.2"],
      ["acs-capability-missing", "0000:00:03.0"],
    ],
  );
});

test("with ARI only blocks of eight functions count as one slot", () => {
  const big = [0, 1, 8, 9].map((devFn) => ({
    ...endpoint("01:00.0", { ari: true, multifunction: true }),
    bdf: makeBdf(0, 1, devFn >>> 3, devFn & 7),
  }));
  assert.deepEqual(show([port("00:01.0", 1), ...big]).slice(1), [
    "0000:01:00.0 0000:01:00.1",
    "0000:01:01.0 0000:01:01.1",
  ]);
});

test("an alias joins functions of one bus whichever of them holds it", () => {
  const marvell = { vendor: 0x1b4b, device: 0x9230 };
  for (const [holder, other] of [
    ["00:05.0", "00:05.1"],
    ["00:05.2", "00:05.1"],
  ] as const) {
    const made = group([
      endpoint(holder, { ...marvell, acs: ON, multifunction: true }),
      endpoint(other, { acs: ON, multifunction: true }),
    ]);
    assert.equal(made.groups.length, 1);
    const [evidence] = made.joins[0]?.because ?? [];
    assert.deepEqual(
      [evidence?.kind, evidence?.at, evidence?.with, evidence?.rid],
      ["alias-quirk", at(holder), at(other), at(other)],
    );
  }
});

test("an alias reaches through a function that has no group yet", () => {
  // 1f.0 borrows the numbers of both; when 11.0 is placed it leads to the group of 10.0.
  const mic = { vendor: 0x8086, device: 0x2260 };
  const made = group([endpoint("05:10.0"), endpoint("05:11.0"), endpoint("05:1f.0", mic)]);
  assert.equal(made.groups.length, 1);
  const join = made.joins.find((j) => j.a === at("05:11.0"));
  assert.deepEqual(
    join?.because.map((e) => [formatBdf(e.at), e.with]),
    [
      ["0000:05:1f.0", at("05:11.0")],
      ["0000:05:1f.0", at("05:10.0")],
    ],
  );
});

test("a function outside the scope never lends a group, but counts in the path", () => {
  const ivrs = (first: number): HostFacts => ({
    ivrs: {
      memory: [],
      units: [
        {
          segment: 0,
          iommu: at("00:00.2"),
          base: 0n,
          covered: [{ first, last: 0xffff }],
          aliases: [],
        },
      ],
    },
  });
  const host = [port("00:01.0", 1, { acs: undefined }), endpoint("01:00.0"), endpoint("01:01.0")];
  assert.equal(group(host, ivrs(0)).groups.length, 1);
  const made = group(host, ivrs(0x0100));
  assert.deepEqual(
    made.groups.map((g) => g.map(formatBdf)),
    [["0000:01:00.0"], ["0000:01:01.0"]],
  );
  assert.deepEqual(made.ungrouped[0]?.because[0]?.kind, "outside-iommu-scope");
});

test("with VIOT kernels before 7.2 need a driver: said, not guessed", () => {
  const facts: HostFacts = {
    viot: {
      ranges: [{ firstSegment: 0, lastSegment: 0, firstBdf: 0, lastBdf: 0xff }],
      iommus: [at("00:1e.0")],
    },
  };
  const fabric = buildFabric({
    functions: [
      describeFunction(endpoint("00:01.0", { driver: "pcieport" })),
      describeFunction(endpoint("00:02.0", { driver: null })),
      describeFunction(endpoint("00:03.0")),
      describeFunction(endpoint("00:1e.0")),
    ],
  });
  for (const rules of LINUX_RULE_SETS) {
    const made = linuxGroups(fabric, facts, rules);
    assert.equal(made.groups.length, 3);
    assert.deepEqual(
      made.ungrouped.map((u) => u.device),
      [at("00:1e.0")],
    );
    const expected = rules === "linux-7.2" ? [] : [[at("00:02.0"), "bound-driver-needed"]];
    assert.deepEqual(
      made.conditional.map((c) => [c.device, c.because[0]?.kind]),
      expected,
    );
  }
});

test("a bus without a bridge that shows no root is listed as unknown", () => {
  const made = group([port("00:01.0", 1), endpoint("01:00.0"), endpoint("41:00.0")]);
  assert.deepEqual(made.unknown, [{ device: at("41:00.0"), missing: ["topology"] }]);
});

test("access denied: bridges count as not isolated, and what is missing is named", () => {
  const header = (spec: FunctionSpec): FunctionDescription => {
    const made = describeFunction(spec);
    const out = new ConfigSpaceBuilder();
    for (let i = 0; i < 64; i++) out.set8(i, made.config.u8(i));
    return { ...made, config: out.build(64) };
  };
  const made = group([header(port("00:01.0", 1)), header(endpoint("01:00.0"))]);
  assert.equal(made.groups.length, 1);
  assert.deepEqual(made.unknown, [{ device: at("00:01.0"), missing: ["config"] }]);
});

test("functions of which nothing is known are grouped alone and listed", () => {
  const empty = { bdf: at("00:05.0"), config: new ConfigSpaceBuilder().build(0) };
  const made = group([empty]);
  assert.deepEqual(made.groups, [[at("00:05.0")]]);
  assert.deepEqual(made.unknown, [{ device: at("00:05.0"), missing: ["ids"] }]);
});

test("a bus full of functions that borrow every number stays quick", () => {
  const plx = { vendor: 0x10b5, device: 0x87b0 };
  const specs: FunctionSpec[] = [];
  for (let bus = 1; bus <= 40; bus++) {
    for (let n = 0; n < 256; n++) {
      specs.push(endpoint("00:00.0", { ...plx, bdf: makeBdf(bus, 0, n >>> 3, n & 7), acs: ON }));
    }
  }
  const made = group(specs);
  assert.equal(made.groups.length, 40);
  assert.equal(made.joins.length, 40 * 255);
});
