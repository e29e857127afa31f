/**
 * A Debian guest, booted by Debian's QEMU with a device of a platform: what the guest's own lspci
 * shows, and what the device does to the guest's memory.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { doorSkip, ROOT, runOn, unpackedPrograms } from "../support/door-run.js";

const PLATFORM = join(ROOT, "test/door/nic.yaml");
const { XDG_CACHE_HOME: base = join(homedir(), ".cache") } = process.env;
const GUEST = join(base, "ioasis/guest");
const programs = unpackedPrograms();
const skip =
  programs === undefined || !existsSync(join(GUEST, "initrd.gz"))
    ? "QEMU and a guest are not there: npm run programs fetches them"
    : doorSkip();

/** The memory the guest's kernel leaves to the device; see tools/guest/init.sh. */
const OPTIONS =
  "console=ttyS0 quiet mitigations=off tsc=reliable no_timer_check memmap=1M$0x8000000";

/** QEMU's command line with a machine that has one root port and nothing else. */
function qemu(...more: readonly string[]): readonly string[] {
  const folder = programs?.folder ?? "";
  const shared = ["qemu", "seabios"].flatMap((name) => ["-L", join(folder, "usr/share", name)]);
  const memory = "memory-backend-memfd,id=m,size=256M,share=on";
  const machine = ["-machine", "q35,memory-backend=m", "-object", memory];
  const quiet = ["-accel", "tcg", "-cpu", "max", "-nodefaults", "-no-user-config", "-no-reboot"];
  const port = ["-display", "none", "-device", "pcie-root-port,id=rp,slot=1,chassis=1"];
  const program = join(folder, "usr/bin/qemu-system-x86_64");
  return [...(programs?.env ?? []), program, ...shared, ...machine, ...quiet, ...port, ...more];
}

/** Boots the guest, waits until it has switched itself off, and runs `then` on the platform. */
function boot(device: readonly string[], then: string) {
  const kernel = ["-kernel", join(GUEST, "vmlinuz"), "-initrd", join(GUEST, "initrd.gz")];
  const command = qemu("-serial", "stdio", ...kernel, "-append", OPTIONS, ...device);
  return runOn(PLATFORM, ["sh", "-c", `"$@" && echo GUEST OFF && ${then}`, "sh", ...command]);
}

/** A shell command that starts QEMU with the device once more and quits. */
function takeAgain(device: readonly string[]): string {
  const words = qemu("-monitor", "stdio", ...device).map((word) => `'${word}'`);
  return `echo quit | ${words.join(" ")} >/dev/null && echo TAKEN AGAIN`;
}

/** What lspci prints of the function at the beginning of a paragraph. */
function paragraphOf(output: string, fn: string): string {
  const paragraphs = output.split("\n\n");
  return paragraphs.find((one) => one.startsWith(fn)) ?? "";
}

const device = "vfio-pci,host=0000:02:00.0,bus=rp";
const BY_GROUP = ["-device", device];
const BY_CDEV = ["-object", "iommufd,id=i", "-device", `${device},iommufd=i`];
const FOLDER = "/sys/bus/pci/devices/0000:02:00.0";
/** Bus mastering (bit 2 of the command register) and driver after the device was closed. */
const MASTERING = `$(( $(od -An -tu1 -j4 -N1 ${FOLDER}/config) & 4 ))`;
const LEFT = `echo MASTERING ${MASTERING} DRIVER $(basename $(readlink ${FOLDER}/driver))`;

describe("a Debian guest with a device of a platform", { skip }, () => {
  for (const [title, options, other] of [
    ["by group", BY_GROUP, BY_CDEV],
    ["by cdev", BY_CDEV, BY_GROUP],
  ] as const) {
    test(`${title}: lspci of the guest shows it, a reset and DMA work, nothing stays`, () => {
      const ended = boot(options, `${LEFT} && ${takeAgain(other)}`);
      assert.equal(ended.stderr, "");
      assert.equal(ended.status, 0);
      const output = ended.stdout.replaceAll("\r", "");
      const shown = paragraphOf(output, "01:00.0 ");
      assert.match(shown, /^01:00\.0 Processing accelerators \[1200\]: .*\[1af4:10d0\]/);
      assert.match(
        shown,
        /Region 0: Memory at [0-9a-f]+ \(32-bit, non-prefetchable\) \[size=32K\]/,
      );
      assert.match(shown, /Express \(v2\) Endpoint/);
      assert.match(shown, /FLReset\+/);
      assert.match(
        shown,
        /MSI-X: Enable- Count=4 Masked-\n\t\tVector table: BAR=0 offset=00000000/,
      );
      const [, after = ""] = output.split("RESET BY ");
      const lines = after.trimEnd().split("\n");
      const said = lines.filter((line) => !/^\[.*reboot: Power down$/.test(line));
      assert.deepEqual(said, [
        "flr bus",
        "RESET DONE",
        "WITHOUT BUS MASTERING",
        "ID 0x31414D44",
        "STATUS 0x00000006 ERROR 0x00000004",
        "COPIED 0x0000000000000000",
        "WITH BUS MASTERING",
        "ID 0x31414D44",
        "STATUS 0x00000002 ERROR 0x00000000",
        "COPIED 0x1122334455667788",
        "GUEST OFF",
        "MASTERING 0 DRIVER vfio-pci",
        "TAKEN AGAIN",
      ]);
    });
  }
});
