/**
 * The package as a stranger gets it: packs it, installs the tarball into an empty folder, compiles
 * the example against its types, runs the example and the command from there.
 *
 * Needs a built tree and the registry (or npm's cache) for the package's own dependencies.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./setup.mjs";

const EXAMPLE = join(ROOT, "examples", "as-a-library");
/** The C of `src/daemon/native` is compiled where the package is installed, as the client is. */
const UNWANTED =
  /\.test\.|\.tsbuildinfo$|\.map$|^dist\/(?:test|tools|bench)\/|^(?:src\/(?!daemon\/native\/)|test\/|tools\/)/;

let passed = 0;
let failed = 0;

function check(name, ok, detail = "") {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? "ok    " : "FAILED"} ${name}${ok || detail === "" ? "" : `\n${detail}`}`);
  return ok;
}

function call(command, args, cwd) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  return { ok: status === 0, status, out: stdout ?? "", text: `${stdout ?? ""}${stderr ?? ""}` };
}

/** Every file that `exports` and `bin` of package.json lead to. */
function promisedFiles(manifest) {
  const targets = Object.values(manifest.exports).flatMap((t) =>
    typeof t === "string" ? [t] : Object.values(t),
  );
  return [...targets, ...Object.values(manifest.bin)]
    .filter((path) => !path.includes("*"))
    .map((path) => path.replace(/^\.\//, ""));
}

function pack(folder) {
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const result = call("npm", args, ROOT);
  if (!check("npm pack", result.ok, result.text)) return undefined;
  const listing = JSON.parse(result.out);
  // npm 10 prints a list, later versions an object by package name.
  const [entry] = Array.isArray(listing) ? listing : Object.values(listing);
  const paths = entry.files.map((file) => file.path);
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const missing = promisedFiles(manifest).filter((path) => !paths.includes(path));
  check("exports and bin lead to packed files", missing.length === 0, missing.join("\n"));
  const unwanted = paths.filter((path) => UNWANTED.test(path));
  check("no tests, sources or maps are packed", unwanted.length === 0, unwanted.join("\n"));
  console.log(`       ${paths.length} files, ${(entry.size / 1024).toFixed(0)} KiB packed`);
  return join(folder, entry.filename);
}

function runExample(folder) {
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const compiled = call(process.execPath, [tsc, "-p", "."], folder);
  check("the example compiles against the packed types", compiled.ok, compiled.text);
  const ran = call(process.execPath, ["main.js"], folder);
  const expected = readFileSync(join(EXAMPLE, "expected.txt"), "utf8");
  check("the example prints what it should", ran.ok && ran.out === expected, ran.text);
}

function runCommand(folder) {
  const command = join(folder, "node_modules", ".bin", "ioasis");
  const help = call(command, ["--help"], folder);
  check("the installed command prints help", help.ok && help.out.includes("groups"), help.text);
  const capture = join(ROOT, "examples", "captured-machine");
  if (!existsSync(capture)) return;
  const groups = call(command, ["groups", "--from", capture, "--json"], folder);
  const isGroups = groups.ok && JSON.parse(groups.out).schema === "ioasis/groups/1";
  check("the installed command computes groups", isGroups, groups.text);
}

const folder = mkdtempSync(join(tmpdir(), "ioasis-pack-"));
try {
  const tarball = pack(folder);
  if (tarball !== undefined) {
    cpSync(EXAMPLE, folder, { recursive: true });
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    manifest.dependencies.ioasis = `file:${tarball}`;
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    const args = ["install", "--omit=dev", "--prefer-offline", "--no-audit", "--no-fund"];
    const installed = call("npm", args, folder);
    if (check("the tarball installs elsewhere", installed.ok, installed.text)) {
      runExample(folder);
      runCommand(folder);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
