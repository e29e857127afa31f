/** The client against a server of its own: what programs of all kinds see of a small tree. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Bench, buildLibrary, buildProgram, startBench, whyNoClient } from "./toolchain.js";

const skip = whyNoClient() ?? false;

describe("the client", { skip }, () => {
  let directory = "";
  let library = "";
  let server = "";
  let bench: Bench;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "ioasis-build-"));
    library = buildLibrary(directory);
    server = buildProgram("server", directory);
    bench = await startBench(library, server);
  });
  after(() => {
    bench.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function shell(script: string, program = "sh"): Promise<string> {
    const { out, err } = await bench.run(program, "-c", script);
    return (out + err).trim();
  }

  test("calls, descriptors, memory, signals, threads, the daemon's death", async () => {
    const own = await startBench(library, server);
    try {
      const { code, out } = await own.run(buildProgram("calls", directory));
      const wrong = out.split("\n").filter((line) => line !== "" && !line.startsWith("ok "));
      assert.deepEqual([wrong, code], [[], 0]);
      assert.ok(out.split("\n").length > 80);
    } finally {
      own.close();
    }
  });

  test("ls shows device nodes with numbers, and the platform among the host's directories", async () => {
    assert.match(
      await shell("ls -l /dev/iommu"),
      /^crw-rw-rw- 1 root root 10, 125 .* \/dev\/iommu$/,
    );
    assert.equal(await shell("ls /sys/bus/pci/devices"), "0000:00:01.0");
    assert.equal(
      await shell("ls -d /sys/kernel/iommu_groups/1/*"),
      "/sys/kernel/iommu_groups/1/devices",
    );
    const module = (await shell("ls /sys/module")).split("\n");
    assert.ok(module.includes("vfio_pci"));
    assert.equal(new Set(module).size, module.length);
  });

  for (const program of ["sh", "bash"]) {
    test(`the group loop everybody uses, in ${program}`, async () => {
      const loop =
        'for d in /sys/kernel/iommu_groups/*/devices/*; do n=${d#*/iommu_groups/*}; echo "${n%%/*} ${d##*/} $(cat $d/vendor)"; done';
      assert.equal(await shell(loop, program), "1 0000:00:01.0 0x8086");
    });
  }

  test("a shell's echo reports what the daemon answered", async () => {
    const file = "/sys/bus/pci/devices/0000:00:01.0/busy";
    assert.match(await shell(`echo x > ${file}`, "bash"), /Device or resource busy/);
    assert.match(await shell(`/bin/echo x > ${file}`), /Device or resource busy/);
    assert.match(await shell(`echo x | tee ${file}`), /Device or resource busy/);
    assert.equal(
      await shell(`echo x > ${file}; echo still here`, "bash").then((t) => t.split("\n").at(0)),
      "still here",
    );
  });

  test("a program reads what it inherited", async () => {
    const file = "/sys/bus/pci/devices/0000:00:01.0/config";
    const text = "/sys/devices/pci0000:00/0000:00:01.0/config";
    for (const reader of ["cat", "sed -n p", "head -n 1", "awk 1"]) {
      assert.equal(await shell(`${reader} < ${file}`), text, reader);
      assert.equal(await shell(`${reader} ${file}`), text, reader);
    }
  });

  test("links and .. are followed as the kernel follows them", async () => {
    const device = "/sys/bus/pci/devices/0000:00:01.0";
    assert.equal(await shell(`readlink -f ${device}/driver`), "/sys/bus/pci/drivers/vfio-pci");
    assert.equal(await shell(`cat ${device}/../../../bus/pci/devices/*/vendor`), "0x8086");
    assert.equal(
      await shell(`cd ${device} && pwd -P && cat ../../../bus/pci/devices/*/device`),
      "/sys/devices/pci0000:00/0000:00:01.0\n0x1234",
    );
    assert.equal(await shell("cd /sys && cat bus/pci/devices/*/vendor"), "0x8086");
    assert.equal(await shell(`realpath ${device}/../../../../etc/..`), "/");
  });

  test("a program that dropped the environment is still on the platform", async () => {
    assert.equal(await shell("env -i /bin/cat /sys/bus/pci/devices/0000:00:01.0/vendor"), "0x8086");
  });

  test("static programs, and scripts of such interpreters, are refused with the reason", async () => {
    const source = join(directory, "static.c");
    writeFileSync(source, "int main(void) { return 0; }\n");
    const program = join(directory, "static");
    execFileSync("cc", ["-static", "-o", program, source]);
    const said = await shell(`${program} || echo "code $?"`, "bash");
    assert.match(said, /refused: .*static is statically linked/);
    assert.match(said, /code 126/);
    const script = join(directory, "script");
    writeFileSync(script, `#!${program}\n`, { mode: 0o755 });
    assert.match(await shell(`${script}`, "bash"), /refused: .*script is statically linked/);
  });
});
