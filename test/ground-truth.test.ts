/**
 * The groups computed from each shipped capture are those the kernel made that ran there.
 *
 * Captures come from Debian's kernels, booted by `npm run ground-truth`; what a kernel decided is
 * read here from `groups.txt` itself, not through the capture reader.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { fromCapture } from "../src/host/index.js";
import { loadCapture } from "../src/host/io/index.js";
import { linuxGroups, nearestRules } from "../src/isolation/index.js";
import { buildFabric } from "../src/pcie/index.js";
import { formatBdf } from "../src/units/index.js";
import { surprises } from "../tools/ground-truth/expectation.js";
import { groupSets } from "../tools/ground-truth/normalize.js";
import { demonstrationTopology, topologies } from "../tools/ground-truth/topologies/index.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = join(root, "test/fixtures/ground-truth");
const names = readdirSync(folder).filter((name) => name !== "README.md");
const demonstration = join(root, "examples", demonstrationTopology.name);

/** Kernels of which the driver-less functions have no group: it is made when a driver binds. */
const GROUPED_AT_BIND = new Set(["virtio-iommu-unbound-6.12"]);

interface Judged {
  /** Members joined by blanks, sorted, as `groupSets` gives them. */
  readonly computed: string[];
  readonly recorded: string[];
  readonly capture: Awaited<ReturnType<typeof loadCapture>>;
  readonly unknown: number;
}

async function judge(path: string): Promise<Judged> {
  const capture = await loadCapture([path]);
  const { fabric, facts } = fromCapture(capture);
  const made = linuxGroups(buildFabric(fabric), facts, nearestRules(facts.kernel));
  return {
    capture,
    computed: made.groups.map((group) => group.map(formatBdf).sort().join(" ")).sort(),
    recorded: groupSets(readFileSync(join(path, "groups.txt"), "utf8")),
    unknown: made.unknown.length,
  };
}

/** Groups without the functions that no recorded group has. */
function restricted(computed: readonly string[], recorded: readonly string[]): string[] {
  const known = new Set(recorded.flatMap((one) => one.split(" ")));
  return computed
    .map((one) => one.split(" ").filter((device) => known.has(device)))
    .filter((members) => members.length > 0)
    .map((members) => members.join(" "))
    .sort();
}

for (const name of names) {
  test(`${name}: the groups that kernel made`, async () => {
    const { capture, computed, recorded, unknown } = await judge(join(folder, name));
    assert.match(capture.facts.kernel ?? "", new RegExp(`^${name.split("-").at(-1)}\\b`));
    if (GROUPED_AT_BIND.has(name)) {
      assert.notDeepEqual(computed, recorded, "nothing is left to explain");
      assert.deepEqual(restricted(computed, recorded), recorded);
    } else assert.deepEqual(computed, recorded);
    assert.equal(unknown, 0);
  });

  test(`${name}: every function of sysfs is in the capture`, async () => {
    const { capture } = await judge(join(folder, name));
    const listed = readFileSync(join(folder, name, "devices.txt"), "utf8").matchAll(/^DEV (\S+)/gm);
    assert.deepEqual(
      capture.functions.map((fn) => formatBdf(fn.bdf)),
      [...listed].map((match) => match[1]),
    );
  });
}

test("the demonstration machine: the groups that kernel made, and all it is to show", async () => {
  const { capture, computed, recorded } = await judge(demonstration);
  assert.deepEqual(computed, recorded);
  assert.ok(capture.functions.length >= 20);
  const together = (a: string, b: string) =>
    recorded.some((one) => one.split(" ").includes(a) && one.split(" ").includes(b));
  const separated = "endpoints below a switch without ACS: Linux keeps them apart";
  assert.equal(together("0000:03:00.0", "0000:04:00.0"), false, separated);
  assert.equal(together("0000:07:01.0", "0000:07:02.0"), true, "cards behind a PCIe-to-PCI bridge");
  assert.equal(together("0000:08:00.0", "0000:08:00.1"), true, "functions of one slot");
  assert.equal(together("0000:00:05.0", "0000:0a:00.0"), true, "a port without ACS and its disk");
  assert.equal(together("0000:09:00.0", "0000:09:10.0"), false, "a virtual function stands alone");
});

test("each topology of the tool ships for each of its kernels, and nothing else does", () => {
  const expected = topologies
    .filter((one) => one !== demonstrationTopology)
    .flatMap((one) => one.kernels.map((kernel) => `${one.name}-${kernel}`));
  assert.deepEqual([...names].sort(), expected.sort());
  for (const kernel of ["6.1", "6.12", "7.2"]) {
    assert.ok(names.filter((name) => name.endsWith(`-${kernel}`)).length >= 5, kernel);
  }
});

test("the kernels did what each topology's description expects", () => {
  const read = (path: string, file: string) => readFileSync(join(path, file), "utf8");
  for (const topology of topologies) {
    for (const kernel of topology.kernels) {
      const shipped = join(folder, `${topology.name}-${kernel}`);
      const path = topology === demonstrationTopology ? demonstration : shipped;
      const text = [read(path, "groups.txt"), read(path, "devices.txt")] as const;
      assert.deepEqual(surprises(topology, kernel, ...text), [], `${topology.name} ${kernel}`);
    }
  }
});

test("fixtures stay small", () => {
  for (const name of names) {
    const files = readdirSync(join(folder, name));
    const bytes = files.reduce((sum, file) => sum + statSync(join(folder, name, file)).size, 0);
    assert.ok(bytes < 64 * 1024, `${name}: ${bytes} bytes`);
  }
});

test("a switch without ACS: three kernels keep its downstream ports apart", () => {
  for (const kernel of ["6.1", "6.12", "7.2"]) {
    const path = join(folder, `switch-without-acs-${kernel}`, "groups.txt");
    const sets = groupSets(readFileSync(path, "utf8"));
    for (const pair of [
      "0000:02:00.0 0000:03:00.0",
      "0000:02:01.0 0000:04:00.0",
      "0000:02:02.0 0000:05:00.0",
    ]) {
      assert.ok(sets.includes(pair), `${kernel}: ${pair}`);
    }
  }
});
