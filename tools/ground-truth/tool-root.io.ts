/**
 * The programs of another Debian release, run from a folder.
 *
 * Packages are unpacked, not installed; a program starts through that folder's own dynamic loader
 * and libraries, so it does not matter which release the machine itself runs.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "../debian/apt.io.js";
import { type AptRelease, closure, download, unpack } from "../debian/apt.io.js";
import { run } from "../debian/command.io.js";
import { ToolError } from "../debian/tool-error.js";

export interface ToolRoot {
  readonly folder: string;
  readonly architecture: Architecture;
  /** `name version` of each package asked for. */
  readonly versions: ReadonlyMap<string, string>;
}

/** Unpacks `packages` with all dependencies below `cache`; reused when nothing changed. */
export function prepareToolRoot(
  release: AptRelease,
  cache: string,
  purpose: "host" | "guest",
  packages: readonly string[],
): ToolRoot {
  const files = closure(release, packages);
  const folder = join(cache, `${purpose}-${release.architecture}`);
  const stamp = join(folder, ".packages");
  const list = `${files.map((one) => one.file).join("\n")}\n`;
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== list) {
    const paths = download(release, files);
    mkdirSync(folder, { recursive: true });
    unpack(paths, folder);
    writeFileSync(stamp, list);
  }
  const versions = new Map<string, string>();
  for (const one of files) {
    if (!packages.includes(one.name)) continue;
    versions.set(one.name, decodeURIComponent(one.file.split("_")[1] ?? ""));
  }
  return { folder, architecture: release.architecture, versions };
}

/** Program and leading arguments that start `path` (as "usr/bin/xz") from the root. */
export function commandOf(root: ToolRoot, path: string): [string, string[]] {
  const loader = ["usr/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"]
    .map((one) => join(root.folder, one))
    .find((one) => existsSync(one));
  const program = join(root.folder, path);
  if (loader === undefined) throw new ToolError(`no dynamic loader below ${root.folder}`);
  if (!existsSync(program)) throw new ToolError(`${path} is not below ${root.folder}`);
  return [loader, ["--library-path", libraryPath(root).join(":"), program]];
}

/** Folders that hold the root's shared libraries. */
export function libraryPath(root: ToolRoot): string[] {
  const triple = root.architecture === "amd64" ? "x86_64-linux-gnu" : "aarch64-linux-gnu";
  return [`usr/lib/${triple}`, `lib/${triple}`, `usr/lib/${triple}/pulseaudio`]
    .map((one) => join(root.folder, one))
    .filter((one) => existsSync(one));
}

/** Standard output of a program of the root. */
export function runInRoot(
  root: ToolRoot,
  path: string,
  args: readonly string[],
  input?: Uint8Array,
): Buffer {
  const [program, leading] = commandOf(root, path);
  return run(program, [...leading, ...args], input === undefined ? {} : { input });
}
