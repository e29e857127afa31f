/** What everybody looks at a host with sees the platform: ls, find, stat, sh, python, lspci. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import {
  compile,
  doorSkip,
  platformFile,
  ROOT,
  type RunOptions,
  runOn,
  scratchFolder,
} from "../support/door-run.js";

const PLATFORM = platformFile("server-with-vfs");
const skip = doorSkip();

/** lspci -vv looks for the kernel modules of the machine, which a container lacks. */
const OF_THE_HOST = /^lspci: Unable to load libkmod resources: error -\d+\n/gm;

/** The loop that a hundred guides give. */
const GROUP_LOOP = `shopt -s nullglob
for g in $(find /sys/kernel/iommu_groups/* -maxdepth 0 -type d | sort -V); do
  echo "IOMMU Group \${g##*/}:"
  for d in $g/devices/*; do
    echo -e "\\t$(lspci -nns \${d##*/})"
  done
done`;

const PYTHON = `import os
root = "/sys/bus/pci/devices"
for name in sorted(os.listdir(root)):
    path = os.path.join(root, name)
    with open(os.path.join(path, "vendor")) as f: vendor = f.read().strip()
    with open(os.path.join(path, "config"), "rb") as f: head = f.read(4)
    group = os.path.basename(os.path.realpath(os.path.join(path, "iommu_group")))
    # A virtual function has no IDs of its own in configuration space (PCIe 6, 9.3.4.1).
    assert head[:2] in (int(vendor, 16).to_bytes(2, "little"), bytes([255, 255])), name
    print(name, vendor, group)`;

function suite(title: string, options: () => RunOptions): void {
  const run = (command: readonly string[], platform = PLATFORM): string => {
    const ended = runOn(platform, command, options());
    assert.equal(ended.stderr.replace(OF_THE_HOST, ""), "", command.join(" "));
    assert.equal(ended.status, 0, command.join(" "));
    return ended.stdout;
  };

  describe(`tools: ${title}`, { skip }, () => {
    test("ls, find and stat", () => {
      const names = run(["ls", "/sys/bus/pci/devices"]).trim().split("\n");
      assert.ok(names.includes("0000:00:02.0"), names.join(" "));
      const groups = run(["find", "/sys/kernel/iommu_groups", "-mindepth", "1", "-maxdepth", "1"]);
      assert.ok(groups.split("\n").includes("/sys/kernel/iommu_groups/0"), groups);
      assert.match(run(["ls", "-l", "/dev/vfio"]), /^crw.* 10, 196 .* vfio$/m);
      assert.match(run(["stat", "-c", "%F", "/dev/iommu"]), /^character special file$/m);
      assert.equal(
        run(["stat", "-c", "%F %s", "/sys/bus/pci/devices/0000:00:02.0/config"]).trim(),
        "regular file 4096",
      );
      const linked = run(["readlink", "-f", "/sys/bus/pci/devices/0000:00:02.0"]).trim();
      assert.equal(linked, "/sys/devices/pci0000:00/0000:00:02.0");
      assert.equal(
        run(["sh", "-c", "cd /sys/bus/pci/devices/0000:00:02.0 && pwd -P && cat vendor"]),
        `${linked}\n0x8086\n`,
      );
    });

    test("globs of a shell name every device once", () => {
      const printed = run(["bash", "-c", "cd /sys/bus/pci; echo devices/*"]).trim().split(" ");
      const listed = run(["ls", "/sys/bus/pci/devices"]).trim().split("\n");
      assert.deepEqual(
        printed,
        listed.map((name) => `devices/${name}`),
      );
    });

    test("the group loop", { skip: doorSkip("bash", "lspci") }, () => {
      const text = run(["bash", "-c", GROUP_LOOP]);
      const listed = run(["ls", "/sys/bus/pci/devices"]).trim().split("\n").length;
      assert.equal(
        text.split("\n").filter((line) => line.startsWith("\t0")).length +
          text.split("\n").filter((line) => line.startsWith("\t8")).length,
        listed,
      );
      assert.match(text, /^IOMMU Group 0:\n\t/);
    });

    test("lspci reads configuration space, drivers and groups", { skip: doorSkip("lspci") }, () => {
      const text = run(["lspci", "-vv"]);
      assert.match(text, /^00:02\.0 VGA compatible controller/m);
      assert.match(text, /Capabilities: \[[0-9a-f]+(?: v\d)?\] Access Control Services/);
      assert.match(text, /Capabilities: \[[0-9a-f]+(?: v\d)?\] Single Root I\/O Virtualization/);
      assert.match(text, /IOMMU group: \d+/);
      assert.match(run(["lspci", "-tv"]), /^-\+-\[0000:80\]|-\[0000:00\]/m);
    });

    test("python", { skip: doorSkip("python3") }, () => {
      const lines = run(["python3", "-c", PYTHON]).trim().split("\n");
      const listed = run(["ls", "/sys/bus/pci/devices"]).trim().split("\n");
      assert.deepEqual(
        lines.map((line) => line.split(" ")[0]),
        listed,
      );
    });

    test("exit code, arguments and signals pass through", () => {
      assert.equal(runOn(PLATFORM, ["sh", "-c", "exit 42"], options()).status, 42);
      assert.equal(run(["printf", "%s|", "a b", "", "*"]), "a b||*|");
      const killed = runOn(PLATFORM, ["sh", "-c", "kill -TERM $$"], options());
      assert.ok(killed.status === 143 || killed.status === null, String(killed.status));
      assert.equal(runOn(PLATFORM, ["cat"], { ...options(), input: "through" }).stdout, "through");
    });

    test("what is not of the platform stays as it is", () => {
      assert.equal(run(["cat", "/etc/hostname"]), runPlain(["cat", "/etc/hostname"]));
      assert.equal(
        run(["sh", "-c", "ls /sys/class | head -3 >/dev/null; ls /sys/class/net"]),
        runPlain(["ls", "/sys/class/net"]),
      );
    });
  });
}

function runPlain(command: readonly string[]): string {
  return spawnSync(command[0] as string, command.slice(1), { encoding: "utf8" }).stdout;
}

const scratch = scratchFolder("tools");
after(scratch.remove);
let restricted: string | undefined;

suite("as the user of the tests", () => ({}));
suite("as anybody", () => {
  restricted ??= compile(join(ROOT, "test/door/restricted.c"), join(scratch.path, "restricted"));
  return { restrictedBy: restricted };
});
