/** A kernel's sources and headers, from Debian's packages, below the cache. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type AptRelease,
  download,
  hostMirror,
  newest,
  openRelease,
  type PackageFile,
  unpack,
} from "../debian/apt.io.js";
import { run } from "../debian/command.io.js";
import { ToolError } from "../debian/tool-error.js";
import { type KernelJudge, UNPACKED } from "./judges.js";

export interface KernelSources {
  /** Top of the source tree. */
  readonly folder: string;
  /** Headers for programs, of the same version. */
  readonly headers: string;
  /** `linux-source-7.2 7.2.13-1`. */
  readonly package: string;
  /** The suite has moved on to another version. */
  readonly reportOnly: boolean;
}

export interface Cache {
  readonly folder: string;
  readonly mirror: string | undefined;
  readonly refresh: boolean;
}

/** Fetches what is not there yet. @throws ToolError: no apt, no network, no such package. */
export function prepareSources(cache: Cache, kernel: KernelJudge): KernelSources {
  const mirror = cache.mirror ?? hostMirror();
  const release = openRelease(cache.folder, kernel.suite, "amd64", mirror, cache.refresh);
  const exact = newest(release, new RegExp(`^linux-source-${kernel.version}$`));
  const source = exact ?? newest(release, /^linux-source-\d+\.\d+$/);
  const headers = newest(release, /^linux-libc-dev$/);
  if (source === undefined || headers === undefined) {
    throw new ToolError(`Debian ${kernel.suite} has no kernel sources: try again with --refresh`);
  }
  const folder = join(cache.folder, `linux-${kernel.version}`);
  onceFor(source, folder, () => unpackSources(release, source, folder, kernel));
  const headerFolder = join(cache.folder, `headers-${kernel.version}`);
  onceFor(headers, headerFolder, () => unpack(download(release, [headers]), headerFolder));
  return {
    folder,
    headers: join(headerFolder, "usr/include"),
    package: `${source.name} ${versionOf(source)}`,
    reportOnly: exact === undefined,
  };
}

function versionOf(one: PackageFile): string {
  return decodeURIComponent(one.file.split("_")[1] ?? "");
}

/** Runs `fill` on an empty folder unless it was filled from the same package. */
function onceFor(one: PackageFile, folder: string, fill: () => void): void {
  const stamp = join(folder, ".package");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === one.file) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  fill();
  writeFileSync(stamp, one.file);
}

function unpackSources(
  release: AptRelease,
  source: PackageFile,
  folder: string,
  kernel: KernelJudge,
): void {
  const scratch = `${folder}.package`;
  rmSync(scratch, { recursive: true, force: true });
  unpack(download(release, [source]), scratch);
  const sources = join(scratch, "usr/src");
  const archive = readdirSync(sources).find((name) => /^linux-source-.*\.tar\.xz$/.test(name));
  if (archive === undefined) throw new ToolError(`${source.file} holds no archive of sources`);
  const suites = kernel.suites.map((suite) => suite.folder);
  const wanted = UNPACKED.filter((one) => {
    const suite = /selftests\/(\w+)\/\*$/.exec(one)?.[1];
    return suite === undefined || suites.includes(suite);
  });
  const members = wanted.map((one) => `*/${one}`);
  const options = ["--strip-components=1", "--wildcards", "--no-wildcards-match-slash"];
  run("tar", ["-C", folder, ...options, "-xf", join(sources, archive), ...members]);
  rmSync(scratch, { recursive: true, force: true });
}

/** Headers and static libraries that the programs need, unpacked unless the machine has them. */
export function prepareLibraries(cache: Cache): string {
  const folder = join(cache.folder, "libraries");
  const stamp = join(folder, ".complete");
  if (existsSync(stamp)) return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  run("sh", ["-c", 'cd "$1" && apt-get -q download libcap-dev uuid-dev', "sh", folder]);
  const packages = readdirSync(folder).filter((name) => name.endsWith(".deb"));
  unpack(
    packages.map((name) => join(folder, name)),
    folder,
  );
  writeFileSync(stamp, "");
  return folder;
}
