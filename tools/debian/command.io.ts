/** Running programs: output captured, failures become a {@link ToolError} naming the program. */
import { spawnSync } from "node:child_process";
import { ToolError } from "./tool-error.js";

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: Uint8Array;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** Standard output of `program`; throws {@link ToolError} when it is missing or fails. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Buffer {
  const result = spawnSync(program, [...args], {
    env: { ...process.env, LC_ALL: "C", ...options.env },
    maxBuffer: 1 << 30,
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
  });
  if (result.error !== undefined) throw new ToolError(explainStart(program, result.error));
  if (result.status !== 0) {
    const said = result.stderr.toString("utf8").trim().split("\n").slice(-5).join("\n  ");
    throw new ToolError(`${program} ${args.join(" ")} failed (${result.status}):\n  ${said}`);
  }
  return result.stdout;
}

const packageOf: Readonly<Record<string, string>> = {
  "apt-get": "apt",
  "apt-cache": "apt",
  "dpkg-deb": "dpkg",
  tar: "tar",
  nice: "coreutils",
  gcc: "gcc",
};

function explainStart(program: string, error: Error & { code?: string }): string {
  if (error.code === "ENOENT") {
    const from = packageOf[program];
    const hint = from === undefined ? "" : ` (Debian package ${from})`;
    return `${program} is not installed${hint}; this tool runs on Debian and its derivatives`;
  }
  return `${program}: ${error.message}`;
}
