import assert from "node:assert/strict";
import { test } from "node:test";
import { bootedSamples } from "../../test/support/groundtruth.js";
import { checkAnalysis } from "../../test/support/isolation-properties.js";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import { skipWithoutShared } from "../../test/support/shared.js";
import {
  ACS_ON,
  bdf,
  downstream,
  endpoint,
  host,
  hostOf,
  names,
  rootPort,
  slot,
  switchBelow,
  type TestHost,
  t1,
  t2,
  t2m,
  t3,
  t4,
  t5,
  t7,
  t9,
} from "../../test/support/topologies.js";
import { buildFabric } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { analyse } from "./analysis.js";
import type { HostFacts } from "./host-facts.js";
import { isEdgeJoin } from "./isolation-group.js";
import { joinPath, type Partition } from "./partition.js";
import type { Analysis } from "./report-types.js";

const SEED = 23;
const IN_USE: HostFacts = { iommuInUse: true, architecture: "x86" };

function look(at: TestHost, facts = IN_USE, strict = false): Analysis {
  return analyse(at.fabric, facts, { rules: "device-centric", strict });
}

const together = (p: Partition, a: string, b: string) =>
  p.groupOf.get(bdf(a)) === p.groupOf.get(bdf(b));

test("T1: one endpoint behind a port with ACS is alone", () => {
  const { deviceCentric, enlargements } = look(t1());
  assert.deepEqual(deviceCentric.groups.map(names), [["00:01.0"], ["01:00.0"]]);
  assert.deepEqual(enlargements, []);
});

test("T2, S34: ports in different slots of a switch without ACS make one group", () => {
  const at = look(t2());
  assert.equal(together(at.linuxUnder("linux-7.2"), "03:00.0", "04:00.0"), false);
  assert.equal(together(at.deviceCentric, "03:00.0", "04:00.0"), true);
  const [enlargement, none] = at.enlargements;
  assert.equal(none, undefined);
  assert.equal(enlargement?.linuxGroups.length, 2);
  assert.deepEqual(
    enlargement?.because.map((e) => e.kind),
    ["switch-routes-peer", "acs-capability-missing"],
  );
  assert.deepEqual(names([enlargement?.because[0]?.at ?? bdf("ff:00.0")]), ["02:00.0"]);
});

test("T2: the explanation passes over both switch ports", () => {
  const path = joinPath(look(t2()).deviceCentric, bdf("03:00.0"), bdf("04:00.0")) ?? [];
  const passed = new Set(names(path.flatMap((j) => [j.a, j.b])));
  assert.deepEqual([...passed].sort(), ["02:00.0", "02:01.0", "03:00.0", "04:00.0"]);
  const kinds = path.flatMap((j) => j.because.map((e) => e.kind));
  assert.ok(kinds.includes("switch-routes-peer"));
});

test("T2: the proof is a request that reaches the other's BAR and no translation agent", () => {
  const at = look(t2());
  const join = at.enlargements[0]?.joins.find(isEdgeJoin);
  assert.ok(join);
  const proof = at.proofOf(join);
  assert.ok(proof);
  assert.deepEqual(names([proof.from.bdf, proof.to.bdf]), ["03:00.0", "04:00.0"]);
  const bar = proof.to.bars?.[0]?.base;
  assert.equal(proof.address, bar);
  assert.equal(proof.route.result.kind, "peer");
  // A join that no edge made has no proof.
  assert.equal(at.proofOf({ a: join.a, b: join.b, because: [] }), undefined);
});

test("T2m: ports in one slot are one group for Linux already", () => {
  const at = look(t2m());
  assert.equal(together(at.linuxUnder("linux-7.2"), "03:00.0", "04:00.0"), true);
  assert.equal(together(at.deviceCentric, "03:00.0", "04:00.0"), true);
  assert.deepEqual(at.enlargements, []);
});

test("T3: with ACS on they are apart", () => {
  assert.equal(together(look(t3()).deviceCentric, "03:00.0", "04:00.0"), false);
});

test("T4, T5, T7, T9: groups as Linux makes them", () => {
  assert.equal(together(look(t4()).deviceCentric, "02:00.0", "02:01.0"), true);
  assert.equal(together(look(t5()).deviceCentric, "01:00.0", "01:00.1"), true);
  const seven = look(t7()).deviceCentric;
  assert.ok(together(seven, "01:00.0", "01:00.1") && together(seven, "01:00.0", "01:00.2"));
  const nine = look(t9());
  assert.ok(together(nine.deviceCentric, "01:00.0", "01:00.1"));
  assert.ok(together(nine.linuxUnder("linux-7.2"), "01:00.0", "01:00.1"));
  for (const at of [t4(), t5(), t7(), t9()]) assert.deepEqual(look(at).enlargements, []);
});

test("T10: an IOMMU without requester matching makes one group of all", () => {
  const at = look(t3(), { ...IN_USE, requesterMatching: false });
  assert.equal(at.deviceCentric.groups.length, 1);
  assert.ok(at.enlargements[0]?.because.some((e) => e.kind === "iommu-unmatched"));
});

test("a port with ACS is joined too when its neighbour without ACS reaches into it", () => {
  const at = host(
    rootPort(slot(1), [
      switchBelow([
        downstream(slot(0), [endpoint(0)], { acs: ACS_ON }),
        downstream(slot(1), [endpoint(0)]),
      ]),
    ]),
  );
  const seen = look(at);
  assert.equal(together(seen.linuxUnder("linux-7.2"), "03:00.0", "02:00.0"), false);
  const group = seen.deviceCentric.groupOf.get(bdf("03:00.0"));
  assert.deepEqual(names(seen.deviceCentric.groups[group ?? -1] ?? []), [
    "02:00.0",
    "02:01.0",
    "03:00.0",
    "04:00.0",
  ]);
  assert.ok(seen.enlargements[0]?.joins.some((j) => j.because[0]?.kind === "below-port"));
});

test("strict adds what is optional in a root complex", () => {
  const at = host(rootPort(slot(1), [endpoint(0)], {}), rootPort(slot(2), [endpoint(0)], {}));
  assert.equal(together(look(at).deviceCentric, "01:00.0", "02:00.0"), false);
  const strict = look(at, IN_USE, true);
  assert.equal(together(strict.deviceCentric, "01:00.0", "02:00.0"), true);
  assert.equal(strict.enlargements[0]?.because[0]?.kind, "root-complex-routes-peer");
});

test("functions outside every IOMMU's scope have no group, yet are named as outsiders", () => {
  const at = t2();
  const scope = (device: number) => ({
    kind: "endpoint" as const,
    bus: 0,
    path: [
      { device: 1, fn: 0 },
      { device: 0, fn: 0 },
      { device, fn: 0 },
      { device: 0, fn: 0 },
    ],
  });
  const unit = { segment: 0, includeAll: false, registerBase: 0n, scopes: [scope(0)] };
  const table = { addressWidth: 46, interruptRemapping: true, platformOptIn: false };
  const dmar = { ...table, units: [unit], reserved: [], ats: [] };
  const seen = look(at, { ...IN_USE, dmar });
  assert.deepEqual(seen.deviceCentric.groups.map(names), [["03:00.0"]]);
  assert.ok(seen.deviceCentric.ungrouped.some((u) => u.device === bdf("04:00.0")));
  assert.deepEqual(names(seen.outsiders.get(0) ?? []), ["02:00.0", "02:01.0", "04:00.0"]);
});

test("a path between two functions passes over ports without a group", () => {
  const at = t2();
  const ports = [bdf("02:00.0"), bdf("02:01.0")];
  const ends = [bdf("03:00.0"), bdf("04:00.0")];
  const full = look(at).deviceCentric;
  const groupOf = new Map(ends.map((e) => [e, 0]));
  const path = joinPath({ ...full, groupOf }, ends[0] as Bdf, ends[1] as Bdf) ?? [];
  assert.ok(path.some((j) => ports.includes(j.a) && ports.includes(j.b)));
});

test("without an IOMMU in use there are no groups", () => {
  const seen = look(t2(), { iommuInUse: false });
  assert.deepEqual(seen.deviceCentric.groups, []);
  assert.equal(seen.deviceCentric.ungrouped.length, t2().fabric.functions.length);
});

for (const strict of [false, true]) {
  test(`random fabrics: components by brute force, strict ${strict} (seed ${SEED})`, () => {
    let enlarged = 0;
    for (const specs of sampleFabrics(SEED, 100, { maxBuses: 12 })) {
      const seen = look(hostOf(specs), IN_USE, strict);
      checkAnalysis(seen);
      enlarged += seen.enlargements.length;
    }
    assert.ok(enlarged > 20, `${enlarged} enlargements`);
  });
}

test("booted machines: each enlargement is shown by a request", {
  skip: skipWithoutShared(),
}, () => {
  let shown = 0;
  for (const sample of bootedSamples()) {
    const fabric = buildFabric({ functions: sample.functions });
    const seen = analyse(fabric, sample.facts, { rules: "device-centric" });
    for (const { joins } of seen.enlargements) {
      const proofs = joins.map((j) => seen.proofOf(j)).filter((p) => p !== undefined);
      assert.ok(proofs.length > 0, sample.name);
      for (const proof of proofs) {
        const { result } = proof.route;
        assert.ok(result.kind === "peer" && result.function === proof.to && !result.byAgent);
        shown++;
      }
    }
  }
  assert.ok(shown >= 10, `${shown} shown`);
});

test("sample 17: the kernel separates what the switch joins", { skip: skipWithoutShared() }, () => {
  const sample = bootedSamples().find((s) => s.name === "17-switch-noacs");
  assert.ok(sample);
  const seen = analyse(buildFabric({ functions: sample.functions }), sample.facts, {
    rules: "device-centric",
  });
  const recorded = sample.recorded.filter((g) => g.some((m) => m >= bdf("02:00.0")));
  assert.deepEqual(recorded.map(names), [
    ["02:00.0", "03:00.0"],
    ["02:01.0", "04:00.0"],
    ["02:02.0", "05:00.0"],
  ]);
  const group = seen.deviceCentric.groupOf.get(bdf("03:00.0")) ?? -1;
  assert.deepEqual(
    seen.deviceCentric.groups[group],
    recorded.flat().sort((a, b) => a - b),
  );
});
