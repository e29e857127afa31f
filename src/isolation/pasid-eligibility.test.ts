import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ACS_ON,
  ACS_PATH_ONLY,
  bdf,
  conventional,
  downstream,
  endpoint,
  host,
  port,
  rootPort,
  slot,
  switchBelow,
  type TestHost,
  t1,
  t2,
  t3,
  t4,
  t9,
} from "../../test/support/topologies.js";
import { PortType } from "../pcie/index.js";
import { analyse } from "./analysis.js";
import type { HostFacts } from "./host-facts.js";
import type { RuleSet } from "./partition.js";
import type { Eligibility } from "./report-types.js";

const IN_USE: HostFacts = { iommuInUse: true, architecture: "x86" };

function pasid(
  at: TestHost,
  address: string,
  rules: RuleSet = "linux-7.2",
  facts: HostFacts = IN_USE,
): Eligibility {
  const report = analyse(at.fabric, facts, { rules }).deviceReport(bdf(address));
  assert.ok(report);
  return report.pasid;
}

const reasons = (answer: Eligibility) =>
  answer.because
    .filter((e) => !e.kind.startsWith("iommu-capability"))
    .map((e) => `${e.kind}@${e.at.toString(16)}`);

const DMAR_TABLE = {
  addressWidth: 46,
  interruptRemapping: true,
  platformOptIn: false,
  reserved: [],
  ats: [{ segment: 0, allPorts: true, scopes: [] }],
};

function dmar(...ecaps: (bigint | undefined)[]): HostFacts {
  const units = ecaps.map((ecap, i) => ({
    segment: i,
    includeAll: true,
    registerBase: BigInt(0xfed90000 + 0x1000 * i),
    scopes: [],
    ecap,
  }));
  return { ...IN_USE, dmar: { ...DMAR_TABLE, units } };
}

const ECAP_PASID = 1n << 40n;
const ECAP_SMTS = 1n << 43n;
const ECAP_PSS_15 = 15n << 35n;

test("S11: behind a port with ACS a device may use 20-bit PASIDs", () => {
  const answer = pasid(t1(), "01:00.0");
  assert.equal(answer.ok, true);
  assert.equal(answer.width, 20);
  assert.deepEqual(reasons(answer), ["capability-present@100"]);
  assert.equal(pasid(t3(), "03:00.0").ok, true);
});

test("S12: a switch without ACS refuses, each port and its bits named; 6.1 does not ask", () => {
  const answer = pasid(t2(), "03:00.0");
  assert.equal(answer.ok, false);
  assert.equal(answer.width, undefined);
  assert.deepEqual(reasons(answer), ["path-acs-off@200"]);
  assert.deepEqual(answer.because[0]?.bits, ["RR", "UF"]);
  assert.equal(pasid(t2(), "03:00.0", "linux-6.1").ok, true);
  assert.equal(pasid(t2(), "03:00.0", "linux-6.12").ok, false);
  assert.equal(pasid(t2(), "03:00.0", "device-centric").ok, false);
});

test("S15: redirect and upstream forwarding are enough; the sibling is not asked", () => {
  assert.equal(pasid(t9(), "01:00.0").ok, true);
  assert.deepEqual(reasons(pasid(t9(), "01:00.1")), ["capability-missing@101"]);
  const partial = { capability: 0x1f, control: ACS_ON.control & ~0x10 };
  const at = host(rootPort(slot(1), [endpoint(0)], { acs: partial }));
  assert.deepEqual(pasid(at, "01:00.0").because[0]?.bits, ["UF"]);
});

test("R11: no PASID across a conventional bus; every obstacle is listed", () => {
  const at = host(
    rootPort(slot(1), [
      port(PortType.PcieToPciBridge, 0, [
        port(PortType.PciToPcieBridge, slot(1), [endpoint(0)]),
        conventional(slot(2)),
      ]),
    ]),
  );
  const answer = pasid(at, "03:00.0");
  assert.equal(answer.ok, false);
  const bridges = answer.because.filter((e) => e.kind === "conventional-bridge-on-path");
  assert.deepEqual(
    bridges.map((e) => e.at),
    [bdf("02:01.0"), bdf("01:00.0")],
  );
  assert.ok(reasons(pasid(t4(), "02:01.0")).includes("not-pci-express@208"));
});

test("the prefix must pass every bridge above; an integrated endpoint needs only its own", () => {
  const at = host(
    rootPort(slot(1), [
      switchBelow([downstream(slot(0), [endpoint(0)], { acs: ACS_ON })], { endEndPrefix: false }),
    ]),
    { ...endpoint(slot(2)), type: PortType.RcIntegratedEndpoint },
  );
  assert.deepEqual(reasons(pasid(at, "03:00.0")), ["prefix-not-supported@100"]);
  assert.equal(pasid(at, "00:02.0").ok, true);
});

test("an egress that blocks prefixes is a failure in hardware and a note under Linux rules", () => {
  const at = host(
    rootPort(slot(1), [switchBelow([downstream(0, [endpoint(0)], { acs: ACS_PATH_ONLY })])]),
  );
  const { express } = at.fn("01:00.0");
  assert.ok(express);
  Object.assign(express, { endEndPrefixBlocking: true });
  assert.deepEqual(reasons(pasid(at, "03:00.0", "device-centric")), ["prefix-blocked@100"]);
  const linux = pasid(at, "03:00.0");
  assert.equal(linux.ok, true);
  assert.ok(reasons(linux).includes("prefix-blocked@100"));
});

test("a device that carries PASIDs without prefixes is excused from the path's prefixes", () => {
  const huawei = { vendor: 0x19e5, device: 0xa250, endEndPrefix: false };
  const at = (revision: number) =>
    host(rootPort(slot(1), [endpoint(0, { ...huawei, revision })], { acs: ACS_ON }));
  assert.deepEqual(reasons(pasid(at(0x20), "01:00.0")), ["prefix-not-supported@100"]);
  const excused = pasid(at(0x21), "01:00.0");
  assert.equal(excused.ok, true);
  assert.ok(reasons(excused).includes("prefix-not-needed@100"));
});

test("a VF follows its PF", () => {
  const sriov = { total: 2, enabled: 2, offset: 1, stride: 1 };
  const at = host(rootPort(slot(1), [endpoint(0, { sriov, ari: true, acs: ACS_ON })]));
  const vf = pasid(at, "01:00.1");
  assert.equal(vf.ok, true);
  assert.equal(vf.width, 20);
  const note = vf.because.find((e) => e.kind === "follows-physical-function");
  assert.deepEqual([note?.at, note?.with], [bdf("01:00.1"), bdf("01:00.0")]);
  const without = host(rootPort(slot(1), [endpoint(0, { sriov, pasid: undefined })]));
  assert.equal(pasid(without, "01:00.1").ok, false);
});

test("what the IOMMU can do counts when it is known", () => {
  const full = ECAP_PASID | ECAP_SMTS | ECAP_PSS_15;
  const wide = pasid(t1(), "01:00.0", "linux-7.2", dmar(full));
  assert.deepEqual([wide.ok, wide.width], [true, 16]);
  const missing = pasid(t1(), "01:00.0", "linux-7.2", dmar(ECAP_SMTS));
  assert.equal(missing.ok, false);
  assert.match(missing.because[0]?.detail ?? "", /ECAP PASID$/);
  const unknown = pasid(t1(), "01:00.0", "linux-7.2", dmar(undefined));
  assert.equal(unknown.ok, true);
  assert.equal(unknown.because.at(-1)?.kind, "iommu-capability-unknown");
  const differing = pasid(t1(), "01:00.0", "linux-7.2", dmar(full, 0n));
  assert.equal(differing.ok, true);
  assert.match(
    differing.because.find((e) => e.kind === "iommu-units-differ")?.detail ?? "",
    /0xfed91000/,
  );
  const off = { ...dmar(full), commandLine: "quiet intel_iommu=on,sm_off" };
  assert.equal(pasid(t1(), "01:00.0", "linux-7.2", off).ok, false);
});

test("AMD: guest translation gives PASIDs, PASmax + 1 bits wide", () => {
  const facts = (efr: bigint): HostFacts => ({
    ...IN_USE,
    ivrs: {
      units: [
        {
          segment: 0,
          iommu: bdf("00:00.2"),
          base: 0xfeb80000n,
          covered: [{ first: 0, last: 0xffff }],
          aliases: [],
          efr,
        },
      ],
      memory: [],
    },
  });
  const with16 = pasid(t1(), "01:00.0", "linux-7.2", facts((15n << 32n) | 0x12n));
  assert.deepEqual([with16.ok, with16.width], [true, 16]);
  assert.equal(pasid(t1(), "01:00.0", "linux-7.2", facts(1n << 32n)).ok, false);
});

test("R12 and no IOMMU at all: refused, with the reason", () => {
  const unmatched = pasid(t1(), "01:00.0", "device-centric", {
    ...IN_USE,
    requesterMatching: false,
  });
  assert.deepEqual(reasons(unmatched), ["iommu-unmatched@100"]);
  const inactive = pasid(t1(), "01:00.0", "linux-7.2", { iommuInUse: false });
  assert.deepEqual(reasons(inactive), ["iommu-inactive@100"]);
});

test("what the capture does not show leaves the answer open", () => {
  const at = t1();
  Object.assign(at.fn("01:00.0"), { pasid: undefined });
  assert.equal(pasid(at, "01:00.0").ok, null);
  const blind = t1();
  Object.assign(blind.fn("00:01.0"), { acs: undefined });
  const answer = pasid(blind, "01:00.0");
  assert.equal(answer.ok, null);
  assert.ok(reasons(answer).includes("acs-unknown@8"));
});
