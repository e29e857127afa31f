/** The client as its tests build it: library, test server and test programs, in one directory. */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-stringop-overflow"];

/** Why the client cannot be built here; undefined: it can. */
export function whyNoClient(): string | undefined {
  if (process.platform !== "linux") return "the client is for Linux";
  if (process.arch !== "x64" && process.arch !== "arm64") return "no client for this machine";
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
    execFileSync("make", ["--version"], { stdio: "ignore" });
  } catch {
    return "no C compiler or no make";
  }
  return undefined;
}

export function buildLibrary(into: string): string {
  const make = ["-s", "-C", join(ROOT, "client"), `OUT=${into}`];
  execFileSync("make", make, { stdio: ["ignore", "ignore", "inherit"] });
  return join(into, "libioasis.so");
}

export function buildProgram(name: string, into: string): string {
  const out = join(into, name);
  const source = join(ROOT, "test", "client", `${name}.c`);
  execFileSync("cc", [
    ...WARNINGS,
    "-Wno-stringop-overread",
    "-O1",
    "-o",
    out,
    source,
    "-lpthread",
  ]);
  return out;
}

export interface Bench {
  /** Runs a program under the library; its exit code and what it wrote. */
  run(command: string, ...args: string[]): Promise<{ code: number; out: string; err: string }>;
  close(): void;
}

const DEVICE = "sys/devices/pci0000:00/0000:00:01.0";
const LINKS: readonly (readonly [string, string])[] = [
  ["sys/bus/pci/devices/0000:00:01.0", `../../../../${DEVICE}`],
  ["sys/bus/pci/drivers/vfio-pci/0000:00:01.0", `../../../../../${DEVICE}`],
  ["sys/kernel/iommu_groups/1/devices/0000:00:01.0", `../../../../../${DEVICE}`],
  [`${DEVICE}/driver`, "../../../bus/pci/drivers/vfio-pci"],
  [`${DEVICE}/subsystem`, "../../../bus/pci"],
  [`${DEVICE}/iommu_group`, "../../../kernel/iommu_groups/1"],
];
/** Path, mode, size: for a device its number. */
const ACTIVE: readonly (readonly [string, number, number])[] = [
  [`${DEVICE}/config`, 0o1644, 256],
  [`${DEVICE}/driver_override`, 0o1644, 4096],
  [`${DEVICE}/busy`, 0o1644, 4096],
  ["sys/bus/pci/drivers/vfio-pci/bind", 0o1200, 4096],
  ["dev/iommu", 0o1666, (10 << 20) | 125],
  ["dev/vfio/vfio", 0o1666, (10 << 20) | 196],
  ["dev/vfio/devices/vfio0", 0o1666, 511 << 20],
];
const TEXTS: readonly (readonly [string, string])[] = [
  [`${DEVICE}/vendor`, "0x8086\n"],
  [`${DEVICE}/device`, "0x1234\n"],
  ["sys/module/vfio_pci/refcnt", "0\n"],
  [".complete", ""],
];

function makeTree(root: string): void {
  const place = (path: string): string => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    return join(root, path);
  };
  for (const [path, text] of TEXTS) writeFileSync(place(path), text, { mode: 0o444 });
  for (const [path, mode, size] of ACTIVE) {
    execFileSync("truncate", ["-s", String(size), place(path)]);
    chmodSync(join(root, path), mode);
  }
  for (const [path, target] of LINKS) symlinkSync(target, place(path));
}

/** A running test server with a small tree. */
export async function startBench(library: string, server: string): Promise<Bench> {
  const directory = mkdtempSync(join(tmpdir(), "ioasis-client-"));
  const root = join(directory, "root");
  const socket = join(directory, "socket");
  makeTree(root);
  const daemon = spawn(server, [socket, root], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((ready) => daemon.stdout.once("data", ready));
  const env = { ...process.env, LD_PRELOAD: library, IOASIS_SOCKET: socket, IOASIS_ROOT: root };
  return {
    run: (command, ...args) =>
      new Promise((resolve, reject) => {
        const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
        let out = "";
        let err = "";
        child.stdout.on("data", (bytes: Buffer) => {
          out += bytes.toString();
        });
        child.stderr.on("data", (bytes: Buffer) => {
          err += bytes.toString();
        });
        child.once("error", reject);
        child.once("close", (code) => resolve({ code: code ?? -1, out, err }));
      }),
    close: () => {
      daemon.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
