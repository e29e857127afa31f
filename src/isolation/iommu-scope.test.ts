import assert from "node:assert/strict";
import { test } from "node:test";
import { buildFabric, describeFunction, type FunctionSpec, PortType } from "../pcie/index.js";
import { makeBdf, parseBdf } from "../units/index.js";
import type { DeviceScope, DmarUnit, HostFacts } from "./host-facts.js";
import { iommuActivity } from "./iommu-active.js";
import { iommuScope } from "./iommu-scope.js";
import { linuxGroups } from "./linux-groups.js";

const at = (text: string) => parseBdf(text) ?? makeBdf(0, 0, 0, 0);

const HOST: readonly FunctionSpec[] = [
  { bdf: at("00:00.0"), vendor: 0x8086, device: 0x3e30, classCode: 0x060000 },
  { bdf: at("00:02.0"), vendor: 0x8086, device: 0x3e92, classCode: 0x030000 },
  { bdf: at("00:1c.0"), type: PortType.RootPort, buses: [0, 1, 3] },
  { bdf: at("01:00.0"), type: PortType.UpstreamPort, buses: [1, 2, 3] },
  { bdf: at("02:01.0"), type: PortType.DownstreamPort, buses: [2, 3, 3] },
  { bdf: at("03:00.0"), type: PortType.Endpoint, sriov: VFS() },
  { bdf: at("03:00.2"), type: PortType.Endpoint, physfn: at("03:00.0") },
];
function VFS() {
  return { total: 1, enabled: 1, offset: 2, stride: 1 };
}

const build = (specs: readonly FunctionSpec[]) =>
  buildFabric({ functions: specs.map(describeFunction) });

const path = (...hops: readonly (readonly [number, number])[]) =>
  hops.map(([device, fn]) => ({ device, fn }));

function dmar(...units: readonly Partial<DmarUnit>[]): HostFacts {
  return {
    dmar: {
      addressWidth: 39,
      interruptRemapping: true,
      platformOptIn: false,
      units: units.map((unit) => ({
        segment: 0,
        includeAll: false,
        registerBase: 0n,
        scopes: [],
        ...unit,
      })),
      reserved: [],
      ats: [],
    },
  };
}

function covered(facts: HostFacts, specs = HOST) {
  const fabric = build(specs);
  const scope = iommuScope(fabric, facts);
  return fabric.functions
    .filter((fn) => scope.coverage(fn) === "covered")
    .map((fn) => `${fn.bdf.toString(16)}:${scope.unitOf(fn)}`);
}

test("DMAR: a unit that takes all, after units that name devices", () => {
  const graphics: DeviceScope = { kind: "endpoint", bus: 0, path: path([2, 0]) };
  const all = covered(dmar({ scopes: [graphics] }, { includeAll: true }));
  assert.deepEqual(all, ["0:1", "10:0", "e0:1", "100:1", "208:1", "300:1", "302:1"]);
});

test("DMAR: a named bridge takes all below, paths go through bridges, a VF follows its PF", () => {
  const below: DeviceScope = { kind: "sub-hierarchy", bus: 0, path: path([0x1c, 0]) };
  assert.deepEqual(covered(dmar({ scopes: [below] })), [
    "e0:0",
    "100:0",
    "208:0",
    "300:0",
    "302:0",
  ]);
  const deep = path([0x1c, 0], [0, 0], [1, 0], [0, 0]);
  const endpoint: DeviceScope = { kind: "endpoint", bus: 0, path: deep };
  assert.deepEqual(covered(dmar({ scopes: [endpoint] })), ["300:0", "302:0"]);
});

test("DMAR: paths to nowhere, other segments, interrupt controllers cover nothing", () => {
  const none: DeviceScope[] = [
    { kind: "endpoint", bus: 0, path: path([0x1d, 0], [0, 0]) },
    { kind: "endpoint", bus: 9, path: path([0, 0]) },
    { kind: "endpoint", bus: 0, path: path([40, 9]) },
    { kind: "ioapic", bus: 0, path: path([2, 0]) },
    { kind: "endpoint", bus: 0, path: [] },
  ];
  assert.deepEqual(covered(dmar({ scopes: none })), []);
  assert.deepEqual(covered(dmar({ includeAll: true, segment: 1 })), []);
});

test("DMAR: Linux skips a display-only unit when a certain graphics id is there", () => {
  const graphics: DeviceScope = { kind: "endpoint", bus: 0, path: path([2, 0]) };
  const facts = dmar({ scopes: [graphics] }, { includeAll: true });
  const broadwell = HOST.map((s) => (s.bdf === at("00:02.0") ? { ...s, device: 0x1616 } : s));
  assert.ok(!covered(facts, broadwell).some((text) => text.startsWith("10:")));
  const made = linuxGroups(build(broadwell), facts, "linux-6.12");
  assert.deepEqual(
    made.ungrouped.map((u) => [u.device, u.because[0]?.kind, u.because[0]?.quirk]),
    [[at("00:02.0"), "excluded-by-driver", "intelGraphicsUnit"]],
  );
});

test("IVRS: ranges and aliases of requester IDs, never the IOMMU itself", () => {
  const ivrs: HostFacts["ivrs"] = {
    memory: [],
    units: [
      {
        segment: 0,
        iommu: at("00:02.0"),
        base: 0n,
        covered: [{ first: 0x0010, last: 0x00ff }],
        aliases: [{ first: 0x0300, last: 0x0300, alias: 0x00e0 }],
      },
    ],
  };
  assert.deepEqual(covered({ ivrs }), ["e0:0", "300:0"]);
});

test("IORT: ranges mapped to an SMMU count, ranges mapped elsewhere do not", () => {
  const map = (firstRid: number, lastRid: number, to: "smmuv3" | "its") => ({
    firstRid,
    lastRid,
    to,
    single: false,
    outputBase: 0,
  });
  const iort: HostFacts["iort"] = {
    rootComplexes: [
      { segment: 1, ats: false, pasidBits: 0, mappings: [map(0, 0xffff, "smmuv3")] },
      {
        segment: 0,
        ats: false,
        pasidBits: 0,
        mappings: [map(0, 0xffff, "its"), map(0x0100, 0x02ff, "smmuv3")],
      },
    ],
  };
  assert.deepEqual(covered({ iort }), ["100:1", "208:1"]);
});

test("VIOT: ranges over segments, never the virtio-iommu itself", () => {
  const range = { firstSegment: 0, lastSegment: 0, firstBdf: 0, lastBdf: 0x02ff };
  const viot: HostFacts["viot"] = { ranges: [range], iommus: [at("00:02.0")] };
  assert.deepEqual(covered({ viot }), ["0:0", "e0:0", "100:0", "208:0"]);
});

test("without a table nothing is known, and everything is grouped", () => {
  const fabric = build(HOST);
  const scope = iommuScope(fabric, {});
  assert.equal(scope.table, undefined);
  assert.ok(fabric.functions.every((fn) => scope.coverage(fn) === "unknown"));
  const first = fabric.functions[0];
  assert.ok(first !== undefined && scope.why(first).kind === "scope-unknown");
  assert.deepEqual(linuxGroups(fabric, {}, "linux-7.2").ungrouped, []);
});

const active = (facts: HostFacts, specs = HOST) =>
  iommuActivity(build(specs), facts, "linux-7.2").active;

test("the kernel's own word decides; else the last option of the host's maker", () => {
  assert.equal(active({ iommuInUse: true, commandLine: "intel_iommu=off" }), true);
  assert.equal(active({ iommuInUse: false }), false);
  assert.equal(active({ commandLine: "quiet intel_iommu=off" }), false);
  assert.equal(active({ commandLine: "intel_iommu=off intel_iommu=on,sm_on" }), undefined);
  assert.equal(active({ commandLine: "intel_iommu=sm_on,off" }), false);
  assert.equal(active({ commandLine: "amd_iommu=off" }), undefined, "an Intel host");
  assert.equal(active({ commandLine: "iommu=off intel_iommu=on" }), false);
  assert.equal(active({ commandLine: "iommu=pt" }), undefined);
  assert.equal(active({ commandLine: "amd_iommu=off", ivrs: { units: [], memory: [] } }), false);
  assert.equal(
    active({ commandLine: "intel_iommu=off", viot: { ranges: [], iommus: [] } }),
    undefined,
  );
  assert.equal(active({}), undefined);
});

test("a host known to run without an IOMMU has no groups, unless asked what would be", () => {
  const facts = { ...dmar({ includeAll: true }), commandLine: "intel_iommu=off" };
  const made = linuxGroups(build(HOST), facts, "linux-6.12");
  assert.equal(made.groups.length, 0);
  assert.equal(made.ungrouped.length, HOST.length);
  const [first] = made.ungrouped;
  assert.deepEqual(
    [first?.because[0]?.kind, first?.because[0]?.detail],
    ["iommu-inactive", "intel_iommu=off"],
  );
  const assumed = linuxGroups(build(HOST), facts, "linux-6.12", { assumeIommu: true });
  assert.equal(assumed.ungrouped.length, 0);
});

const STONEY: FunctionSpec[] = [
  { bdf: at("00:00.0"), vendor: 0x1022, device: 0x1576, classCode: 0x060000 },
  { bdf: at("00:01.0"), vendor: 0x1002, device: 0x98e4, classCode: 0x030000 },
];

test("AMD Stoney graphics switch AMD-Vi off unless forced", () => {
  assert.equal(active({}, STONEY), false);
  assert.equal(active({ commandLine: "amd_iommu=force_enable" }, STONEY), undefined);
  assert.equal(active({ iommuInUse: true }, STONEY), true);
  const made = linuxGroups(build(STONEY), {}, "linux-6.1");
  assert.equal(made.ungrouped[0]?.because[0]?.quirk, "amdStoney");
});

test("AMD-Vi without usable page tables serves nobody from 7.2 on", () => {
  const unit = {
    segment: 0,
    iommu: at("00:00.2"),
    base: 0n,
    covered: [{ first: 0, last: 0xffff }],
    aliases: [],
    hostTablesDisabled: true,
  };
  const facts = (efr: bigint): HostFacts => ({ ivrs: { units: [{ ...unit, efr }], memory: [] } });
  assert.equal(linuxGroups(build(HOST), facts(0n), "linux-7.2").groups.length, 0);
  assert.ok(linuxGroups(build(HOST), facts(0n), "linux-6.12").groups.length > 0);
  assert.ok(linuxGroups(build(HOST), facts(0x10n), "linux-7.2").groups.length > 0);
});
