import assert from "node:assert/strict";
import { test } from "node:test";
import { syntheticHost } from "../../test/support/synthetic-host.js";
import {
  bdf,
  conventional,
  conventionalBridge,
  endpoint,
  host,
  names,
  port,
  rootPort,
  slot,
  t2,
  t3,
  t4,
  t7,
} from "../../test/support/topologies.js";
import { buildFabric, ConfigSpace, PortType } from "../pcie/index.js";
import { analyse } from "./analysis.js";
import type { HostFacts } from "./host-facts.js";
import { iommuChecklist } from "./iommu-checklist.js";
import type { DeviceReport } from "./report-types.js";

const IN_USE: HostFacts = { iommuInUse: true, architecture: "x86" };

test("R3: who must share, with whom and why", () => {
  const report = analyse(t4().fabric, IN_USE).deviceReport(bdf("02:01.0"));
  assert.equal(report?.mustShare.value, true);
  assert.deepEqual(names(report?.mustShare.with ?? []), ["02:00.0"]);
  assert.deepEqual(
    report?.mustShare.because.map((e) => [e.kind, e.at]),
    [["alias-bridge", bdf("01:00.0")]],
  );
});

test("S8, S18: lack of isolation is no reason to share", () => {
  const seen = analyse(t7().fabric, IN_USE);
  const share = (address: string) => seen.deviceReport(bdf(address))?.mustShare.value;
  assert.deepEqual([share("01:00.0"), share("01:00.1"), share("01:00.2")], [true, true, false]);
  const two = analyse(t2().fabric, IN_USE, { rules: "device-centric" });
  assert.equal(two.deviceReport(bdf("03:00.0"))?.mustShare.value, false);
});

test("a bridge is nobody to share an address space with", () => {
  const at = host(conventionalBridge(slot(3), [conventional(slot(1))]));
  const seen = analyse(at.fabric, IN_USE);
  const report = seen.deviceReport(bdf("01:01.0"));
  assert.equal(report?.mustShare.value, false);
  assert.equal(report?.aliasSet, seen.deviceReport(bdf("00:03.0"))?.aliasSet);
});

test("peers that are reached untranslated, and their windows", () => {
  const seen = analyse(t2().fabric, IN_USE);
  const reach = seen.deviceReport(bdf("03:00.0"))?.reaches.find((r) => r.certainty === "certain");
  assert.deepEqual([reach?.device, reach?.via], [bdf("04:00.0"), "switch"]);
  const bar = seen.fabric.function(bdf("04:00.0"))?.bars?.[0];
  assert.equal(reach?.windows[0]?.first, bar?.base);
  const isolated = analyse(t3().fabric, IN_USE).deviceReport(bdf("03:00.0"));
  assert.deepEqual(isolated?.reaches, []);
});

test("rules choose the groups; requester IDs follow them; the device-centric groups do not", () => {
  const bridge = { vendor: 0x1a03, device: 0x1150 };
  const below = [conventional(slot(1)), conventional(slot(2))];
  const at = host(rootPort(slot(1), [port(PortType.PcieToPciBridge, 0, below, bridge)]));
  const under = (rules: "linux-6.12" | "linux-7.2" | "device-centric") =>
    analyse(at.fabric, IN_USE, { rules });
  assert.equal(under("linux-6.12").deviceReport(bdf("02:01.0"))?.mustShare.value, true);
  assert.equal(under("linux-7.2").deviceReport(bdf("02:01.0"))?.mustShare.value, false);
  assert.equal(under("device-centric").linuxRules, "linux-7.2");
  assert.deepEqual(
    under("linux-6.12").deviceCentric.groups,
    under("linux-7.2").deviceCentric.groups,
  );
  assert.equal(under("linux-6.12").partition.rules, "linux-6.12");
});

test("external-facing ports and what is behind them", () => {
  const at = host(
    rootPort(slot(1), [port(PortType.UpstreamPort, 0, [port(6, slot(1), [endpoint(0)])])], {
      externalFacing: true,
    }),
  );
  const seen = analyse(at.fabric, IN_USE);
  assert.equal(seen.deviceReport(bdf("00:01.0"))?.exposure.externalFacing, true);
  // The discrete controller's own switch is inside the case; what follows it is not.
  assert.equal(seen.deviceReport(bdf("01:00.0"))?.exposure.untrusted, false);
  const deep = host(
    rootPort(
      slot(1),
      [
        port(PortType.UpstreamPort, 0, [
          port(6, slot(1), [port(PortType.UpstreamPort, 0, [port(6, 0, [endpoint(0)])])]),
        ]),
      ],
      { externalFacing: true },
    ),
  );
  const inside = analyse(deep.fabric, IN_USE).deviceReport(bdf("05:00.0"));
  assert.equal(inside?.exposure.untrusted, true);
  assert.equal(inside?.exposure.because[0]?.with, bdf("00:01.0"));
  assert.equal(inside?.ats.ok, false);
});

test("what the capture does not show is listed once per device", () => {
  const header = new Uint8Array(64);
  header[0x0e] = 1;
  const seen = analyse(
    buildFabric({
      functions: [
        { bdf: bdf("00:01.0"), config: ConfigSpace.fromDump(header) },
        ...host(
          endpoint(slot(2), { bars: [{ index: 0, kind: "memory32", size: 4096n, base: null }] }),
        ).fabric.functions.map((f) => f.description),
      ],
    }),
    IN_USE,
  );
  const missing = new Map(seen.unknown.map((u) => [u.device, u.missing]));
  assert.ok(missing.get(bdf("00:01.0"))?.includes("config"));
  assert.deepEqual(missing.get(bdf("00:02.0")), ["windows"]);
  assert.deepEqual(seen.deviceReport(bdf("00:02.0"))?.missing, ["windows"]);
});

test("a function that is not there has no report", () => {
  const seen = analyse(t2().fabric, IN_USE);
  assert.equal(seen.deviceReport(bdf("77:00.0")), undefined);
  assert.equal(seen.requesterIds(bdf("77:00.0")), undefined);
});

test("a report is plain data once read", () => {
  const report = analyse(t2().fabric, IN_USE).deviceReport(bdf("03:00.0")) as DeviceReport;
  const text = JSON.stringify(report, (_, v) => (typeof v === "bigint" ? String(v) : v));
  for (const part of ["mustShare", "viability", "reaches", "switch"])
    assert.ok(text.includes(part));
});

test("a large host: every device has a report, in the fabric's order", () => {
  const fabric = buildFabric({ functions: syntheticHost(2000) });
  const seen = analyse(fabric, IN_USE, { rules: "device-centric" });
  const devices = [...seen.deviceReports()].map((r) => r.device);
  assert.deepEqual(
    devices,
    fabric.functions.map((f) => f.bdf),
  );
});

test("the checklist of a host without groups names what is in the way", () => {
  const { fabric } = t2();
  const unit = { segment: 0, includeAll: true, registerBase: 0n, scopes: [] };
  const table = { addressWidth: 46, interruptRemapping: true, platformOptIn: false };
  const dmar = { ...table, units: [unit], reserved: [], ats: [] };
  const states = (facts: HostFacts) =>
    Object.fromEntries(iommuChecklist(fabric, facts).map((c) => [c.check, c.state]));
  assert.deepEqual(states({}), { table: "unknown", options: "unknown", "in-use": "unknown" });
  assert.deepEqual(states({ dmar, commandLine: "quiet iommu=off", iommuInUse: false }), {
    table: "good",
    units: "good",
    options: "bad",
    scope: "good",
    "in-use": "bad",
  });
  assert.equal(states({ dmar, commandLine: "intel_iommu=on" })["options"], "good");
  assert.equal(states({ dmar, commandLine: "quiet" })["options"], "unknown");
  const empty = states({ dmar: { ...dmar, units: [] } });
  assert.deepEqual([empty["units"], empty["scope"]], ["bad", "bad"]);
});
