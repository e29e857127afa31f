/**
 * A real host, mailed as lspci text, becomes a machine: the two functions of its graphics card,
 * which Linux puts into one group, get address spaces of their own, and what they can still do to
 * each other is named.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { platformsOf, readScenarioFile } from "../src/host/io/scenario-file.io.js";
import { play } from "../src/play/index.js";
import { sharedFolder, skipWithoutShared } from "./support/shared.js";

const scratch = mkdtempSync(join(tmpdir(), "ioasis-real-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const SCENARIO = `
schema: ioasis/scenario/1
name: Graphics and its audio function, apart
about: Linux puts the two into one group; the IOMMU tells them apart.
platforms: [${join(scratch, "host.yaml")}]
steps:
  - context: user
  - memory: { name: red }
  - memory: { name: blue }
  - space: { name: one, in: user }
  - space: { name: two, in: user }
  - map: { space: one, memory: red, at: 0x10000 }
  - map: { space: two, memory: blue, at: 0x10000 }
  - groups: { of: ["0000:01:00.0", "0000:01:00.1"] }
    expect: { count: 1 }
  - driver: { device: "0000:01:00.0", unbind: true }
  - driver: { device: "0000:01:00.1", unbind: true }
  - bind: { device: "0000:01:00.0", to: user }
  - bind: { device: "0000:01:00.1", to: user }
  - attach: { device: "0000:01:00.0", to: one }
  - attach: { device: "0000:01:00.1", to: two }
    expect: { device-centric: ok, linux-7.2: EINVAL }
  - dma: { device: "0000:01:00.0", write: display, at: 0x10000 }
    expect: { lands: { memory: red } }
  - dma: { device: "0000:01:00.1", write: sound, at: 0x10000 }
    expect:
      device-centric: { lands: { memory: blue } }
      linux-7.2: { lands: { memory: red } }
  - report: { device: "0000:01:00.0" }
    expect: { mustShare: false, exposed: true }
`;

test("two functions of a real laptop's graphics card, each in its own address space", {
  skip: skipWithoutShared(),
}, async () => {
  const capture = join(sharedFolder() ?? "", "hosts/02-hp-coffeelake-laptop/lspci-vvv.txt");
  const platform = [
    "schema: ioasis/platform/1",
    "name: A laptop whose owner mailed lspci",
    `from: ${capture}`,
    'engines: ["0000:01:00.0", "0000:01:00.1"]',
    "iommu: { kind: intel }",
  ];
  writeFileSync(join(scratch, "host.yaml"), platform.join("\n"));
  writeFileSync(join(scratch, "play.yaml"), SCENARIO);
  const scenario = await readScenarioFile(join(scratch, "play.yaml"));
  const [built] = await platformsOf(scenario);
  assert.ok(built !== undefined);
  for (const rules of ["device-centric", "linux-7.2"] as const) {
    const played = play(scenario, built.platform, built.name, rules);
    assert.deepEqual(played.steps.at(-1)?.mismatches, []);
    assert.ok(played.ok, rules);
    assert.equal(played.steps.length, scenario.steps.length);
  }
});
