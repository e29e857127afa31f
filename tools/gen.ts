/**
 * `npm run gen [-- --check]`: runs every generator, that is every `tools/gen-*.ts`. With `--check`
 * each compares what it would write with what is there, and the exit code is 1 when one differs.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { COMPILED_TOOLS, ROOT } from "./root.js";

function generators(): string[] {
  // From the sources, so that a generator removed long ago and still compiled does not run.
  return readdirSync(join(ROOT, "tools"))
    .filter((name) => /^gen-.*\.ts$/.test(name) && !name.endsWith(".test.ts"))
    .map((name) => name.replace(/\.ts$/, ".js"))
    .sort();
}

function main(args: readonly string[]): number {
  let failed = 0;
  for (const name of generators()) {
    const { status } = spawnSync(process.execPath, [join(COMPILED_TOOLS, name), ...args], {
      cwd: ROOT,
      stdio: "inherit",
    });
    if (status === 0) continue;
    failed++;
    console.log(
      `${name.replace(/\.js$/, ".ts")}: exit ${status}; \`npm run gen\` writes the files anew`,
    );
  }
  return failed === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
