/**
 * The tree of every example platform is whole: links lead somewhere, every function is found,
 * groups are those of the rule set, and there is a node for what VFIO has. Platforms whose IOMMU
 * has no hardware here are refused, by name.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { startPlatform } from "../src/door/index.js";
import { loadPlatform } from "../src/host/io/scenario-file.io.js";
import { formatBdf, InputError } from "../src/units/index.js";
import { readText } from "./support/door.js";

const FOLDER = fileURLToPath(new URL("../../examples/platforms", import.meta.url));

for (const name of readdirSync(FOLDER).filter((file) => file.endsWith(".yaml"))) {
  for (const rules of ["device-centric", "linux-7.2"] as const) {
    test(`${name} under ${rules}`, async () => {
      const { platform } = await loadPlatform(join(FOLDER, name));
      const kernel = (() => {
        try {
          return startPlatform(platform, { rules });
        } catch (error) {
          if (error instanceof InputError) return error.message;
          throw error;
        }
      })();
      if (typeof kernel === "string") {
        assert.match(kernel, /iommu\.kind: there is no hardware of kind (amd|smmuv3) here/);
        return;
      }
      const { tree, system } = kernel;
      for (const [path, node] of tree.walk()) {
        if (node.kind === "link") tree.resolve(path);
        if (node.kind === "attribute" && (node.mode & 0o444) !== 0 && node.text !== undefined) {
          readText(kernel, path);
        }
      }
      const devices = tree.list("/sys/bus/pci/devices") ?? [];
      const functions = system.machine.fabric.functions.map((fn) => formatBdf(fn.bdf));
      assert.deepEqual([...devices].sort(), [...functions].sort());
      const groups = tree.list("/sys/kernel/iommu_groups") ?? [];
      const { partition, facts } = system.analysis();
      // Devices that the IOMMU cannot tell apart are one group.
      const expected = facts.requesterMatching === false ? 1 : partition.groups.length;
      assert.equal(groups.length, expected);
      for (const id of groups) {
        const members = tree.list(`/sys/kernel/iommu_groups/${id}/devices`) ?? [];
        const isVfios = members.some((member) =>
          tree.list(tree.resolve(`/sys/bus/pci/devices/${member}`).path)?.includes("vfio-dev"),
        );
        assert.equal(tree.find(`/dev/vfio/${id}`) !== undefined, isVfios, `group ${id}`);
      }
    });
  }
}
