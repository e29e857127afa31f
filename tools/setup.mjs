/**
 * Brings a clone to a state that can run: dependencies as the lock file says, sources compiled, the
 * command bundled. Needs nothing but Node and npm, so it is plain JavaScript without imports of
 * packages. Each step first looks whether there is anything to do; when nothing changed all take
 * about 0.2 s.
 */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
const OLDEST_NODE = 20;

/** Ends the process with a sentence instead of a stack trace. */
export function stop(message) {
  console.error(message);
  process.exit(1);
}

/**
 * Runs a program in the repository's root and returns its exit status; output goes to the terminal.
 */
export function run(command, args, options = {}) {
  const { error, status } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit", ...options });
  if (error !== undefined) stop(`cannot run ${command}: ${error.message}`);
  return status ?? 1;
}

export function requireNode() {
  const major = Number.parseInt(process.versions.node, 10);
  if (major < OLDEST_NODE) {
    stop(`ioasis needs Node ${OLDEST_NODE} or later; this is ${process.version}`);
  }
}

/** Names of packages that the lock file wants and `node_modules` does not have in that version. */
export function packagesOutOfStep() {
  const wanted = readLock(join(ROOT, "package-lock.json"));
  const present = readLock(join(ROOT, "node_modules", ".package-lock.json"));
  const missing = [];
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "" || entry.optional === true || entry.link === true) continue;
    if (present[path]?.version !== entry.version) missing.push(path.replace("node_modules/", ""));
  }
  return missing;
}

function readLock(path) {
  if (!existsSync(path)) return {};
  return JSON.parse(readFileSync(path, "utf8")).packages ?? {};
}

export function installIfNeeded() {
  const missing = packagesOutOfStep();
  if (missing.length === 0) return;
  const modules = join(ROOT, "node_modules");
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink()) {
    stop(`node_modules is a symbolic link and lacks ${missing.join(", ")}: install where it leads`);
  }
  console.log(`Installing ${missing.length} packages (npm ci) ...`);
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  if (run(npm, args) !== 0) {
    stop(
      "npm ci failed; its message is above. A mirror or proxy is set with: npm config set registry",
    );
  }
}

export function build() {
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  if (run(process.execPath, [tsc, "-b", "tsconfig.json"]) !== 0) {
    stop("The sources do not compile; the compiler's messages are above.");
  }
  if (run(process.execPath, [join(ROOT, "tools", "bundle.mjs")]) !== 0) {
    stop("The command could not be bundled; the message is above.");
  }
}

/** The preload library; without a C compiler all but the door to programs works. */
export function buildClient() {
  if (process.platform !== "linux") return;
  const library = join(ROOT, "dist", "client", "libioasis.so");
  const newest = Math.max(
    ...readdirSync(join(ROOT, "client")).map((f) => statSync(join(ROOT, "client", f)).mtimeMs),
  );
  if (existsSync(library) && statSync(library).mtimeMs >= newest) return;
  const { error, status } = spawnSync("make", ["-s", "-C", join(ROOT, "client")], {
    stdio: "inherit",
  });
  if (error !== undefined || status !== 0) {
    console.error(
      "No client library: programs cannot be started on a platform (needs cc and make).",
    );
  }
}

/** What keeps a daemon alive when a program truncates a file; without it that is not guarded. */
export function buildGuard() {
  if (process.platform !== "linux") return;
  const library = join(ROOT, "dist", "client", "libioasis-guard.so");
  const source = join(ROOT, "src", "daemon", "native", "guard.c");
  const made = statSync(library, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (made >= statSync(source).mtimeMs) return;
  mkdirSync(join(ROOT, "dist", "client"), { recursive: true });
  const flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"];
  spawnSync("cc", [...flags, "-o", library, source], { stdio: "inherit" });
}

export function setup() {
  requireNode();
  installIfNeeded();
  build();
  buildClient();
  buildGuard();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setup();
