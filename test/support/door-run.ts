/** Programs on platforms, through `ioasis run`, as a user starts them. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BIN = join(ROOT, "bin/ioasis.js");

/** A program takes seconds; one that hangs is to fail as a test, not as a run. */
const LIMIT_MS = 120_000;

export interface Ended {
  /** null: killed. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** As an ordinary user that may not look into other processes: the `restricted` program. */
  readonly restrictedBy?: string;
  readonly cwd?: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly limit?: number;
}

export function platformFile(name: string): string {
  return join(ROOT, "examples/platforms", `${name}.yaml`);
}

/** `ioasis run --platform PLATFORM [RUN OPTIONS] -- COMMAND`. */
export function runOn(
  platform: string,
  command: readonly string[],
  options: RunOptions = {},
  runOptions: readonly string[] = [],
): Ended {
  const restricted = options.restrictedBy === undefined ? [] : [options.restrictedBy];
  const line = [...restricted, process.execPath, BIN, "run", "--platform", platform];
  const [program = "", ...rest] = [...line, ...runOptions, "--", ...command];
  const env = { ...process.env, NO_COLOR: "1", LC_ALL: "C", ...options.env };
  const result = spawnSync(program, rest, {
    encoding: "utf8",
    env,
    input: options.input ?? "",
    timeout: options.limit ?? LIMIT_MS,
    killSignal: "SIGKILL",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** What a shell prints for the command on this machine; undefined: it is not installed. */
export function pathOf(program: string): string | undefined {
  const found = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" });
  return found.status === 0 ? found.stdout.trim() : undefined;
}

/** Why the door cannot be tried here; false: it can. */
export function doorSkip(...programs: readonly string[]): string | false {
  if (process.platform !== "linux") return "the door opens on Linux only";
  for (const name of ["cc", ...programs]) {
    if (pathOf(name) === undefined) return `${name} is not installed`;
  }
  return false;
}

/** A folder that every user may read, removed by `remove`. */
export function scratchFolder(name: string): {
  readonly path: string;
  readonly remove: () => void;
} {
  const path = mkdtempSync(join(tmpdir(), `ioasis-${name}-`));
  chmodSync(path, 0o755);
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Compiles one C source. @throws with what the compiler says. */
export function compile(source: string, output: string, ...options: readonly string[]): string {
  const args = ["-Wall", "-Wextra", "-Werror", "-O1", source, "-o", output, ...options];
  const result = spawnSync("cc", args, { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`cc ${args.join(" ")}\n${result.stderr}`);
  return output;
}

/** Debian's programs, unpacked by `npm run programs`. */
export interface UnpackedPrograms {
  readonly folder: string;
  /** `env` and what makes a program of the folder find its libraries. */
  readonly env: readonly string[];
}

export function unpackedPrograms(): UnpackedPrograms | undefined {
  const { XDG_CACHE_HOME: base = join(homedir(), ".cache") } = process.env;
  const folder = join(base, "ioasis/programs");
  if (!existsSync(join(folder, ".packages"))) return undefined;
  const triple = "x86_64-linux-gnu";
  const libraries = [`usr/lib/${triple}`, `lib/${triple}`, `usr/lib/${triple}/pulseaudio`];
  const path = libraries.map((one) => join(folder, one)).join(":");
  return { folder, env: ["env", `LD_LIBRARY_PATH=${path}`] };
}
