/**
 * How long the whole process takes for the smallest useful job, against Node doing nothing.
 *
 * `ioasis groups --from` a capture of 40 functions: at most 2.5 times `node -e 0`, on the Node that
 * runs this.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hexDumpOf, syntheticHost } from "../test/support/synthetic-host.js";
import { type Bench, interleave, median, medianRatio, ROOT } from "./harness.js";

const GOAL = 2.5;
const FUNCTIONS = 40;

function runNode(...args: string[]): void {
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`node ${args.join(" ")} exits ${status}: ${stderr}`);
}

export const bench: Bench = {
  name: "start-up of the command",
  run: async ({ report, size }) => {
    const folder = mkdtempSync(join(tmpdir(), "ioasis-bench-"));
    try {
      const capture = join(folder, "lspci.txt");
      writeFileSync(
        capture,
        syntheticHost(FUNCTIONS)
          .map((fn) => hexDumpOf(fn))
          .join("\n"),
      );
      const command = join(ROOT, "bin", "ioasis.js");
      const taken = await interleave(size === "ci" ? 9 : 21, {
        nothing: () => runNode("-e", "0"),
        groups: () => runNode(command, "groups", "--from", capture),
      });
      report({
        metric: "startup.groups-40-functions",
        value: medianRatio(taken.groups, taken.nothing),
        unit: "x",
        goal: GOAL,
        floor: `node -e 0: ${median(taken.nothing).toFixed(1)} ms`,
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
