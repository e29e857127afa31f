/**
 * The library that is loaded into programs: built with the package, or compiled once into a cache.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
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
  const version = hash.digest("hex").slice(0, 16);
  const cached = cacheFolders().map((cache) => join(cache, version, name));
  const found = cached.find((path) => existsSync(path));
  if (found !== undefined) return found;
  const path = join(writableFolder(version), name);
  const files = sources.filter((file) => file.endsWith(".c"));
  compile(folder, files, path);
  return path;
}

/** Where compiled libraries may lie; the second for users without a home of their own. */
function cacheFolders(): string[] {
  const own = `/tmp/ioasis-cache-${process.getuid?.() ?? 0}`;
  const cache = process.env["XDG_CACHE_HOME"] ?? homeCache();
  const folders = cache === undefined ? [] : [join(cache, "ioasis")];
  return isOwn(own) || !existsSync(own) ? [...folders, own] : folders;
}

function homeCache(): string | undefined {
  try {
    return join(homedir(), ".cache");
  } catch {
    return undefined;
  }
}

/** Nobody else may put a library there. */
function isOwn(folder: string): boolean {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  const uid = process.getuid?.() ?? 0;
  return stat?.isDirectory() === true && stat.uid === uid && (stat.mode & 0o077) === 0;
}

/** Makes the first folder of the caches that can be written. @throws DaemonError. */
function writableFolder(version: string): string {
  let why = "no folder for it";
  for (const cache of cacheFolders()) {
    const folder = join(cache, version);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      accessSync(folder, constants.W_OK);
      return folder;
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
    }
  }
  throw new DaemonError(`the client library cannot be compiled: ${why}`);
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
