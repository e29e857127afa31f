import assert from "node:assert/strict";
import { test } from "node:test";
import { LINUX_RULE_SETS, linuxRules, nearestRules, QUIRKS } from "./index.js";

test("each rule set reproduces the point release of its tables", () => {
  for (const name of LINUX_RULE_SETS) {
    assert.equal(linuxRules(name).name, name);
    assert.equal(linuxRules(name).release, QUIRKS.releases[name]);
  }
});

test("the nearest rule set, counted in kernel releases", () => {
  const cases: readonly (readonly [string | undefined, string])[] = [
    ["6.1.0-50-amd64", "linux-6.1"],
    ["6.12.90+deb12-amd64", "linux-6.12"],
    ["7.2.13+deb14-amd64", "linux-7.2"],
    ["5.15.13", "linux-6.1"],
    ["4.19.57.mx64.282", "linux-6.1"],
    ["2.6.32", "linux-6.1"],
    ["6.5.0-18-generic", "linux-6.1"],
    ["6.6.30", "linux-6.1"],
    ["6.7.1", "linux-6.12"],
    ["6.17.0-19-generic", "linux-6.12"],
    ["6.18.0-rc7", "linux-7.2"],
    ["7.0.1", "linux-7.2"],
    ["8.1.0", "linux-7.2"],
    [undefined, "linux-7.2"],
    ["not a release", "linux-7.2"],
  ];
  for (const [release, expected] of cases) assert.equal(nearestRules(release), expected, release);
});
