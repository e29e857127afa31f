import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ACS_ON,
  bdf,
  endpoint,
  host,
  rootPort,
  slot,
  type TestHost,
  t1,
  t4,
} from "../../test/support/topologies.js";
import { Acs } from "../pcie/index.js";
import { analyse } from "./analysis.js";
import { hasPciOption } from "./ats-eligibility.js";
import type { AtsrScope, HostFacts } from "./host-facts.js";
import type { RuleSet } from "./partition.js";
import type { Eligibility } from "./report-types.js";

const IN_USE: HostFacts = { iommuInUse: true, architecture: "x86" };
const FULL = (1n << 2n) | (1n << 29n) | (1n << 40n) | (1n << 43n) | (1n << 47n) | (19n << 35n);

function report(at: TestHost, address: string, facts = IN_USE, rules: RuleSet = "linux-7.2") {
  const found = analyse(at.fabric, facts, { rules }).deviceReport(bdf(address));
  assert.ok(found);
  return found;
}

const kinds = (answer: Eligibility) => answer.because.map((e) => e.kind);

function dmar(ecap: bigint, ats: AtsrScope[] = [{ segment: 0, allPorts: true, scopes: [] }]) {
  const unit = { segment: 0, includeAll: true, registerBase: 0xfed90000n, scopes: [], ecap };
  const table = { addressWidth: 46, interruptRemapping: true, platformOptIn: false };
  return { ...IN_USE, dmar: { ...table, units: [unit], reserved: [], ats } };
}

test("with everything in place ATS, page requests and SVA are possible", () => {
  const seen = report(t1(), "01:00.0", dmar(FULL));
  assert.deepEqual([seen.ats.ok, seen.pri.ok, seen.sva.ok], [true, true, true]);
  assert.equal(seen.sva.width, 20);
});

test("SVA is open while the IOMMU is not known, the other three are not", () => {
  const seen = report(t1(), "01:00.0");
  assert.deepEqual(
    [seen.pasid.ok, seen.ats.ok, seen.pri.ok, seen.sva.ok],
    [true, true, true, null],
  );
  assert.ok(kinds(seen.sva).includes("iommu-capability-unknown"));
});

test("each missing bit of ECAP fails its feature (VT-d 5.0 § 11.4.3)", () => {
  const without = (bit: bigint) => report(t1(), "01:00.0", dmar(FULL & ~(1n << bit)));
  assert.equal(without(2n).ats.ok, false);
  assert.equal(without(29n).pri.ok, false);
  assert.equal(without(29n).ats.ok, true);
  assert.equal(without(47n).sva.ok, false);
  assert.equal(without(47n).pasid.ok, true);
  assert.match(without(47n).sva.because[0]?.detail ?? "", /FSTS/);
});

test("a missing capability takes down what rests on it, and says so", () => {
  const at = host(rootPort(slot(1), [endpoint(0, { ats: undefined })]));
  const seen = report(at, "01:00.0", dmar(FULL));
  assert.deepEqual(kinds(seen.ats), ["capability-missing"]);
  assert.ok(kinds(seen.pri).includes("page-requests-need-ats"));
  const needs = seen.sva.because.filter((e) => e.kind === "sva-needs");
  assert.deepEqual(
    needs.map((e) => e.capability),
    ["ATS", "PRI"],
  );
  // The reason itself is there too.
  assert.ok(seen.sva.because.some((e) => e.kind === "capability-missing"));
});

test("quirk, option and distrust switch ATS off", () => {
  const quirk = host(rootPort(slot(1), [endpoint(0, { vendor: 0x1002, device: 0x98e4 })]));
  const byQuirk = report(quirk, "01:00.0").ats;
  assert.equal(byQuirk.because[0]?.kind, "ats-switched-off");
  assert.equal(byQuirk.because[0]?.quirk, "atsOff");
  const byOption = report(t1(), "01:00.0", { ...IN_USE, commandLine: "pci=nomsi,noats quiet" });
  assert.equal(byOption.ats.because[0]?.detail, "pci=noats");
  const outside = t1();
  Object.assign(outside.fn("01:00.0").description, { untrusted: true });
  assert.equal(report(outside, "01:00.0").ats.because[0]?.detail, "untrusted");
});

test("pci= options are found in lists and repeated words only", () => {
  assert.equal(hasPciOption("pci=nomsi pci=noats", "noats"), true);
  assert.equal(hasPciOption("xpci=noats pci=noatsx", "noats"), false);
  assert.equal(hasPciOption(undefined, "noats"), false);
});

test("a VF needs its PF under 6.12 only", () => {
  const sriov = { total: 1, enabled: 1, offset: 1, stride: 1, vf: { type: 0, ats: {} } };
  const at = host(rootPort(slot(1), [endpoint(0, { sriov, ats: undefined, acs: ACS_ON })]));
  assert.equal(report(at, "01:00.1", IN_USE, "linux-6.1").ats.ok, true);
  assert.equal(report(at, "01:00.1", IN_USE, "linux-7.2").ats.ok, true);
  const refused = report(at, "01:00.1", IN_USE, "linux-6.12").ats;
  assert.equal(refused.ok, false);
  assert.equal(refused.because[0]?.at, bdf("01:00.0"));
  assert.ok(kinds(refused).includes("follows-physical-function"));
});

test("no ATS across a conventional bus", () => {
  const seen = report(t4(), "02:00.0").ats;
  assert.equal(seen.ok, false);
  assert.ok(kinds(seen).includes("conventional-bridge-on-path"));
  assert.ok(kinds(seen).includes("not-pci-express"));
});

test("translation blocking on the way fails in hardware and is a note under Linux", () => {
  const acs = { capability: 0x1f, control: ACS_ON.control | Acs.TB };
  const at = host(rootPort(slot(1), [endpoint(0)], { acs }));
  assert.deepEqual(kinds(report(at, "01:00.0", IN_USE, "device-centric").ats).slice(0, 1), [
    "translation-blocked",
  ]);
  const linux = report(at, "01:00.0").ats;
  assert.equal(linux.ok, true);
  assert.ok(kinds(linux).includes("translation-blocked"));
});

test("the root port must be listed by an ATSR, integrated endpoints need no entry (§ 8.5)", () => {
  const at = t1();
  assert.ok(kinds(report(at, "01:00.0", dmar(FULL, [])).ats).includes("root-port-not-listed"));
  const scope = { kind: "sub-hierarchy" as const, bus: 0, path: [{ device: 1, fn: 0 }] };
  const listed = dmar(FULL, [{ segment: 0, allPorts: false, scopes: [scope] }]);
  assert.equal(report(at, "01:00.0", listed).ats.ok, true);
  const integrated = host({ ...endpoint(slot(2)), type: 9 });
  assert.equal(report(integrated, "00:02.0", dmar(FULL, [])).ats.ok, true);
});

test("page requests that are neither on nor stopped cannot be switched on", () => {
  const at = t1();
  const { pri } = at.fn("01:00.0");
  assert.ok(pri);
  Object.assign(pri, { enabled: false, stopped: false });
  assert.equal(report(at, "01:00.0").pri.because[0]?.kind, "page-requests-not-stopped");
  Object.assign(pri, { enabled: true });
  assert.equal(report(at, "01:00.0").pri.ok, true);
});

test("an SMMU before version 3 has none of it; SMMUv3 with the ATS attribute has ATS", () => {
  const iort = (to: "smmu" | "smmuv3", ats: boolean): HostFacts => ({
    iommuInUse: true,
    architecture: "arm64",
    iort: {
      rootComplexes: [
        {
          segment: 0,
          ats,
          pasidBits: 16,
          mappings: [{ firstRid: 0, lastRid: 0xffff, to, single: false, outputBase: 0 }],
        },
      ],
    },
  });
  assert.equal(report(t1(), "01:00.0", iort("smmu", true)).ats.ok, false);
  assert.equal(report(t1(), "01:00.0", iort("smmu", true)).pasid.ok, false);
  assert.equal(report(t1(), "01:00.0", iort("smmuv3", false)).ats.ok, false);
  const modern = report(t1(), "01:00.0", iort("smmuv3", true));
  assert.deepEqual([modern.ats.ok, modern.pasid.ok, modern.pasid.width], [true, true, 16]);
});

test("virtio-iommu offers neither", () => {
  const range = { firstSegment: 0, lastSegment: 0, firstBdf: 0, lastBdf: 0xffff };
  const facts = { ...IN_USE, viot: { ranges: [range], iommus: [bdf("00:1e.0")] } };
  assert.equal(report(t1(), "01:00.0", facts).ats.because[0]?.detail, "virtio-iommu");
});
