/** Programs open devices by path: what stands behind the nodes is VFIO and /dev/iommu. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { writeText } from "../../test/support/door.js";
import { FakeProcess } from "../../test/support/fake-call.js";
import { ENGINE, word, words } from "../../test/support/vfio-machine.js";
import { ERRNO } from "../abi/index.js";
import type { OpenFile } from "../files/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { formatBdf } from "../units/index.js";
import { PlatformKernel, SystemDeviceFiles } from "./index.js";

const READ_WRITE = 2;

for (const [selftest, refusal] of [
  ["linux-7.2", ERRNO.EBADF],
  ["linux-6.12", ERRNO.ENOTTY],
] as const) {
  test(`a platform for the tests of ${selftest} has the test command`, () => {
    const platform = readPlatform({
      schema: "ioasis/platform/1",
      host: { selftest },
      iommu: { kind: "intel" },
      roots: [{ devices: [] }],
    });
    const kernel = new PlatformKernel(buildPlatform(platform), {
      files: (made) => new SystemDeviceFiles(made.system),
    });
    const call = new FakeProcess().thread();
    const iommufd = kernel.open(call, "/dev/iommu", READ_WRITE);
    assert.equal(call.ioctlBytes(iommufd, 0x3b81, words(12, 0, 0)), 0);
    const command = words(72, 2, 1, 0, ...Array.from({ length: 14 }, () => 0));
    assert.equal(call.ioctlBytes(iommufd, 0x3ba0, command), 0);
    assert.equal(word(command, 4), 2);
    // Mapping a file came after 6.12.
    const file = words(40, 6, 1, 99, 0, 0, 4096, 0, 0, 0);
    assert.equal(call.ioctlBytes(iommufd, 0x3b8f, file), -refusal);
  });
}

test("a device is opened by its node, bound, and in use until it is closed", () => {
  const platform = readPlatform({
    schema: "ioasis/platform/1",
    name: "nodes",
    iommu: { kind: "intel" },
    roots: [{ devices: [{ kind: "root-port", acs: "full", below: [ENGINE] }] }],
  });
  const kernel = new PlatformKernel(buildPlatform(platform), {
    files: (made) => new SystemDeviceFiles(made.system),
  });
  const process = new FakeProcess();
  const call = process.thread();
  const open = (path: string): OpenFile => kernel.open(call, path, READ_WRITE);
  const iommufd = process.install(open("/dev/iommu"));
  const device = process.install(open("/dev/vfio/devices/vfio0"));
  const container = open("/dev/vfio/vfio");
  assert.equal(call.ioctl(container, 0x3b64, 0n), 0);
  const bind = words(16, 0, iommufd, 0);
  assert.equal(call.ioctlBytes(process.file(device), 0x3b76, bind), 0);
  assert.equal(word(bind, 3), 1);
  const bdf = kernel.system.machine.names.get("engine");
  assert.ok(bdf !== undefined);
  assert.equal(kernel.system.contexts.size, 1);
  assert.throws(() => kernel.system.unbind("vfio-pci", bdf), /EBUSY/);
  process.close(iommufd);
  assert.equal(kernel.system.contexts.size, 1);
  process.close(device);
  assert.equal(kernel.system.contexts.size, 0);
  kernel.system.unbind("vfio-pci", bdf);
  assert.throws(() => open("/dev/vfio/devices/vfio0"), /ENOENT/);
});

test("a reset by sysfs of a device in use keeps its configuration, and its user is told", () => {
  const platform = readPlatform({
    schema: "ioasis/platform/1",
    iommu: { kind: "intel" },
    roots: [{ devices: [{ kind: "root-port", acs: "full", below: [ENGINE] }] }],
  });
  let files: SystemDeviceFiles | undefined;
  const kernel = new PlatformKernel(buildPlatform(platform), {
    files: (made) => {
      files = new SystemDeviceFiles(made.system);
      return files;
    },
  });
  const process = new FakeProcess();
  const call = process.thread();
  const iommufd = process.install(kernel.open(call, "/dev/iommu", READ_WRITE));
  const device = process.install(kernel.open(call, "/dev/vfio/devices/vfio0", READ_WRITE));
  call.ioctlBytes(process.file(device), 0x3b76, words(16, 0, iommufd, 0));
  const bdf = kernel.system.machine.names.get("engine");
  assert.ok(bdf !== undefined && files !== undefined);
  const told: boolean[] = [];
  files.vfio.table.find(bdf)?.shared.add({ setRevoked: (revoked) => void told.push(revoked) });
  const before = kernel.system.machine.saveConfig(bdf);
  writeText(kernel, `/sys/bus/pci/devices/${formatBdf(bdf)}/reset`, "1");
  assert.deepEqual(told, [true, false]);
  assert.deepEqual(kernel.system.machine.saveConfig(bdf), before);
});
