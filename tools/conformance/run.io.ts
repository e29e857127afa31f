/** Runs one test program on its platform. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestProgram } from "./judges.js";

/** The kernel gives a test 30 s; a whole program rarely takes minutes. */
const LIMIT_MS = 45 * 60_000;

export interface RunResult {
  readonly output: string;
  readonly log: string;
  /** undefined: ended by a signal, or it took too long. */
  readonly status: number | undefined;
  readonly seconds: number;
}

/** @param repository the folder with `bin/ioasis.js`. */
export function runOnPlatform(
  repository: string,
  program: TestProgram,
  file: string,
  log: string,
): RunResult {
  mkdirSync(dirname(log), { recursive: true });
  const output = openSync(log, "w");
  const began = performance.now();
  const platform = program.platform.endsWith(".yaml")
    ? join(repository, program.platform)
    : program.platform;
  const grant = program.grant === undefined ? [] : ["--grant", program.grant];
  const command = ["run", "--platform", platform, ...grant, "--", file, ...program.arguments];
  const { status } = spawnSync(process.execPath, [join(repository, "bin/ioasis.js"), ...command], {
    stdio: ["ignore", output, output],
    timeout: LIMIT_MS,
    cwd: dirname(file),
  });
  closeSync(output);
  return {
    output: readFileSync(log, "utf8"),
    log,
    status: status ?? undefined,
    seconds: (performance.now() - began) / 1000,
  };
}
