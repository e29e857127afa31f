import assert from "node:assert/strict";
import { test } from "node:test";
import { bdf, endpoint, host, rootPort, slot, t2, t5 } from "../../test/support/topologies.js";
import { analyse } from "./analysis.js";
import type { HostFacts, IvmdRegion, RmrrRegion } from "./host-facts.js";
import type { RuleSet } from "./partition.js";
import { leavesDmaAlone } from "./viability.js";

const IN_USE: HostFacts = { iommuInUse: true, architecture: "x86" };

type Drivers = readonly (string | null | undefined)[];

/** A multi-function endpoint without ACS: one group with its root port's below. */
function group(drivers: Drivers, classCode = 0x020000) {
  return host(
    rootPort(
      slot(1),
      drivers.map((driver, fn) =>
        endpoint(slot(0, fn), { multifunction: true, driver, classCode }),
      ),
    ),
  );
}

function report(
  drivers: Drivers,
  facts = IN_USE,
  rules: RuleSet = "linux-7.2",
  classCode?: number,
) {
  const at = group(drivers, classCode);
  const found = analyse(at.fabric, facts, { rules }).deviceReport(bdf("01:00.0"));
  assert.ok(found);
  return found;
}

test("drivers that leave DMA to the owner do not block", () => {
  for (const driver of [
    "vfio-pci",
    "pci-stub",
    "pcieport",
    "mlx5_vfio_pci",
    "nvgrace-gpu-vfio-pci",
  ])
    assert.equal(leavesDmaAlone(driver), true, driver);
  for (const driver of ["nvme", "igb", "xhci_hcd", "vfiox", "shpchp", "snd_hda_intel"])
    assert.equal(leavesDmaAlone(driver), false, driver);
});

test("S3, S4: one kernel driver blocks the group, and is named", () => {
  const blocked = report(["vfio-pci", "e1000e", null]).viability;
  assert.equal(blocked.ok, false);
  assert.deepEqual(blocked.blockedBy, [{ device: bdf("01:00.1"), driver: "e1000e" }]);
  assert.equal(blocked.because[0]?.kind, "driver-blocks");
  assert.equal(report(["vfio-pci", "vfio-pci", null]).viability.ok, true);
});

test("an unknown driver leaves it open, a known bad one decides", () => {
  assert.equal(report(["vfio-pci", undefined]).viability.ok, null);
  assert.equal(report([undefined, "nvme"]).viability.ok, false);
});

test("the group is that of the rules asked for", () => {
  const at = t2();
  Object.assign(at.fn("04:00.0").description, { driver: "nvme" });
  const viable = (rules: RuleSet) =>
    analyse(at.fabric, IN_USE, { rules }).deviceReport(bdf("03:00.0"))?.viability.ok;
  assert.equal(viable("linux-7.2"), true);
  assert.equal(viable("device-centric"), false);
});

test("nobody can be given a function without a group", () => {
  const seen = analyse(t5().fabric, { iommuInUse: false }).deviceReport(bdf("01:00.0"));
  assert.equal(seen?.viability.ok, false);
  assert.equal(seen?.viability.because[0]?.kind, "iommu-inactive");
});

const SPAN = { first: 0x7c000000n, last: 0x7c00ffffn };

function withRmrr(path: RmrrRegion["scopes"][number]["path"]): HostFacts {
  const unit = { segment: 0, includeAll: true, registerBase: 0n, scopes: [] };
  const kind = path.length > 1 ? "endpoint" : "sub-hierarchy";
  const reserved = [{ segment: 0, span: SPAN, scopes: [{ kind, bus: 0, path } as const] }];
  const table = { addressWidth: 46, interruptRemapping: true, platformOptIn: false, ats: [] };
  return { ...IN_USE, dmar: { ...table, units: [unit], reserved } };
}

const PORT = { device: 1, fn: 0 };
const FIRST = { device: 0, fn: 0 };

test("S31: an RMRR refuses the device and its whole group", () => {
  const seen = report([null, null], withRmrr([PORT, { device: 0, fn: 1 }]));
  assert.deepEqual([seen.reserved.refused, seen.reserved.regions.length], [false, 0]);
  assert.equal(seen.viability.ok, false);
  const [why] = seen.viability.because;
  assert.deepEqual([why?.kind, why?.at], ["reserved-by-firmware", bdf("01:00.1")]);
  assert.deepEqual(why?.windows, [SPAN]);
});

test("USB and display functions are let go; a scope on a bridge holds for all below", () => {
  const of = (classCode: number) =>
    report([null], withRmrr([PORT, FIRST]), "linux-7.2", classCode).reserved;
  assert.equal(of(0x020000).refused, true);
  assert.equal(of(0x030000).refused, false);
  assert.equal(of(0x0c0330).refused, false);
  assert.equal(of(0x0c0330).because[0]?.kind, "reserved-relaxable");
  assert.equal(report([null], withRmrr([PORT])).reserved.refused, true);
});

test("AMD memory blocks count from 6.12 on; which devices they hold for", () => {
  const block = (part: Partial<IvmdRegion>): IvmdRegion => ({
    segment: 0,
    kind: "one",
    first: 0x100,
    last: 0x100,
    span: SPAN,
    unity: true,
    exclusion: false,
    ...part,
  });
  const unit = {
    segment: 0,
    iommu: bdf("00:00.2"),
    base: 0n,
    covered: [{ first: 0, last: 0xffff }],
    aliases: [],
  };
  const refused = (part: Partial<IvmdRegion>, rules: RuleSet = "linux-6.12") =>
    report([null], { ...IN_USE, ivrs: { units: [unit], memory: [block(part)] } }, rules).reserved
      .refused;
  assert.equal(refused({}), true);
  assert.equal(refused({}, "linux-6.1"), false);
  assert.equal(refused({ first: 0x101, last: 0x101 }), false);
  assert.equal(refused({ kind: "range", first: 0x80, last: 0x1ff }), true);
  assert.equal(refused({ kind: "all", first: 0, last: 0 }), true);
  assert.equal(refused({ unity: false, exclusion: true }), true);
  assert.equal(refused({ unity: false }), false);
  assert.equal(refused({ segment: 1 }), false);
});

test("without a firmware table nobody can tell", () => {
  assert.equal(report([null]).reserved.refused, null);
});
