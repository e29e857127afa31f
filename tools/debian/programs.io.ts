/**
 * `npm run programs`: QEMU and DPDK as Debian builds them, unpacked below the cache for the tests
 * that run them on a platform.
 *
 * They use this machine's C library, so it must be at least as new as that of Debian 12; all other
 * libraries come along. Exit status 3: this machine cannot do it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { closure, download, hostMirror, openRelease, unpack } from "./apt.io.js";
import { ToolError } from "./tool-error.js";

const SUITE = "bookworm-backports";
const BASE = "bookworm";
const PACKAGES: readonly string[] = ["qemu-system-x86", "dpdk", "dpdk-dev"];

/** What every machine has, in its own version. */
const OF_THE_MACHINE = /^(libc6|libc-bin|libgcc-s1|gcc-12-base|libc6-dev|linux-libc-dev)$/;

export function programsFolder(): string {
  const { XDG_CACHE_HOME: base = join(homedir(), ".cache") } = process.env;
  return join(base, "ioasis", "programs");
}

function main(): void {
  const cache = join(programsFolder(), "..");
  mkdirSync(cache, { recursive: true });
  const release = openRelease(cache, SUITE, "amd64", hostMirror(), false, [BASE]);
  const files = closure(release, PACKAGES).filter((one) => !OF_THE_MACHINE.test(one.name));
  const folder = programsFolder();
  const stamp = join(folder, ".packages");
  const list = `${files.map((one) => one.file).join("\n")}\n`;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === list) {
    console.log(`${folder} is complete`);
    return;
  }
  rmSync(folder, { recursive: true, force: true });
  unpack(download(release, files), folder);
  writeFileSync(stamp, list);
  console.log(`${files.length} packages in ${folder}`);
}

try {
  main();
} catch (error) {
  if (!(error instanceof ToolError)) throw error;
  console.error(error.message);
  process.exitCode = 3;
}
