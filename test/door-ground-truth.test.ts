/**
 * The tree of a platform against what booted kernels showed of the same hosts: paths, links, ids,
 * groups, reserved regions, IOMMU units.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PlatformKernel } from "../src/door/index.js";
import { buildPlatform, readPlatform } from "../src/platform/index.js";
import { parseBdf } from "../src/units/index.js";
import { noFiles, readText } from "./support/door.js";
import { bootedSamples, shippedSamples } from "./support/groundtruth.js";
import { sharedFolder } from "./support/shared.js";

const samples = [
  ...shippedSamples().map((sample) => ({ sample, folder: "test/fixtures/ground-truth" })),
  ...bootedSamples().map((sample) => ({
    sample,
    folder: join(sharedFolder() ?? "", "groundtruth"),
  })),
].filter(({ sample }) => sample.kernel.startsWith("7.") && sample.facts.dmar !== undefined);

interface Shown {
  readonly name: string;
  readonly values: ReadonlyMap<string, string>;
}

/** Lines `DEV <address> key=value ...`. */
function devices(text: string): Shown[] {
  return [...text.matchAll(/^DEV (\S+) (.*)$/gm)].map(([, name = "", rest = ""]) => {
    const pairs = [...rest.matchAll(/(\w+)=(\S*)/g)];
    return { name, values: new Map(pairs.map(([, key = "", value = ""]) => [key, value])) };
  });
}

/** Blocks of `GROUP <n> type=... name=` and the lines of its reserved regions. */
function reserved(text: string): Map<string, { type: string; regions: string }> {
  const out = new Map<string, { type: string; regions: string }>();
  for (const block of text.split(/^GROUP /m).slice(1)) {
    const [head = "", ...lines] = block.split("\n");
    const [, id = "", type = ""] = /^(\d+) type=(\S*)/.exec(head) ?? [];
    out.set(id, { type, regions: lines.filter((line) => line !== "").join("\n") });
  }
  return out;
}

for (const { sample, folder } of samples) {
  const at = join(folder, sample.name);
  test(`${sample.name}: the tree shows what the kernel showed`, () => {
    const file = (name: string) => readFileSync(join(at, name), "utf8");
    const { functions, facts } = sample;
    const node = readPlatform({ schema: "ioasis/platform/1", from: "capture" });
    const platform = buildPlatform(node, { functions, facts });
    const kernel = new PlatformKernel(platform, {
      rules: "linux-7.2",
      bind: "none",
      files: noFiles,
    });
    const { tree } = kernel;
    const iommuOn = readdirSync(at).includes("reserved.txt");
    const groups = existsSync(join(at, "reserved.txt"))
      ? reserved(file("reserved.txt"))
      : new Map();
    const numbers = new Map<string, string>();
    for (const { name, values } of devices(file("devices.txt"))) {
      const link = `/sys/bus/pci/devices/${name}`;
      const show = (attribute: string) => readText(kernel, `${link}/${attribute}`).trimEnd();
      const path = values.get("path");
      if (path !== undefined) assert.equal(tree.resolve(link).path, path);
      for (const key of ["vendor", "device", "class"]) {
        assert.equal(show(key), values.get(key), `${name} ${key}`);
      }
      assert.equal(show("revision"), values.get("rev"));
      const sub = `${show("subsystem_vendor")}:${show("subsystem_device")}`;
      const bdf = parseBdf(name);
      const ids = bdf === undefined ? undefined : kernel.system.machine.fabric.function(bdf)?.ids;
      // Listings as text do not show every subsystem.
      if (values.has("sub") && ids?.subVendor !== undefined)
        assert.equal(sub, values.get("sub"), `${name} subsystem`);
      const target = (what: string): string => {
        const found = tree.list(tree.resolve(link).path)?.includes(what) === true;
        return found ? (tree.resolve(`${link}/${what}`).path.split("/").pop() ?? "") : "-";
      };
      const group = values.get("group");
      if (group !== undefined) {
        const ours = target("iommu_group");
        const known = numbers.get(group);
        if (known === undefined) numbers.set(group, ours);
        else assert.equal(ours, known, `${name}: group ${group}`);
        assert.equal(ours === "-", group === "-", `${name} has a group`);
      }
      if (values.has("iommu") && iommuOn) assert.equal(target("iommu"), values.get("iommu"));
      if (values.has("driver")) assert.equal(target("driver"), values.get("driver"), name);
      const physfn = values.get("physfn");
      if (physfn !== undefined) assert.equal(target("physfn"), physfn);
      const [on, total] = (values.get("numvfs") ?? "/").split("/");
      if (on !== undefined && on !== "") {
        assert.equal(show("sriov_numvfs"), on);
        // A driver may offer less than the register says, as igb does.
        assert.ok(Number(show("sriov_totalvfs")) >= Number(total), `${name} sriov_totalvfs`);
      }
    }
    assert.equal(new Set(numbers.values()).size, numbers.size, "different groups stay different");
    for (const [id, { type, regions }] of groups) {
      const ours = numbers.get(id);
      if (ours === undefined) continue;
      const base = `/sys/kernel/iommu_groups/${ours}`;
      assert.equal(readText(kernel, `${base}/reserved_regions`).trimEnd(), regions, `group ${id}`);
      if (type.startsWith("DMA")) assert.equal(readText(kernel, `${base}/type`), "DMA-FQ\n");
    }
  });
}
