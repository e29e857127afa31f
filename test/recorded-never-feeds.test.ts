/**
 * Recorded groups never feed the calculation: every sample, with every recorded group taken out of
 * every file
 * (lines of lspci and logs, group lists, group links of trees), gives byte for byte the same
 * computed groups.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { fromCapture } from "../src/host/index.js";
import { loadCapture } from "../src/host/io/index.js";
import { analyse, type RuleSet } from "../src/isolation/index.js";
import { buildFabric } from "../src/pcie/index.js";
import { sharedFolder, skipWithoutShared } from "./support/shared.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const RULES: readonly RuleSet[] = ["linux-6.1", "linux-6.12", "linux-7.2", "device-centric"];
const scratch = mkdtempSync(join(tmpdir(), "ioasis-strip-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** Files that hold nothing but groups. */
const GROUP_FILES = /^(groups\.(txt|tsv)|iommu_groups\.txt|reserved\.txt|SOURCE|README.*)$/;

const GROUP_LINES: readonly RegExp[] = [
  /^.*IOMMU group:.*\n/gim,
  /^.*(Adding to iommu group|Adding device .* to group|iommu: Removing device).*\n/gim,
  /^.*\/iommu_groups\/.*\n/gim,
];

function strip(text: string): string {
  let out = text;
  for (const line of GROUP_LINES) out = out.replace(line, "");
  return out.replace(/ group=\S+/g, "");
}

/** Bytes that are no text stay as they are. */
function stripped(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1");
  return text.includes("\0") ? bytes : Buffer.from(strip(text), "latin1");
}

async function computed(folder: string): Promise<string> {
  const { fabric: description, facts } = fromCapture(await loadCapture([folder]));
  const fabric = buildFabric(description);
  return JSON.stringify(
    RULES.map((rules) => {
      const { partition } = analyse(fabric, facts, { rules });
      return { rules, groups: partition.groups, ungrouped: partition.ungrouped };
    }),
    (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value),
  );
}

/** Two copies of the same files, one with and one without groups, so that paths play no part. */
async function check(folder: string, files: readonly string[]): Promise<void> {
  const whole = mkdtempSync(join(scratch, "whole-"));
  const bare = mkdtempSync(join(scratch, "bare-"));
  for (const file of files) {
    const bytes = readFileSync(join(folder, file));
    writeFileSync(join(whole, file), bytes);
    if (!GROUP_FILES.test(file)) writeFileSync(join(bare, file), stripped(bytes));
  }
  const { recorded } = await loadCapture([bare]);
  assert.equal(recorded, null, `${folder}: groups were left in`);
  assert.equal(await computed(bare), await computed(whole), folder);
}

/** Folders that hold two states of one host are taken file by file elsewhere. */
const TWO_STATES = /^(15|19)-/;
/** Nothing but a list of groups tells of devices there. */
const ONLY_LISTS = /^(24|31)-/;

function samplesBelow(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => statSync(join(folder, name)).isDirectory())
    .filter((name) => !TWO_STATES.test(name) && !ONLY_LISTS.test(name) && !/^hwloc/.test(name))
    .map((name) => join(folder, name));
}

function checkFolder(folder: string): void {
  for (const sample of samplesBelow(folder)) {
    const files = readdirSync(sample).filter((file) => statSync(join(sample, file)).isFile());
    test(sample.slice(folder.length + 1), () => check(sample, files));
  }
}

describe("shipped machines: computed groups without the recorded ones", () => {
  checkFolder(join(ROOT, "test/fixtures/ground-truth"));
});

describe("shared samples: the same", { skip: skipWithoutShared() }, () => {
  const shared = sharedFolder();
  if (shared === undefined) return;
  checkFolder(join(shared, "groundtruth"));
  checkFolder(join(shared, "hosts"));
  const two = join(shared, "hosts/15-emerson-amd-raven-gpu-2020");
  test("two states, one at a time", () => check(two, ["lspci-vv.txt", "dmesg-5.9.3.txt"]));
});
