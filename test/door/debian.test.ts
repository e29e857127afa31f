/** Debian's QEMU and DPDK, unpacked by `npm run programs`, start with devices of a platform. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { doorSkip, ROOT, runOn, scratchFolder, unpackedPrograms } from "../support/door-run.js";

const PLATFORM = join(ROOT, "test/door/nic.yaml");
const programs = unpackedPrograms();
const skip =
  programs === undefined
    ? "QEMU and DPDK are not there: npm run programs fetches them"
    : doorSkip("python3", "lspci");
const folder = programs?.folder ?? "";
const env = programs?.env ?? [];

/** QEMU with a device; the monitor prints the guest's devices and quits. */
function qemu(...device: readonly string[]) {
  const shared = ["qemu", "seabios"].flatMap((name) => ["-L", join(folder, "usr/share", name)]);
  const memory = "memory-backend-memfd,id=m,size=128M,share=on";
  const machine = ["-machine", "q35,memory-backend=m", "-object", memory, "-accel", "tcg"];
  const quiet = ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio"];
  const program = join(folder, "usr/bin/qemu-system-x86_64");
  const command = [...env, program, ...shared, ...machine, ...quiet, ...device];
  return runOn(PLATFORM, command, { input: "info pci\nquit\n" });
}

describe("Debian's programs through the door", { skip }, () => {
  const scratch = scratchFolder("debian");
  after(scratch.remove);

  for (const [title, device] of [
    ["by group", ["-device", "vfio-pci,host=0000:02:00.0"]],
    ["by cdev", ["-object", "iommufd,id=i", "-device", "vfio-pci,host=0000:02:00.0,iommufd=i"]],
  ] as const) {
    test(`QEMU takes a device ${title} without a warning`, () => {
      const ended = qemu(...device);
      assert.equal(ended.stderr, "");
      assert.equal(ended.status, 0);
      assert.match(ended.stdout, /PCI device 1af4:10d0/);
    });
  }

  test("dpdk-devbind.py shows the card with its driver", () => {
    const script = join(folder, "usr/bin/dpdk-devbind.py");
    const ended = runOn(PLATFORM, ["python3", script, "-s"]);
    assert.match(ended.stdout, /0000:01:00\.0 '.*' drv=vfio-pci/);
    assert.equal(ended.status, 0);
  });

  test("dpdk-testpmd sets VFIO up, maps its memory and reaches the card", () => {
    const trace = join(scratch.path, "trace.json");
    const drivers = join(folder, "usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0");
    const options = ["--no-huge", "-m", "64", "-l", "0", "--no-telemetry", "-d", drivers];
    const program = join(folder, "usr/bin/dpdk-testpmd");
    const ended = runOn(PLATFORM, [...env, program, ...options], {}, ["--trace", trace]);
    const said = ended.stdout + ended.stderr;
    assert.match(said, /VFIO support initialized/);
    assert.match(said, /Using IOMMU type 1/);
    assert.match(said, /Probe PCI driver: net_e1000_em \(8086:10d3\) device: 0000:01:00\.0/);
    const calls = readFileSync(trace, "utf8");
    assert.match(calls, /"ioctl VFIO_IOMMU_MAP_DMA on \/dev\/vfio\/vfio".*"result":0/);
    assert.match(calls, /"ioctl VFIO_GROUP_GET_DEVICE_FD on \/dev\/vfio\/\d+".*"result":0/);
  });
});
