/**
 * A private apt: packages of any Debian release, in a cache folder, without root and without
 * installing anything.
 *
 * Each release has a folder of its own with an empty dpkg status, so apt resolves the whole
 * dependency closure instead of relying on what the machine happens to have. Signatures are checked
 * with Debian's archive keyring. The mirror is the one the machine's own apt uses.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { run } from "./command.io.js";
import { ToolError } from "./tool-error.js";

/** Debian's name of a processor architecture. */
export type Architecture = "amd64" | "arm64";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

export interface AptRelease {
  readonly suite: string;
  readonly architecture: Architecture;
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
}

/** One package as apt would fetch it. */
export interface PackageFile {
  readonly name: string;
  readonly file: string;
}

/** URL of the Debian mirror in the machine's apt configuration. */
export function hostMirror(): string {
  const format = "$(ORIGIN)|$(COMPONENT)|$(REPO_URI)|$(CODENAME)";
  const lines = run("apt-get", ["indextargets", "--format", format]).toString("utf8").split("\n");
  for (const line of lines) {
    const [origin, component, uri, codename] = line.split("|");
    if (origin !== "Debian" || component !== "main" || uri === undefined) continue;
    if (codename?.endsWith("-security") !== true) return uri;
  }
  throw new ToolError(
    "no Debian mirror in the apt configuration of this machine: " +
      "run 'apt-get update' once, or pass --mirror URL",
  );
}

/**
 * Prepares the private apt of one release; fetches the package lists when absent or `refresh`.
 * @param beside suites that packages of `suite` depend on, for one that is not complete
 * (backports).
 */
export function openRelease(
  cache: string,
  suite: string,
  architecture: Architecture,
  mirror: string,
  refresh: boolean,
  beside: readonly string[] = [],
): AptRelease {
  if (!existsSync(keyring)) {
    throw new ToolError(`${keyring} is missing: install the package debian-archive-keyring`);
  }
  const suites = [suite, ...beside];
  const folder = join(cache, "apt", `${suites.join("+")}-${architecture}`);
  for (const sub of ["lists/partial", "archives/partial", "packages"]) {
    mkdirSync(join(folder, sub), { recursive: true });
  }
  writeFileSync(join(folder, "status"), "");
  writeFileSync(
    join(folder, "sources.list"),
    suites
      .map((one) => `deb [arch=${architecture} signed-by=${keyring}] ${mirror} ${one} main\n`)
      .join(""),
  );
  writeFileSync(join(folder, "apt.conf"), configuration(folder, architecture, suite));
  const release = { suite, architecture, folder, env: { APT_CONFIG: join(folder, "apt.conf") } };
  const stamp = join(folder, "lists-complete");
  if (refresh || !existsSync(stamp)) {
    run("apt-get", ["update"], { env: release.env });
    writeFileSync(stamp, "");
  }
  return release;
}

function configuration(folder: string, architecture: Architecture, suite: string): string {
  const settings: readonly (readonly [string, string])[] = [
    ["Dir::State", folder],
    ["Dir::State::lists", join(folder, "lists")],
    ["Dir::State::status", join(folder, "status")],
    ["Dir::Cache", folder],
    ["Dir::Cache::archives", join(folder, "archives")],
    ["Dir::Etc::sourcelist", join(folder, "sources.list")],
    ["Dir::Etc::sourceparts", "-"],
    ["Dir::Etc::preferences", "-"],
    ["Dir::Etc::preferencesparts", "-"],
    ["APT::Default-Release", suite],
    ["APT::Architecture", architecture],
    ["APT::Sandbox::User", "root"],
    ["Acquire::Languages", "none"],
  ];
  const lines = settings.map(([key, value]) => `${key} "${value}";`);
  lines.push("#clear APT::Architectures;", `APT::Architectures { "${architecture}"; };`);
  return `${lines.join("\n")}\n`;
}

/** The packages a fresh system would need for `wanted`, dependencies included. */
export function closure(release: AptRelease, wanted: readonly string[]): PackageFile[] {
  const args = ["-y", "--no-install-recommends", "--print-uris", "install", ...wanted];
  const text = run("apt-get", args, { env: release.env }).toString("utf8");
  const files: PackageFile[] = [];
  for (const line of text.split("\n")) {
    const match = /^'[^']*' (\S+\.deb) /.exec(line);
    const file = match?.[1];
    if (file === undefined) continue;
    files.push({ name: file.slice(0, file.indexOf("_")), file });
  }
  return files;
}

/** Downloads what is not yet in the cache; paths in the order of `files`. */
export function download(release: AptRelease, files: readonly PackageFile[]): string[] {
  const folder = join(release.folder, "packages");
  const missing = files.filter((one) => !existsSync(join(folder, one.file)));
  if (missing.length > 0) {
    const command = `cd "$1" && shift && exec apt-get download "$@"`;
    const names = missing.map((one) => one.name);
    try {
      run("sh", ["-c", command, "sh", folder, ...names], { env: release.env });
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      throw new ToolError(
        `${error.message}\n  (package lists may be old: try again with --refresh)`,
      );
    }
  }
  return files.map((one) => {
    const path = join(folder, one.file);
    if (!existsSync(path)) throw new ToolError(`apt-get did not deliver ${basename(path)}`);
    return path;
  });
}

/** The newest package of `release` whose name fits `pattern`, without its dependencies. */
export function newest(release: AptRelease, pattern: RegExp): PackageFile | undefined {
  const names = run("apt-cache", ["pkgnames"], { env: release.env }).toString("utf8").split("\n");
  const fitting = names.filter((name) => pattern.test(name)).sort(byVersion);
  const name = fitting.at(-1);
  if (name === undefined) return undefined;
  const args = ["--print-uris", "download", name];
  const text = run("apt-get", args, { env: release.env }).toString("utf8");
  const file = /^'[^']*' (\S+\.deb) /m.exec(text)?.[1];
  return file === undefined ? undefined : { name, file };
}

function byVersion(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

/** Unpacks whole packages into `target`. */
export function unpack(packages: readonly string[], target: string): void {
  mkdirSync(target, { recursive: true });
  for (const path of packages) run("dpkg-deb", ["-x", path, target]);
}
