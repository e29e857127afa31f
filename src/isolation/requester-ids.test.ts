import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import {
  bdf,
  conventional,
  conventionalBridge,
  endpoint,
  host,
  hostOf,
  port,
  rootPort,
  slot,
  type TestHost,
  t1,
  t4,
  t6,
} from "../../test/support/topologies.js";
import { type PciFunction, PortType } from "../pcie/index.js";
import { formatRid } from "../units/index.js";
import type { HostFacts } from "./host-facts.js";
import type { LinuxRuleSet } from "./partition.js";
import { aliasKnowledge, RequesterIds } from "./requester-ids.js";

const SEED = 7;

function idsOf(at: TestHost, address: string, facts: HostFacts = {}, rules?: LinuxRuleSet) {
  const ids = new RequesterIds(facts, aliasKnowledge(at.fabric, rules ?? "linux-7.2"));
  return ids.of(at.fn(address));
}

const numbers = (set: ReturnType<typeof idsOf>) => set.ids.map((id) => formatRid(id.rid));

test("a function below PCI Express ports sends as itself alone", () => {
  assert.deepEqual(numbers(idsOf(t1(), "01:00.0")), ["01:00.0"]);
});

test("a PCIe-to-PCI bridge sends as 00.0 of its secondary bus (bridge 1.0 § 2.3)", () => {
  const set = idsOf(t4(), "02:01.0");
  assert.deepEqual(numbers(set), ["02:01.0", "02:00.0"]);
  assert.equal(set.ids[0]?.because, undefined);
  assert.equal(set.ids[1]?.because?.kind, "alias-bridge");
  // The bridge itself keeps its own number.
  assert.deepEqual(numbers(idsOf(t4(), "01:00.0")), ["01:00.0"]);
});

test("conventional bridges and PCI-to-PCIe bridges send as themselves, each on the way", () => {
  const chain = host(
    conventionalBridge(slot(3), [
      conventionalBridge(slot(1), [
        port(PortType.PciToPcieBridge, slot(2), [endpoint(0)]),
        conventional(slot(5)),
      ]),
    ]),
  );
  assert.deepEqual(numbers(idsOf(chain, "02:05.0")), ["02:05.0", "01:01.0", "00:03.0"]);
  assert.deepEqual(numbers(idsOf(chain, "03:00.0")), ["03:00.0", "02:02.0", "01:01.0", "00:03.0"]);
});

test("quirk aliases need no function at the number", () => {
  const alone = host(rootPort(slot(1), [endpoint(0, { vendor: 0x1b4b, device: 0x9235 })]));
  const set = idsOf(alone, "01:00.0");
  assert.deepEqual(numbers(set), ["01:00.0", "01:00.1"]);
  assert.equal(set.ids[1]?.because?.quirk, "aliasFunction1");
  assert.deepEqual(numbers(idsOf(t6(), "01:00.1")), ["01:00.1"]);
});

test("aliasAll256 covers the bus, each number once", () => {
  const at = host(rootPort(slot(1), [endpoint(0, { vendor: 0x10b5, device: 0x87b0 })]));
  const set = idsOf(at, "01:00.0");
  assert.equal(set.ids.length, 256);
  assert.equal(new Set(numbers(set)).size, 256);
  assert.equal(set.ids[255]?.because?.kind, "alias-quirk");
});

test("the AST1150 bridge is an alias before 7.2 and none from 7.2 on", () => {
  const at = host(
    rootPort(slot(1), [
      port(PortType.PcieToPciBridge, 0, [conventional(slot(1))], {
        vendor: 0x1a03,
        device: 0x1150,
      }),
    ]),
  );
  assert.deepEqual(numbers(idsOf(at, "02:01.0", {}, "linux-6.12")), ["02:01.0", "02:00.0"]);
  assert.deepEqual(numbers(idsOf(at, "02:01.0", {}, "linux-7.2")), ["02:01.0"]);
});

test("the walk ends below a bridge with the IOMMU underneath", () => {
  const at = host(
    conventionalBridge(slot(1), [
      conventionalBridge(slot(2), [conventional(slot(3))], { vendor: 0x14e4, device: 0x9000 }),
    ]),
  );
  assert.deepEqual(numbers(idsOf(at, "02:03.0")), ["02:03.0"]);
});

function phantom(bits: number, enabled: boolean | undefined, others: readonly number[] = []) {
  const functions = [
    endpoint(slot(0, 0), { phantomBits: bits, multifunction: others.length > 0 }),
    ...others.map((fn) => endpoint(slot(0, fn))),
  ];
  const at = host(rootPort(slot(1), functions));
  const { express } = at.fn("01:00.0");
  assert.ok(express);
  Object.assign(express, { phantomEnabled: enabled });
  return idsOf(at, "01:00.0");
}

test("phantom functions: unclaimed numbers, only when switched on (PCIe 6 § 2.2.6.2)", () => {
  assert.deepEqual(numbers(phantom(1, true)), ["01:00.0", "01:00.4"]);
  assert.deepEqual(numbers(phantom(2, true)), ["01:00.0", "01:00.2", "01:00.4", "01:00.6"]);
  assert.equal(phantom(3, true).ids.length, 8);
  assert.deepEqual(numbers(phantom(2, true, [4])), ["01:00.0", "01:00.2", "01:00.6"]);
  assert.deepEqual(numbers(phantom(3, false)), ["01:00.0"]);
  const open = phantom(3, undefined);
  assert.deepEqual(numbers(open), ["01:00.0"]);
  assert.equal(open.unknown[0]?.kind, "alias-phantom");
});

test("functions of a VMD domain send as the VMD and as nothing else", () => {
  const at = hostOf([
    {
      bdf: bdf("00:1d.0"),
      type: PortType.RcIntegratedEndpoint,
      vendor: 0x8086,
      device: 0x9a0b,
    },
    { bdf: bdf("10000:00:00.0"), type: PortType.RootPort, buses: [0, 1, 1] },
    { bdf: bdf("10000:01:00.0"), type: PortType.Endpoint },
  ]);
  const set = idsOf(at, "10000:01:00.0");
  assert.deepEqual(numbers(set), ["00:1d.0"]);
  assert.equal(set.ids[0]?.segment, 0);
  assert.equal(set.ids[0]?.because?.kind, "alias-vmd");
});

test("IVRS alias entries add the number, also on another bus; the last entry wins", () => {
  const at = host(rootPort(slot(1), [endpoint(0)]));
  const unit = {
    segment: 0,
    iommu: at.fn("00:01.0").bdf,
    base: 0n,
    covered: [],
    aliases: [
      { first: 0x100, last: 0x1ff, alias: 0x0a },
      { first: 0x100, last: 0x100, alias: 0x0b },
      { first: 0x101, last: 0xffff, alias: 0x0c },
    ],
  };
  const set = idsOf(at, "01:00.0", { ivrs: { units: [unit], memory: [] } });
  assert.deepEqual(numbers(set), ["01:00.0", "00:01.3"]);
  assert.equal(set.ids[1]?.because?.detail, "IVRS");
});

test("a bridge of unknown kind leaves more numbers possible", () => {
  const at = host(rootPort(slot(1), [endpoint(0)]));
  const blind = at.fn("00:01.0");
  Object.assign(blind, { express: undefined });
  const set = idsOf(at, "01:00.0");
  assert.deepEqual(numbers(set), ["01:00.0"]);
  assert.deepEqual(
    set.unknown.map((e) => e.kind),
    ["alias-unknown"],
  );
});

/** The walk written down again, by recursion on what each bridge says of itself. */
function naive(fn: PciFunction): number[] {
  const above = (at: PciFunction): number[] => {
    const bridge = at.bus.bridge;
    if (bridge === undefined) return [];
    const type = bridge.express === null ? "pci" : bridge.portType;
    const secondary = bridge.secondaryBusNumber ?? 0;
    const own = type === 7 ? [secondary << 8] : type === 8 || type === "pci" ? [bridge.rid] : [];
    return [...own, ...above(bridge)];
  };
  return [...new Set<number>([fn.rid, ...above(fn)])];
}

test(`on random fabrics the sets are those of a naive walk (seed ${SEED})`, () => {
  let longest = 0;
  for (const specs of sampleFabrics(SEED, 300, { segments: false })) {
    const at = hostOf(specs);
    const ids = new RequesterIds({}, aliasKnowledge(at.fabric, "linux-7.2"));
    for (const fn of at.fabric.functions) {
      const set = ids.of(fn);
      const got = set.ids.filter((id) => id.because?.kind !== "alias-phantom").map((id) => id.rid);
      assert.deepEqual(got, naive(fn));
      longest = Math.max(longest, got.length);
    }
  }
  assert.ok(longest >= 3, `longest ${longest}`);
});
