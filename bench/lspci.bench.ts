/**
 * Whole processes on the same file: `lspci -F dump -vvv` decodes 5,000 functions of 4,096 bytes,
 * `ioasis groups --from dump` computes their groups. At most 0.8 times as long.
 *
 * Both write to nowhere, so that no terminal or pipe is measured.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { syntheticHost, writeHexDump } from "../test/support/synthetic-host.js";
import { type Bench, interleave, median, medianRatio, ROOT } from "./harness.js";

const GOAL = 0.8;
const FUNCTIONS = 5000;
const METRIC = `lspci.groups-of-${FUNCTIONS}-functions`;

function runQuietly(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  if (status !== 0) throw new Error(`${command} exits ${status}: ${stderr}`);
}

function hasLspci(): boolean {
  return spawnSync("lspci", ["--version"]).status === 0;
}

export const bench: Bench = {
  name: "against lspci, on one dump",
  run: async ({ report, skip, size }) => {
    if (!hasLspci()) {
      skip(METRIC, "lspci is not installed (Debian package pciutils)");
      return;
    }
    const folder = mkdtempSync(join(tmpdir(), "ioasis-bench-"));
    try {
      const dump = join(folder, "dump");
      await writeHexDump(dump, syntheticHost(FUNCTIONS));
      const command = join(ROOT, "bin", "ioasis.js");
      const taken = await interleave(size === "ci" ? 5 : 9, {
        lspci: () => runQuietly("lspci", ["-F", dump, "-vvv"]),
        groups: () => runQuietly(process.execPath, [command, "groups", "--from", dump]),
      });
      const ms = (values: readonly number[]): string => `${median(values).toFixed(0)} ms`;
      report({
        metric: METRIC,
        value: medianRatio(taken.groups, taken.lspci),
        unit: "x",
        goal: GOAL,
        floor: `lspci -F -vvv: ${ms(taken.lspci)}, groups: ${ms(taken.groups)}`,
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
