import assert from "node:assert/strict";
import { test } from "node:test";
import { arrivedAfter, LINUX_RULE_SETS, linuxRules, nearestRules, QUIRKS } from "./index.js";

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

test("rows that an older point release of the series does not have", () => {
  const zhaoxin = 0x1d170721;
  assert.equal(arrivedAfter("6.1.73", "linux-6.1", "acs", zhaoxin), "6.1.74");
  assert.equal(arrivedAfter("6.1.74-amd64", "linux-6.1", "acs", zhaoxin), undefined);
  assert.equal(arrivedAfter("6.12.1", "linux-6.12", "acs", zhaoxin), undefined);
  assert.equal(arrivedAfter("6.1.90", "linux-6.1", "acs", 0x17cb0115), "6.1.113");
  assert.equal(arrivedAfter("6.1.90", "linux-6.1", "acs", 0x80885010), "6.1.120");
  assert.equal(arrivedAfter("6.10.1", "linux-6.1", "acs", zhaoxin), undefined, "another series");
  assert.equal(arrivedAfter(undefined, "linux-6.1", "acs", zhaoxin), undefined);
});
