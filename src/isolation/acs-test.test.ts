import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  Acs,
  buildFabric,
  ConfigSpaceBuilder,
  describeFunction,
  type FunctionDescription,
  type FunctionSpec,
  PortType,
} from "../pcie/index.js";
import { makeBdf } from "../units/index.js";
import { AcsJudge, GROUP_REQUEST } from "./acs-test.js";
import type { HostFacts } from "./host-facts.js";
import type { LinuxRuleSet } from "./partition.js";

const BDF = makeBdf(0, 0, 3, 0);
const PLAIN = { bdf: BDF, vendor: 0x1b36, device: 0x000c, buses: [0, 1, 1] as const };

function verdictOf(
  description: FunctionDescription,
  facts: HostFacts = {},
  rules: LinuxRuleSet = "linux-7.2",
) {
  const fn = buildFabric({ functions: [description] }).functions[0];
  assert.ok(fn !== undefined);
  return new AcsJudge(facts, rules).verdict(fn);
}
const judge = (spec: Partial<FunctionSpec>, facts?: HostFacts, rules?: LinuxRuleSet) =>
  verdictOf(describeFunction({ ...PLAIN, ...spec }), facts, rules);

const first = (v: ReturnType<typeof judge>) => [v.isolated, v.because[0]?.kind];
const OFF = { capability: 0x1f, control: 0 };
const ON = { capability: 0x1f, control: 0x1f };

test("by kind: conventional functions, bridges and event collectors never isolate", () => {
  assert.deepEqual(first(judge({ multifunction: false })), [false, "not-pci-express"]);
  for (const type of [
    PortType.PcieToPciBridge,
    PortType.PciToPcieBridge,
    PortType.RcEventCollector,
  ]) {
    assert.deepEqual(first(judge({ type, acs: ON })), [false, "bridge-never-isolates"]);
  }
});

test("by kind: ports need registers, other functions only in a multi-function slot", () => {
  for (const type of [PortType.RootPort, PortType.DownstreamPort]) {
    assert.deepEqual(first(judge({ type })), [false, "acs-capability-missing"]);
    assert.deepEqual(first(judge({ type, acs: OFF })), [false, "acs-bits-off"]);
    assert.deepEqual(first(judge({ type, acs: ON })), [true, "acs-bits-on"]);
  }
  for (const type of [
    PortType.Endpoint,
    PortType.LegacyEndpoint,
    PortType.UpstreamPort,
    PortType.RcIntegratedEndpoint,
  ]) {
    assert.deepEqual(first(judge({ type })), [true, "acs-not-needed"]);
    const slot = { type, multifunction: true };
    assert.deepEqual(first(judge(slot)), [false, "acs-capability-missing"]);
    assert.deepEqual(first(judge({ ...slot, acs: ON })), [true, "acs-bits-on"]);
  }
  assert.deepEqual(first(judge({ type: 11 })), [true, "acs-not-needed"], "an unassigned type");
});

test("the bits that are off are named", () => {
  const some = judge({ type: PortType.RootPort, acs: { capability: 0x1f, control: 0x0d } });
  assert.deepEqual(some.because[0]?.bits, ["UF"]);
});

test("registers, every pair of words: what is not implemented counts as wired on", () => {
  const word = fc.integer({ min: 0, max: 0x7f });
  fc.assert(
    fc.property(word, word, (capability, control) => {
      const wanted = ["SV", "RR", "CR", "UF"] as const;
      const expected = wanted.every(
        (bit) => (capability & Acs[bit]) === 0 || (control & Acs[bit]) !== 0,
      );
      const acs = { capability, control, egressVector: [0] };
      assert.equal(judge({ type: PortType.DownstreamPort, acs }).isolated, expected);
    }),
    { seed: 612, numRuns: 400 },
  );
});

test("Linux 7.2 does not ask two IDT switches for Source Validation", () => {
  const idt = { vendor: 0x111d, device: 0x80b5, type: PortType.DownstreamPort };
  const acs = { capability: 0x1f, control: 0x1c };
  assert.equal(judge({ ...idt, acs }, {}, "linux-7.2").isolated, true);
  assert.equal(judge({ ...idt, acs }, {}, "linux-6.12").isolated, false);
});

/** A root port of which a listing shows the ACS capability but none of its bits. */
function namedOnly(): FunctionDescription {
  const out = new ConfigSpaceBuilder();
  for (let at = 0; at < 0x44; at += 4) out.set32(at, 0);
  out.set16(0, 0x1b36).set16(2, 0x000c).set16(6, 0x10).set8(0x0e, 1).set8(0x34, 0x40);
  out.set8(0x19, 1).set16(0x40, 0x0010).set16(0x42, 0x0042);
  out.set32(0x100, 0x0001000d);
  return { bdf: BDF, config: out.build(4096) };
}

test("a capability without bits passes when the kernel's default may be assumed", () => {
  const known = verdictOf(namedOnly(), { iommuInUse: true });
  assert.deepEqual([known.isolated, known.missing], [true, []]);
  const open = verdictOf(namedOnly(), {});
  assert.deepEqual([open.isolated, open.missing], [true, ["acs"]]);
  const refused: HostFacts[] = [
    { iommuInUse: false },
    { iommuInUse: true, commandLine: "pci=disable_acs_redir=00:03.0" },
    { iommuInUse: true, commandLine: "pci=config_acs=x@pci:1b36:c" },
  ];
  for (const facts of refused) {
    const verdict = verdictOf(namedOnly(), facts);
    assert.deepEqual([verdict.isolated, verdict.missing], [false, ["acs"]]);
  }
  const deviceTree: HostFacts = { iommuInUse: true, firmware: "device-tree" };
  assert.equal(verdictOf(namedOnly(), deviceTree, "linux-6.12").isolated, false);
  assert.equal(verdictOf(namedOnly(), deviceTree, "linux-7.2").isolated, true);
  const old: HostFacts = { iommuInUse: true, commandLine: "pci=config_acs=x@pci:1b36:c" };
  assert.equal(verdictOf(namedOnly(), old, "linux-6.1").isolated, true, "unknown to 6.1");
});

test("what is not shown does not isolate and is named", () => {
  const made = describeFunction({ ...PLAIN, type: PortType.RootPort, acs: ON });
  const cut = (extent: 64 | 256) => {
    const out = new ConfigSpaceBuilder();
    for (let at = 0; at < extent; at++) out.set8(at, made.config.u8(at));
    return verdictOf({ ...made, config: out.build(extent) });
  };
  assert.deepEqual([cut(64).isolated, cut(64).missing], [false, ["config"]]);
  assert.deepEqual([cut(256).isolated, cut(256).missing], [false, ["acs"]]);
});

test("an id that only root ports carry tells the type of a port without capabilities", () => {
  const made = describeFunction({ ...PLAIN, vendor: 0x8086, device: 0x8c10, type: 4 });
  const out = new ConfigSpaceBuilder();
  for (let at = 0; at < 64; at++) out.set8(at, made.config.u8(at));
  const verdict = verdictOf({ ...made, config: out.build(64) });
  assert.deepEqual([verdict.isolated, verdict.missing], [true, ["config"]]);
});

test("a path names its lowest port that fails, and each request has its own verdict", () => {
  const port = (bus: number, type: PortType, control: number): FunctionSpec => ({
    ...PLAIN,
    bdf: makeBdf(0, bus, 0, 0),
    type,
    buses: [bus, bus + 1, 9],
    acs: { capability: 0x1f, control },
  });
  const specs = [
    port(0, PortType.RootPort, 0x1d),
    port(1, PortType.UpstreamPort, 0),
    port(2, PortType.DownstreamPort, 0x04),
    port(3, PortType.UpstreamPort, 0),
    port(4, PortType.DownstreamPort, 0x14),
  ];
  const fabric = buildFabric({ functions: specs.map(describeFunction) });
  const judged = new AcsJudge({}, "linux-7.2");
  const fn = fabric.function(makeBdf(0, 4, 0, 0));
  assert.ok(fn !== undefined);
  const path = judged.path(fn, GROUP_REQUEST);
  assert.equal(path.isolated, false);
  assert.equal(path.failing, fn);
  assert.equal(judged.path(fn, Acs.RR).isolated, true);
  assert.equal(judged.path(fn, Acs.RR | Acs.UF).failing, fabric.function(makeBdf(0, 2, 0, 0)));
});

test("functions of one device without ACS: shared, or by option isolated (S34)", () => {
  const functions = [0, 1, 2].map((fn) => ({
    bdf: makeBdf(0, 1, 0, fn),
    type: PortType.Endpoint,
    multifunction: true,
    ...(fn === 2 ? { acs: { capability: Acs.RR | Acs.CR, control: 0 } } : {}),
  }));
  const fabric = buildFabric({ functions: functions.map(describeFunction) });
  const isolated = (absentAcs: "shares" | "isolates" | undefined) =>
    fabric.functions.map((fn) => new AcsJudge({ absentAcs }, "linux-7.2").verdict(fn).isolated);
  assert.deepEqual(isolated(undefined), [false, false, false]);
  assert.deepEqual(isolated("shares"), [false, false, false]);
  // A capability whose bits are off is no absence.
  assert.deepEqual(isolated("isolates"), [true, true, false]);
});
