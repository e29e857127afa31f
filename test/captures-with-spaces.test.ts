/**
 * Captured hosts: two functions that Linux puts in one group get an address space each, and the DMA
 * of each lands in its own.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fromCapture } from "../src/host/index.js";
import { loadCapture } from "../src/host/io/index.js";
import { type Analysis, analyse } from "../src/isolation/index.js";
import { buildFabric, type PciFunction } from "../src/pcie/index.js";
import { buildPlatform, readPlatform } from "../src/platform/index.js";
import { play, readScenario } from "../src/play/index.js";
import { formatBdf, InputError } from "../src/units/index.js";
import { sharedFolder, skipWithoutShared } from "./support/shared.js";

/** Two endpoints of one Linux group that the IOMMU can tell apart. */
function pairIn(analysis: Analysis): readonly [PciFunction, PciFunction] | undefined {
  for (const group of analysis.partitionUnder("linux-7.2").groups) {
    const ends = group
      .map((bdf) => analysis.fabric.function(bdf))
      .filter((fn) => fn !== undefined)
      .filter((fn) => fn.headerType === 0 && analysis.requesterIds(fn.bdf)?.ids.length === 1);
    const [a, b] = ends;
    if (a !== undefined && b !== undefined && a.bdf !== b.bdf) return [a, b];
  }
  return undefined;
}

function stepsFor(members: readonly string[], a: string, b: string): object[] {
  return [
    { context: "user" },
    { memory: { name: "red" } },
    { memory: { name: "blue" } },
    { space: { name: "one", in: "user" } },
    { space: { name: "two", in: "user" } },
    { map: { space: "one", memory: "red", at: 0x10000 } },
    { map: { space: "two", memory: "blue", at: 0x10000 } },
    ...members.map((device) => ({ driver: { device, unbind: true } })),
    { bind: { device: a, to: "user" } },
    { bind: { device: b, to: "user" } },
    { attach: { device: a, to: "one" } },
    {
      attach: { device: b, to: "two" },
      expect: { "device-centric": "ok", "linux-7.2": "EINVAL" },
    },
    { dma: { device: a, write: "a", at: 0x10000 }, expect: { lands: { memory: "red" } } },
    {
      dma: { device: b, write: "b", at: 0x10000 },
      expect: {
        "device-centric": { lands: { memory: "blue" } },
        "linux-7.2": { lands: { memory: "red" } },
      },
    },
  ];
}

test("devices of one Linux group on captured hosts", { skip: skipWithoutShared() }, async () => {
  const folder = join(sharedFolder() ?? "", "hosts");
  let played = 0;
  for (const name of existsSync(folder) ? readdirSync(folder).sort() : []) {
    if (!/^\d/.test(name)) continue;
    // Some hosts were captured twice, in different states: those name no single host.
    const capture = await loadCapture([join(folder, name)]).catch((error: unknown) => {
      if (InputError.is(error)) return undefined;
      throw error;
    });
    if (capture === undefined) continue;
    const { fabric, facts } = fromCapture(capture);
    const analysis = analyse(buildFabric(fabric), facts);
    const pair = pairIn(analysis);
    if (pair === undefined) continue;
    const [a, b] = pair.map((fn) => formatBdf(fn.bdf));
    if (a === undefined || b === undefined) continue;
    const node = {
      schema: "ioasis/platform/1",
      from: name,
      engines: [a, b],
      iommu: { kind: "intel" },
    };
    const { functions } = fabric;
    const rules = ["device-centric", "linux-7.2"] as const;
    const group = analysis.deviceCentric.groupOf.get(pair[0].bdf) ?? -1;
    const members = (analysis.deviceCentric.groups[group] ?? []).map(formatBdf);
    const steps = stepsFor(members, a, b);
    const scenario = readScenario({ schema: "ioasis/scenario/1", name, platforms: [name], steps });
    for (const set of rules) {
      const built = buildPlatform(readPlatform(node), { functions, facts });
      const result = play(scenario, built, name, set);
      const last = result.steps.at(-1);
      const at = `step ${last?.step.index} ${last?.step.action}`;
      const where: string = `${name} ${a} ${b} ${set} ${at}`;
      assert.deepEqual([last?.mismatches, last?.broken], [[], []], where);
      played++;
    }
  }
  assert.ok(played >= 10, `only ${played} plays`);
});
