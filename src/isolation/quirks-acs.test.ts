import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Acs,
  buildFabric,
  ConfigSpace,
  describeFunction,
  type FunctionSpec,
  PortType,
} from "../pcie/index.js";
import { makeBdf } from "../units/index.js";
import { AcsJudge } from "./acs-test.js";
import type { HostFacts } from "./host-facts.js";
import { QUIRKS } from "./quirks.js";

const ALL_ON = { capability: 0x1f, control: 0x1f };
const INTEL: HostFacts = {
  dmar: {
    addressWidth: 48,
    interruptRemapping: true,
    platformOptIn: false,
    units: [],
    reserved: [],
    ats: [],
  },
};
const AMD: HostFacts = { ivrs: { units: [], memory: [] } };

type Probe = Omit<FunctionSpec, "bdf"> & { readonly vendor: number; readonly device: number };

function judge(probe: Probe, facts: HostFacts = INTEL, others: readonly FunctionSpec[] = []) {
  const bdf = makeBdf(0, 0, 0x1c, 0);
  const specs = [{ ...probe, bdf, buses: [0, 1, 1] as const }, ...others];
  const fabric = buildFabric({ functions: specs.map(describeFunction) });
  const fn = fabric.function(bdf);
  assert.ok(fn !== undefined);
  return new AcsJudge(facts, "linux-7.2").verdict(fn);
}

const isolates = (probe: Probe, facts?: HostFacts, others?: readonly FunctionSpec[]) =>
  judge(probe, facts, others).isolated;

test("every id of a row that asks for nothing more isolates without any register", () => {
  const idOnly = new Set([
    "noPeerBetweenFunctions",
    "qualcommRootPort",
    "xgeneRootPort",
    "broadcomPaxbRootPort",
    "loongsonRootPort",
    "nxpRootPort",
  ]);
  let seen = 0;
  for (const row of QUIRKS.acs.filter((r) => idOnly.has(r.rule))) {
    for (const id of row.ids) {
      const ids = { vendor: Math.floor(id / 65536), device: id & 0xffff };
      const verdict = judge({ ...ids, type: PortType.Endpoint, multifunction: true });
      assert.equal(verdict.isolated, true, id.toString(16));
      assert.equal(verdict.because[0]?.kind, "quirk-isolates");
      assert.equal(verdict.because[0]?.quirk, row.rule);
      assert.equal(
        isolates({ ...ids, multifunction: true }),
        true,
        "the port type is not looked at",
      );
      seen++;
    }
  }
  assert.equal(seen, 67 + 6 + 9 + 1 + 10 + 24);
});

test("noPeerBetweenFunctions says nothing about egress control", () => {
  const bdf = makeBdf(0, 0, 1, 0);
  const spec = { bdf, vendor: 0x8086, device: 0x10c9, multifunction: true };
  const fn = buildFabric({ functions: [describeFunction(spec)] }).function(bdf);
  assert.ok(fn !== undefined);
  const asked = new AcsJudge(INTEL, "linux-6.1");
  assert.equal(asked.verdict(fn, Acs.SV | Acs.TB | Acs.DT).isolated, true);
  assert.equal(asked.verdict(fn, Acs.EC).isolated, false);
});

test("an Intel integrated endpoint isolates; other Intel functions do not by that rule", () => {
  const ids = { vendor: 0x8086, device: 0x1234, multifunction: true };
  assert.equal(isolates({ ...ids, type: PortType.RcIntegratedEndpoint }), true);
  assert.equal(isolates({ ...ids, type: PortType.Endpoint }), false);
  assert.equal(isolates(ids), false, "conventional");
});

test("AMD southbridge functions isolate in a slot of a root bus, with an IVRS table", () => {
  const ids = { vendor: 0x1002, device: 0x4385 };
  for (const id of QUIRKS.acs[0]?.ids ?? []) {
    const row = { vendor: Math.floor(id / 65536), device: id & 0xffff };
    assert.equal(isolates({ ...row, multifunction: true }, AMD), true);
  }
  assert.equal(isolates({ ...ids, multifunction: true }, INTEL), false, "no IVRS");
  assert.equal(isolates({ ...ids, multifunction: false }, AMD), false, "one function");
  const open = judge({ ...ids, multifunction: true }, {});
  assert.deepEqual([open.isolated, open.missing], [true, ["acs"]], "no table captured");
});

test("PCH root ports isolate when the chipset's register block is on", () => {
  const port = { vendor: 0x8086, device: 0x8c10, type: PortType.RootPort };
  assert.equal(isolates(port), true, "nothing shows the register block");
  const lpc = (word: number) => {
    const bdf = makeBdf(0, 0, 0x1f, 0);
    const made = describeFunction({ bdf, vendor: 0x8086, device: 0x8c44 });
    const bytes = new Uint8Array(256);
    bytes.set(made.config.bytes.subarray(0, 64));
    bytes[0xf0] = word;
    return { ...made, config: new ConfigSpace(bytes, 256) };
  };
  for (const [word, expected] of [
    [1, true],
    [0, false],
  ] as const) {
    const bdf = makeBdf(0, 0, 0x1c, 0);
    const functions = [describeFunction({ ...port, bdf, acs: ALL_ON }), lpc(word)];
    const fn = buildFabric({ functions }).function(bdf);
    assert.ok(fn !== undefined);
    const verdict = new AcsJudge(INTEL, "linux-6.12").verdict(fn);
    assert.equal(verdict.isolated, expected);
    assert.equal(verdict.because[0]?.kind, expected ? "quirk-isolates" : "quirk-denies");
  }
  assert.equal(isolates({ ...port, type: PortType.DownstreamPort }), false, "root ports only");
  assert.equal(isolates({ ...port, device: 0x8c20 }), false, "not in the list");
});

test("all PCH ids are root ports of the list", () => {
  const devices = QUIRKS.pchRootPorts.flatMap((family) => family.devices);
  assert.equal(devices.length, 119);
  for (const device of devices) {
    assert.equal(isolates({ vendor: 0x8086, device, type: PortType.RootPort }), true);
  }
});

test("Sunrise Point ports keep their control bits in the dword at +8", () => {
  const port = { vendor: 0x8086, device: 0xa110, type: PortType.RootPort };
  const on = { capability: 0x3f, control: 0, egressVector: [0x1d] };
  assert.equal(isolates({ ...port, acs: on }), true);
  assert.equal(isolates({ ...port, acs: { ...on, egressVector: [0x0d] } }), false, "UF off");
  assert.equal(
    isolates({ ...port, acs: { ...ALL_ON, egressVector: [0] } }),
    false,
    "+6 is no control",
  );
  assert.equal(isolates(port), false, "without a capability it declines");
  for (const [first, last] of QUIRKS.sptRootPorts) {
    for (const device of [first, last]) assert.equal(isolates({ ...port, device, acs: on }), true);
    for (const device of [first - 1, last + 1]) {
      assert.equal(isolates({ ...port, device, acs: on }), false, device.toString(16));
    }
  }
});

test("Cavium ports by id range, then three endpoints by id", () => {
  const port = { vendor: 0x177d, type: PortType.RootPort };
  for (const device of [0xa000, 0xa7ff, 0xaf84, 0xb884]) assert.ok(isolates({ ...port, device }));
  for (const device of [0x9fff, 0xa800, 0xaf85]) assert.ok(!isolates({ ...port, device }));
  const endpoint = { vendor: 0x177d, type: PortType.Endpoint, multifunction: true };
  assert.ok(isolates({ ...endpoint, device: 0xa026 }));
  assert.ok(!isolates({ ...endpoint, device: 0xa027 }));
});

test("the Annapurna row is about root ports only", () => {
  const ids = { vendor: 0x1c36, device: 0x0031 };
  assert.ok(isolates({ ...ids, type: PortType.RootPort }));
  assert.ok(!isolates({ ...ids, type: PortType.Endpoint, multifunction: true }));
});

test("Zhaoxin: ports outside the ranges are denied even with working registers", () => {
  const port = { vendor: 0x1d17, type: PortType.RootPort };
  for (const device of [0x0710, 0x071e, 0x0721, 0x0723, 0x0752]) {
    assert.ok(isolates({ ...port, device }));
  }
  for (const device of [0x070f, 0x071f, 0x0722, 0x0753]) {
    const verdict = judge({ ...port, device, acs: ALL_ON });
    assert.deepEqual([verdict.isolated, verdict.because[0]?.kind], [false, "quirk-denies"]);
  }
  const endpoint = { vendor: 0x1d17, type: PortType.Endpoint, multifunction: true };
  assert.ok(isolates({ ...endpoint, device: 0x0722, acs: ALL_ON }), "not a port: registers");
  assert.ok(isolates({ ...endpoint, device: 0x3038 }), "a listed endpoint");
});

test("Wangxun: every function of the vendor is decided by its id", () => {
  for (const device of [0x0100, 0x010f, 0x1001, 0x2001, 0x5010, 0x5140]) {
    assert.ok(isolates({ vendor: 0x8088, device, type: PortType.Endpoint, multifunction: true }));
  }
  for (const device of [0x00ff, 0x0110, 0x1002]) {
    const acs = ALL_ON;
    assert.ok(!isolates({ vendor: 0x8088, device, type: PortType.Endpoint, acs }), "even alone");
  }
});

test("an ambiguous name is an answer only when all candidates agree", () => {
  const bdf = makeBdf(0, 0, 1, 0);
  const made = describeFunction({ bdf, type: PortType.Endpoint, multifunction: true });
  const named = (candidates: { vendor: number; device: number }[]) => {
    const bytes = made.config.bytes.slice();
    bytes.fill(0xff, 0, 2);
    const config = new ConfigSpace(bytes, 4096);
    const fn = buildFabric({ functions: [{ ...made, config, candidates }] }).function(bdf);
    assert.ok(fn !== undefined);
    return new AcsJudge(INTEL, "linux-7.2").verdict(fn);
  };
  const both = named([
    { vendor: 0x8086, device: 0x10c9 },
    { vendor: 0x8086, device: 0x1521 },
  ]);
  assert.deepEqual([both.isolated, both.missing], [true, []]);
  const one = named([
    { vendor: 0x8086, device: 0x10c9 },
    { vendor: 0x8086, device: 0x9999 },
  ]);
  assert.deepEqual([one.isolated, one.missing], [false, ["ids"]]);
  assert.deepEqual(
    one.because.map((e) => e.kind),
    ["acs-capability-missing", "quirk-not-tested"],
  );
  const none = named([
    { vendor: 0x10de, device: 0x0001 },
    { vendor: 0x10de, device: 0x0002 },
  ]);
  assert.deepEqual([none.isolated, none.missing], [false, []], "no candidate has a row");
  assert.deepEqual(named([]).missing, ["ids"]);
});

test("a vendor whose device has no listed name: rows about all its ids still apply", () => {
  const bdf = makeBdf(0, 0, 1, 0);
  const named = (type: PortType | undefined) => {
    const made = describeFunction({ bdf, type, multifunction: true });
    const config = new ConfigSpace(made.config.bytes.slice(), 4096);
    config.bytes.fill(0xff, 2, 4);
    const ids = { vendor: 0x8086 };
    const fn = buildFabric({ functions: [{ ...made, config, ids }] }).function(bdf);
    assert.ok(fn !== undefined);
    return new AcsJudge(INTEL, "linux-7.2").verdict(fn);
  };
  assert.equal(named(PortType.RcIntegratedEndpoint).isolated, true);
  assert.deepEqual([named(undefined).isolated, named(undefined).missing], [false, []]);
});
