/** Linux's groups against kernels that were booted: every sample under its own kernel's rules. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type BootedSample,
  bootedSamples,
  shippedSamples,
} from "../../test/support/groundtruth.js";
import { skipWithoutShared } from "../../test/support/shared.js";
import { buildFabric } from "../pcie/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { joinPath, linuxGroups, nearestRules } from "./index.js";

const skip = skipWithoutShared();
const shared = bootedSamples();
const samples = [...shippedSamples(), ...shared];

/**
 * Groups made at driver bind by virtio-iommu: which functions have one depends on what was bound
 * and tried.
 */
const GROUPED_AT_BIND = new Set([
  "64-virtio-iommu",
  "65-virtio-iommu-bypass",
  "76-virtio-iommu-stub",
  "virtio-iommu-unbound-6.12",
]);

function compute(sample: BootedSample) {
  return linuxGroups(
    buildFabric({ functions: sample.functions }),
    sample.facts,
    nearestRules(sample.kernel),
  );
}

const show = (groups: readonly (readonly Bdf[])[]) =>
  groups.map((g) => g.map(formatBdf).join(" ")).join("\n");

test("shipped samples are found", () => {
  assert.ok(samples.length - shared.length >= 12);
});

test("shared samples are found", { skip }, () => {
  assert.ok(shared.length >= 95, `${shared.length} samples`);
});

for (const sample of samples) {
  test(`${sample.name} has the groups that ${sample.kernel} made`, () => {
    const made = compute(sample);
    const recorded = new Set(sample.recorded.flat());
    const computed = made.groups
      .map((group) => group.filter((fn) => recorded.has(fn)))
      .filter((group) => group.length > 0);
    assert.equal(show(computed), show(sample.recorded));
    if (!GROUPED_AT_BIND.has(sample.name)) {
      assert.equal(show(made.groups), show(sample.recorded));
      const all = sample.functions.map((fn) => fn.bdf).filter((bdf) => !recorded.has(bdf));
      assert.deepEqual(
        made.ungrouped.map((u) => u.device),
        all.sort((a, b) => a - b),
      );
    }
    assert.deepEqual(made.unknown, []);
  });

  test(`${sample.name}: every pair of a group can be explained`, () => {
    const made = compute(sample);
    for (const group of made.groups) {
      for (const a of group) {
        for (const b of group) {
          const path = joinPath(made, a, b);
          assert.ok(path !== undefined, `${formatBdf(a)} ${formatBdf(b)}`);
          if (a === b) continue;
          assert.ok(path.length > 0 && path.every((join) => join.because.length > 0));
        }
      }
    }
    for (const u of made.ungrouped) assert.ok(u.because.length > 0);
  });
}
