/**
 * The library that is loaded into programs: built with the package, or compiled once into a cache.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { DaemonError } from "../place/daemon-error.js";

export const CLIENT_NAME = "libioasis.so";
const FLAGS = "-std=gnu11 -O2 -fPIC -shared -fvisibility=hidden -fno-strict-aliasing".split(" ");

/**
 * The path of the library that is loaded into programs.
 * @param root the package's folder.
 * @throws DaemonError when there is no library and no compiler.
 */
export function clientLibrary(root: string): string {
  return compiled(root, "client", CLIENT_NAME);
}

/** The path of the daemon's own guard; undefined when it cannot be had: the daemon runs without. */
export function guardLibrary(root: string): string | undefined {
  try {
    return compiled(root, join("src", "daemon", "native"), "libioasis-guard.so");
  } catch {
    return undefined;
  }
}

function compiled(root: string, place: string, name: string): string {
  const folder = join(root, place);
  const built = join(root, "dist", "client", name);
  const age = statSync(built, { throwIfNoEntry: false })?.mtimeMs;
  // A source that was edited since is compiled into the cache.
  const isNewer = (file: string): boolean => statSync(join(folder, file)).mtimeMs > (age ?? 0);
  if (age !== undefined && !readdirSync(folder).some(isNewer)) return built;
  const sources = readdirSync(folder)
    .filter((file) => /\.[ch]$/.test(file))
    .sort();
  const hash = createHash("sha256").update(process.arch);
  for (const file of sources) hash.update(readFileSync(join(folder, file)));
  const cache = join(
    process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
    "ioasis",
    hash.digest("hex").slice(0, 16),
  );
  const path = join(cache, name);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const files = sources.filter((file) => file.endsWith(".c"));
  compile(folder, files, path);
  return path;
}

function compile(folder: string, sources: readonly string[], path: string): void {
  const made = `${path}.${process.pid}`;
  const files = sources.map((name) => join(folder, name));
  try {
    const stdio = ["ignore", "ignore", "pipe"] as const;
    execFileSync("cc", [...FLAGS, "-o", made, ...files, "-ldl", "-lpthread"], {
      stdio: [...stdio],
    });
    renameSync(made, path);
  } catch (error) {
    rmSync(made, { force: true });
    const { code, message, stderr } = error as Error & { code?: string; stderr?: Buffer };
    if (code === "ENOENT") {
      throw new DaemonError("no C compiler (cc) to build the client library with: install gcc");
    }
    throw new DaemonError(`the client library does not compile: ${stderr?.toString() || message}`);
  }
}
