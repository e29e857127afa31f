/**
 * Device-centric groups and reports of captured machines: those that ship, and the hosts kept
 * beside.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { fromCapture } from "../src/host/index.js";
import { loadCapture } from "../src/host/io/index.js";
import { type Analysis, analyse, iommuChecklist } from "../src/isolation/index.js";
import { buildFabric } from "../src/pcie/index.js";
import { formatBdf, InputError } from "../src/units/index.js";
import { checkAnalysis } from "./support/isolation-properties.js";
import { sharedFolder, skipWithoutShared } from "./support/shared.js";

const FIXTURES = resolve(fileURLToPath(import.meta.url), "../../../test/fixtures/ground-truth");

async function look(folder: string, strict = false): Promise<Analysis> {
  const { fabric, facts } = fromCapture(await loadCapture([folder]));
  return analyse(buildFabric(fabric), facts, { rules: "device-centric", strict });
}

const fixture = (name: string) => look(join(FIXTURES, name));

test("every shipped capture: all properties of groups, sets, proofs and reports", async () => {
  const names = readdirSync(FIXTURES).filter((name) =>
    existsSync(join(FIXTURES, name, "groups.txt")),
  );
  assert.ok(names.length >= 12);
  for (const name of names) {
    for (const strict of [false, true]) checkAnalysis(await look(join(FIXTURES, name), strict));
  }
});

for (const kernel of ["6.1", "6.12", "7.2"]) {
  test(`a switch without ACS joins what Linux ${kernel} separates, and a request shows it`, async () => {
    const seen = await fixture(`switch-without-acs-${kernel}`);
    assert.equal(seen.enlargements.length, 1);
    const proofs = seen.enlargements[0]?.joins.map((j) => seen.proofOf(j)) ?? [];
    assert.ok(proofs.some((p) => p !== undefined && !p.from.isBridge && !p.to.isBridge));
    assert.ok(seen.enlargements[0]?.because.some((e) => e.kind === "acs-capability-missing"));
  });
}

test("devices behind a PCIe-to-PCI bridge share, those beside do not", async () => {
  const seen = await fixture("pcie-to-pci-bridge-7.2");
  const sharing = [...seen.deviceReports()].filter((r) => r.mustShare.value);
  assert.ok(sharing.length >= 2);
  for (const report of sharing) {
    const fn = seen.fabric.function(report.device);
    assert.equal(fn?.isPcie, false, formatBdf(report.device));
    assert.equal(report.pasid.ok, false);
  }
});

test("VFs below ports with ACS are alone and follow their PF's PASID", async () => {
  const seen = await fixture("sriov-behind-acs-port-6.12");
  const vfs = seen.fabric.functions.filter((fn) => fn.isVirtual);
  assert.ok(vfs.length > 0);
  for (const vf of vfs) {
    const report = seen.deviceReport(vf.bdf);
    assert.equal(report?.mustShare.value, false);
    assert.ok(report?.pasid.because.some((e) => e.kind === "follows-physical-function"));
  }
});

test("with the IOMMU off no device has a group and the checklist says why", async () => {
  const seen = await fixture("iommu-off-6.12");
  assert.deepEqual(seen.deviceCentric.groups, []);
  const checks = iommuChecklist(seen.fabric, seen.facts);
  assert.ok(checks.some((c) => c.state === "bad"));
  for (const report of seen.deviceReports()) assert.equal(report.viability.ok, false);
});

test("a root bus outside every unit's scope is left out", async () => {
  const seen = await fixture("root-bus-outside-scope-7.2");
  assert.ok(seen.deviceCentric.ungrouped.length > 0);
  for (const { device, because } of seen.deviceCentric.ungrouped) {
    assert.equal(because[0]?.kind, "outside-iommu-scope");
    const report = seen.deviceReport(device);
    assert.equal(report?.group, undefined);
    assert.equal(report?.pasid.ok, false);
  }
});

test("hosts kept beside: all properties", { skip: skipWithoutShared() }, async () => {
  const folder = join(sharedFolder() ?? "", "hosts");
  let looked = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    let seen: Analysis;
    try {
      seen = await look(join(folder, entry.name));
    } catch (error) {
      if (InputError.is(error)) continue;
      throw error;
    }
    checkAnalysis(seen);
    looked++;
  }
  assert.ok(looked >= 12, `${looked} hosts`);
});
