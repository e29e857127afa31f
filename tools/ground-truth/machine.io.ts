/** One run of QEMU, without hardware acceleration: boots a topology, reads the guest's files. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { ToolError } from "../debian/tool-error.js";
import type { Platform } from "./platform.js";
import { readTar } from "./tar.js";
import { commandOf, type ToolRoot } from "./tool-root.io.js";
import { platformOf, type Topology } from "./topology.js";

/** Longest time a boot may take, milliseconds; a slow shared machine needs about one minute. */
const bootLimit = 400_000;

/** The guest's kernel command line. */
export function cmdlineOf(topology: Topology): string {
  return [...platformOf(topology).cmdline, ...topology.cmdline].join(" ");
}

/** The program that is QEMU: the one unpacked from Debian's packages, or a path the user gave. */
export interface Qemu {
  readonly program: string;
  readonly leading: readonly string[];
}

/** Prepares the platform's QEMU; `given` replaces the program, not the firmware. */
export function qemuOf(tools: ToolRoot, platform: Platform, given: string | undefined): Qemu {
  const firmware = platform.firmware;
  const bios = firmware === undefined ? [] : ["-bios", join(tools.folder, firmware)];
  if (given !== undefined) return { program: given, leading: bios };
  const [program, leading] = commandOf(tools, platform.program);
  const data = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];
  const paths = data.flatMap((one) => ["-L", join(tools.folder, one)]);
  return { program, leading: [...leading, ...paths, ...bios] };
}

/** The files the guest wrote, by name. Throws {@link ToolError} with the end of the console. */
export function boot(
  qemu: Qemu,
  kernelFile: string,
  initramfs: Uint8Array,
  topology: Topology,
): Map<string, Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), "ioasis-ground-truth-"));
  try {
    const initrd = join(folder, "initramfs.gz");
    const console = join(folder, "console.log");
    const answer = join(folder, "answer.b64");
    writeFileSync(initrd, initramfs);
    const args = [
      ...qemu.leading,
      ...platformOf(topology).arguments,
      ...["-serial", `file:${console}`, "-serial", `file:${answer}`],
      ...["-kernel", kernelFile, "-initrd", initrd, "-append", cmdlineOf(topology)],
      ...topology.qemu.flatMap((line) => line.split(" ")),
    ];
    const result = spawnSync("nice", ["-n", "10", qemu.program, ...args], {
      timeout: bootLimit,
      killSignal: "SIGKILL",
      encoding: "utf8",
    });
    const text = existsSync(answer) ? readFileSync(answer, "latin1") : "";
    if (result.status !== 0 || !/^END\s*$/m.test(text)) {
      throw new ToolError(failure(topology, result.status, result.stderr ?? "", console));
    }
    const packed = Buffer.from(text.replace(/END\s*$/, ""), "base64");
    return readTar(gunzipSync(packed));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function failure(topology: Topology, status: number | null, said: string, log: string): string {
  const end = existsSync(log)
    ? readFileSync(log, "latin1").split("\n").slice(-15).join("\n  ")
    : "";
  const cause = status === null ? "did not finish in time" : `ended with status ${status}`;
  return `${topology.name}: QEMU ${cause}\n${said.trim()}\n  console:\n  ${end}`;
}
