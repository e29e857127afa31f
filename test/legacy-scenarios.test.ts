/** Groups and containers in scenarios: unplugged devices, other owners, what cannot be played. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseScenario, platformsOf } from "../src/host/io/scenario-file.io.js";
import { type PlayRules, play } from "../src/play/index.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const T2M = join(ROOT, "examples", "platforms", "t2m.yaml");

/** Plays steps on T2m and says what was not as expected. */
async function problems(steps: readonly object[], rules: PlayRules): Promise<unknown[]> {
  const value = { schema: "ioasis/scenario/1", name: "legacy", platforms: [T2M], steps };
  const scenario = parseScenario(JSON.stringify(value), join(ROOT, "legacy.json"));
  const [found] = await platformsOf(scenario);
  assert.ok(found !== undefined);
  const { ok, steps: played } = play(scenario, found.platform, found.name, rules);
  const last = played.at(-1);
  return ok ? [] : [last?.step.action, last?.mismatches, last?.broken];
}

const RULES = ["device-centric", "linux-7.2"] as const;
const OPEN = [
  { memory: { name: "red", pages: 2 } },
  { context: "user" },
  { container: "vfio" },
  { group: { of: "a", open: true } },
];
const IN_CONTAINER = [
  ...OPEN,
  { group: { of: "a", container: "vfio" } },
  { container: { of: "vfio", type: "type1" } },
  { mapDma: { of: "vfio", memory: "red", pages: 2, at: 0x10000 } },
];

test("a container's devices leave the machine and come back", async () => {
  const steps = [
    ...IN_CONTAINER,
    { bind: { device: "a", byGroup: true } },
    { bind: { device: "b", byGroup: true } },
    { unplug: "a" },
    { attach: { device: "a", to: "nothing" }, expect: "EINVAL" },
    { dma: { device: "b", write: "x", at: 0x10000 }, expect: { lands: { memory: "red" } } },
    { plug: "a" },
    {
      dma: { device: "a", write: "x", at: 0x10000, hostile: true },
      expect: { "device-centric": { fault: true }, "linux-7.2": { lands: { memory: "red" } } },
    },
    { bind: { device: "a", byGroup: true } },
    {
      dma: { device: "a", write: "x", at: 0x11000 },
      expect: { lands: { memory: "red", page: 1 } },
    },
    { group: { of: "b", close: true } },
    { dma: { device: "a", write: "x", at: 0x11000 }, expect: { fault: true } },
    { close: "vfio" },
  ];
  for (const rules of RULES) assert.deepEqual(await problems(steps, rules), [], rules);
});

test("a container keeps others out of its groups, and others keep it out", async () => {
  const steps = [
    ...OPEN,
    { driver: { device: "b", bind: "e1000e" } },
    { group: { of: "a", status: true }, expect: { viable: false, containerSet: false } },
    { group: { of: "a", container: "vfio" }, expect: "EPERM" },
    { driver: { device: "b", unbind: true } },
    { group: { of: "a", container: "vfio" } },
    { group: { of: "a", status: true }, expect: { viable: true, containerSet: true } },
    { driver: { device: "b", bind: "e1000e" }, expect: "EBUSY" },
    { bind: { device: "b", to: "user" }, expect: "EBUSY" },
    { group: { of: "a", leave: true } },
    { driver: { device: "b", bind: "e1000e" } },
    { bind: { device: "b", byGroup: true }, expect: "EINVAL" },
    { group: { of: "a", close: true } },
  ];
  for (const rules of RULES) assert.deepEqual(await problems(steps, rules), [], rules);
});

test("type1 unmaps whole in a container, and cuts in a context", async () => {
  const inContext = [
    { group: { of: "a", open: true } },
    { group: { of: "a", container: "user", space: "compat" } },
    { container: { of: "user", type: "type1" } },
    { mapDma: { of: "user", memory: "red", pages: 2, at: 0x10000 } },
    { bind: { device: "a", byGroup: true } },
    { unmapDma: { of: "user", at: 0x11000 }, expect: { count: 1 } },
    { dma: { device: "a", write: "x", at: 0x11000 }, expect: { fault: true } },
    { dma: { device: "a", write: "x", at: 0x10000 }, expect: { lands: { memory: "red" } } },
    { compatSpace: { of: "user", clear: true } },
    { compatSpace: { of: "user", get: "none" }, expect: "ENODEV" },
    { unmapDma: { of: "user", all: true }, expect: "ENODEV" },
    { compatSpace: { of: "user", set: "compat", get: "same" } },
    { unmapDma: { of: "user", all: true }, expect: { count: 1 } },
  ];
  const steps = [
    ...IN_CONTAINER,
    { unmapDma: { of: "vfio", at: 0x11000 }, expect: { count: 0 } },
    { unmapDma: { of: "vfio", at: 0x10000 }, expect: { count: 2 } },
    { group: { of: "a", close: true } },
    ...inContext,
  ];
  for (const rules of RULES) assert.deepEqual(await problems(steps, rules), [], rules);
});

test("what cannot be played is said", async () => {
  const cases: readonly [readonly object[], RegExp][] = [
    [[...IN_CONTAINER, { close: "vfio" }], /a group is in "vfio"/],
    [[...OPEN, { group: { of: "a", container: "user" } }, { close: "user" }], /is in "user"/],
    [[{ mapDma: { of: "nobody", memory: "red", at: 0 } }], /no memory "red"/],
    [[...OPEN, { mapDma: { of: "nobody", memory: "red", at: 0 } }], /no context is named/],
    [
      [
        ...IN_CONTAINER,
        { bind: { device: "a", byGroup: true } },
        { bind: { device: "a", byGroup: true } },
      ],
      /is open already/,
    ],
  ];
  for (const [steps, problem] of cases) {
    await assert.rejects(problems(steps, "device-centric"), problem);
  }
});
