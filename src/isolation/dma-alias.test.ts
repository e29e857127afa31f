import assert from "node:assert/strict";
import { test } from "node:test";
import { buildFabric, describeFunction, type FunctionSpec, PortType } from "../pcie/index.js";
import { makeBdf, parseBdf } from "../units/index.js";
import { bridgeAlias, dmaAliasOf } from "./dma-alias.js";
import type { IvrsTable } from "./host-facts.js";
import { linuxGroups } from "./linux-groups.js";
import { QUIRKS } from "./quirks.js";
import { LINUX_RULE_SETS } from "./rules/index.js";

const at = (text: string) => parseBdf(text) ?? makeBdf(0, 0, 0, 0);

function aliasOf(spec: FunctionSpec, rules = "linux-7.2" as const, ivrs?: IvrsTable) {
  const fn = buildFabric({ functions: [describeFunction(spec)] }).functions[0];
  assert.ok(fn !== undefined);
  return dmaAliasOf(fn, rules, ivrs);
}

const devFns = (spec: FunctionSpec) => [...aliasOf(spec).devFns] as number[];
const hexOf = (device: number, fn: number) => device * 8 + fn;

test("aliasFunction0: function 0 of its own slot, nothing for function 0 itself", () => {
  const ids = { vendor: 0x1180, device: 0xe832 };
  assert.deepEqual(devFns({ ...ids, bdf: at("02:03.2") }), [hexOf(3, 0)]);
  assert.deepEqual(devFns({ ...ids, bdf: at("02:03.0") }), []);
  for (const id of QUIRKS.aliases.find((r) => r.rule === "aliasFunction0")?.ids ?? []) {
    const row = { vendor: Math.floor(id / 65536), device: id & 0xffff };
    assert.deepEqual(devFns({ ...row, bdf: at("02:00.4") }), [0]);
  }
});

test("aliasFunction1: function 1 of its own slot, visible or not", () => {
  for (const id of QUIRKS.aliases.find((r) => r.rule === "aliasFunction1")?.ids ?? []) {
    const row = { vendor: Math.floor(id / 65536), device: id & 0xffff };
    assert.deepEqual(devFns({ ...row, bdf: at("02:03.0") }), [hexOf(3, 1)]);
    assert.deepEqual(devFns({ ...row, bdf: at("02:03.1") }), []);
  }
});

test("aliasFixedDevfns: by id, some only with their sub-ids", () => {
  const mic = { vendor: 0x8086, device: 0x2260, bdf: at("05:00.0") };
  assert.deepEqual(devFns(mic), [hexOf(0x10, 0), hexOf(0x11, 0), hexOf(0x12, 3)]);
  const adaptec = { vendor: 0x9005, device: 0x0285, subVendor: 0x9005, bdf: at("05:0e.0") };
  assert.deepEqual(devFns({ ...adaptec, subDevice: 0x02bb }), [hexOf(1, 0)]);
  assert.deepEqual(devFns({ ...adaptec, subDevice: 0x02bc }), [hexOf(1, 0)]);
  assert.deepEqual(devFns({ ...adaptec, subDevice: 0x02bd }), []);
});

test("aliasEverySlotFunctions0To4: 160 numbers, its own left out", () => {
  const numbers = devFns({ vendor: 0x8086, device: 0x2954, bdf: at("05:00.0") });
  assert.equal(numbers.length, 159);
  assert.ok(numbers.every((n) => (n & 7) <= 4));
});

test("aliasAll256: every number of the bus", () => {
  assert.equal(devFns({ vendor: 0x10b5, device: 0x87b0, bdf: at("05:00.0") }).length, 255);
});

test("switchtecProxyIds: unknown numbers, only for the bridge class 0680", () => {
  for (const row of QUIRKS.aliases.filter((r) => r.rule === "switchtecProxyIds")) {
    for (const id of row.ids) {
      const spec = { vendor: Math.floor(id / 65536), device: id & 0xffff, bdf: at("05:00.1") };
      const rules = (row.series?.[0] ?? "linux-7.2") as "linux-7.2";
      const alias = aliasOf({ ...spec, classCode: 0x068000 }, rules);
      assert.deepEqual([alias.unknown, alias.missing], [true, ["config"]]);
      assert.equal(aliasOf({ ...spec, classCode: 0x058000 }, rules).unknown, false);
    }
  }
  const pci1008 = { vendor: 0x1055, device: 0x1008, classCode: 0x068000, bdf: at("05:00.1") };
  assert.equal(aliasOf(pci1008).unknown, false, "in 6.12 only");
});

test("an IVRS alias counts when it lies on the function's own bus", () => {
  const spec = { vendor: 0x10ec, device: 0x8139, bdf: at("01:05.0") };
  const table = (alias: number): IvrsTable => ({
    memory: [],
    units: [
      {
        segment: 0,
        iommu: at("00:00.2"),
        base: 0n,
        covered: [],
        aliases: [{ first: 0x0100, last: 0x01ff, alias }],
      },
    ],
  });
  const same = aliasOf(spec, "linux-7.2", table(0x0110));
  assert.deepEqual([...same.devFns], [0x10]);
  assert.equal(same.because[0]?.kind, "alias-firmware");
  assert.equal(same.because[0]?.rid, 0x0110);
  assert.deepEqual([...aliasOf(spec, "linux-7.2", table(0x00a4)).devFns], []);
});

test("an unidentified function may have aliases, an ambiguous one if a candidate has", () => {
  const made = describeFunction({ bdf: at("05:00.2"), vendor: 0xffff, device: 1 });
  const ask = (candidates: { vendor: number; device: number }[] | undefined) => {
    const fn = buildFabric({ functions: [{ ...made, candidates }] }).functions[0];
    assert.ok(fn !== undefined);
    return dmaAliasOf(fn, "linux-7.2");
  };
  assert.deepEqual([ask(undefined).unknown, ask(undefined).missing], [true, ["ids"]]);
  const ricoh = { vendor: 0x1180, device: 0xe832 };
  assert.deepEqual([...ask([ricoh, { vendor: 0x1180, device: 0xe476 }]).devFns], [0]);
  const open = ask([ricoh, { vendor: 0x1180, device: 0x0001 }]);
  assert.deepEqual([open.unknown, open.because[0]?.kind], [true, "quirk-not-tested"]);
  assert.equal(
    ask([
      { vendor: 0x10de, device: 1 },
      { vendor: 0x10de, device: 2 },
    ]).unknown,
    false,
  );
});

/** A root port, the bridge below it, and a device behind that. */
function behind(bridge: Omit<FunctionSpec, "bdf">) {
  const acs = { capability: 0x1f, control: 0x1f };
  const port = { bdf: at("00:01.0"), type: PortType.RootPort, buses: [0, 1, 2] as const, acs };
  const fabric = buildFabric({
    functions: [
      describeFunction({ ...port, vendor: 0x1b36, device: 0x000c }),
      describeFunction({ bridge: true, ...bridge, bdf: at("01:00.0"), buses: [1, 2, 2] as const }),
      describeFunction({ bdf: at("02:03.0"), vendor: 0x10ec, device: 0x8139 }),
      describeFunction({ bdf: at("02:04.0"), vendor: 0x10ec, device: 0x8139 }),
    ],
  });
  const fn = fabric.function(at("01:00.0"));
  assert.ok(fn !== undefined);
  return { fabric, fn };
}

test("bridges: what becomes of requester IDs from below", () => {
  const plain = { vendor: 0x1b36, device: 0x0001 };
  const effect = (bridge: Omit<FunctionSpec, "bdf">, rules = LINUX_RULE_SETS[2] ?? "linux-7.2") =>
    bridgeAlias(behind(bridge).fn, rules);
  assert.equal(effect({ ...plain, type: PortType.PcieToPciBridge }), "secondary");
  assert.equal(effect({ ...plain, type: PortType.PciToPcieBridge }), "own");
  assert.equal(effect({ ...plain, type: PortType.UpstreamPort }), "pass");
  assert.equal(effect(plain), "own");
  for (const row of QUIRKS.aliases.filter((r) => r.rule === "bridgeActsAsPcieToPci")) {
    for (const id of row.ids) {
      assert.equal(effect({ vendor: Math.floor(id / 65536), device: id & 0xffff }), "secondary");
    }
  }
  for (const device of [0x9000, 0x9084]) assert.equal(effect({ vendor: 0x14e4, device }), "end");
  const aspeed = { vendor: 0x1a03, device: 0x1150, type: PortType.PcieToPciBridge };
  assert.equal(effect(aspeed, "linux-6.12"), "secondary");
  assert.equal(effect(aspeed, "linux-7.2"), "pass");
});

test("all behind the ASPEED bridge shares its group with and without the alias", () => {
  const { fabric } = behind({ vendor: 0x1a03, device: 0x1150, type: PortType.PcieToPciBridge });
  for (const rules of LINUX_RULE_SETS) {
    const made = linuxGroups(fabric, {}, rules);
    assert.deepEqual(
      made.groups.map((g) => g.length),
      [1, 3],
    );
    const kinds = made.joins.map((join) => join.because[0]?.kind);
    const expected = rules === "linux-7.2" ? "path-not-isolated" : "alias-bridge";
    assert.deepEqual(kinds, [expected, expected]);
  }
});

test("the alias walk ends below a translation root", () => {
  // A conventional bridge that would alias, but the IOMMU sits below it; then only the path joins.
  const { fabric } = behind({ vendor: 0x14e4, device: 0x9000 });
  const made = linuxGroups(fabric, {}, "linux-6.12");
  assert.ok(made.joins.every((join) => join.because[0]?.kind === "path-not-isolated"));
});
