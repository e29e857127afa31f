/** Writes to sysfs do what the driver core does, and the tree follows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { noFiles, readText, writeText } from "../../test/support/door.js";
import { isRefusal } from "../abi/index.js";
import { memoryRequest } from "../pcie/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { formatBdf, ridOf } from "../units/index.js";
import { type DeviceFiles, PlatformKernel, sameNode, type TreeNode } from "./index.js";

const SEED = 41;
const NIC = "0000:01:00.0";
const DISK = "0000:02:00.0";
const PLAIN = "0000:03:00.0";
const PORT = "0000:00:01.0";
const DEVICES = "/sys/bus/pci/devices";
const DRIVERS = "/sys/bus/pci/drivers";

const port = (below: object, more: object = {}) => ({
  kind: "root-port",
  acs: "full",
  below: [below],
  ...more,
});

const NODE = {
  schema: "ioasis/platform/1",
  host: { rules: "linux-7.2" },
  iommu: { kind: "intel" },
  roots: [
    {
      devices: [
        port({
          kind: "endpoint",
          id: "8086:1592",
          flr: true,
          sriov: { vfs: 0, total: 4, bars: [{ size: "16K" }], each: { engine: "dma" } },
          bars: [{ size: "64K" }],
        }),
        port({ kind: "endpoint", id: "144d:a80a", class: "010802", driver: "nvme" }),
        port({ kind: "endpoint", engine: "dma", name: "plain" }),
      ],
    },
  ],
};

function start(files: Partial<DeviceFiles> = {}, bind?: "none"): PlatformKernel {
  return new PlatformKernel(buildPlatform(readPlatform(NODE)), {
    bind,
    files: () => ({ ...noFiles(), ...files }),
  });
}

/** What a write is answered with: an errno's name, or "ok". */
function answer(kernel: PlatformKernel, path: string, text: string): string {
  try {
    writeText(kernel, path, text);
    return "ok";
  } catch (error) {
    if (isRefusal(error)) return error.code;
    throw error;
  }
}

const has = (kernel: PlatformKernel, path: string) => kernel.tree.find(path) !== undefined;

const driverOf = (kernel: PlatformKernel, name: string): string | undefined => {
  const at = kernel.tree.resolve(`${DEVICES}/${name}`).path;
  return has(kernel, `${at}/driver`)
    ? kernel.tree.resolve(`${at}/driver`).path.split("/").pop()
    : undefined;
};

test("endpoints without a driver are VFIO's at the start, others keep theirs", () => {
  const kernel = start();
  assert.equal(driverOf(kernel, NIC), "vfio-pci");
  assert.equal(driverOf(kernel, DISK), "nvme");
  assert.equal(driverOf(kernel, PORT), "pcieport");
  assert.equal(driverOf(start({}, "none"), NIC), undefined);
});

test("unbind, override and bind move a function between drivers", () => {
  const kernel = start();
  const group = kernel.tree.resolve(`${DEVICES}/${DISK}/iommu_group`).path.split("/").pop();
  assert.ok(!has(kernel, `/dev/vfio/${group}`));
  assert.equal(answer(kernel, `${DRIVERS}/vfio-pci/bind`, `${DISK}\n`), "ENODEV");
  assert.equal(answer(kernel, `${DEVICES}/${DISK}/driver_override`, "vfio-pci\n"), "ok");
  assert.equal(readText(kernel, `${DEVICES}/${DISK}/driver_override`), "vfio-pci\n");
  assert.equal(answer(kernel, `${DRIVERS}/vfio-pci/bind`, DISK), "EBUSY");
  assert.equal(answer(kernel, `${DEVICES}/${DISK}/driver/unbind`, DISK), "ok");
  assert.equal(driverOf(kernel, DISK), undefined);
  assert.equal(answer(kernel, `${DRIVERS}/nvme/unbind`, DISK), "ENODEV");
  assert.equal(answer(kernel, `${DRIVERS}/nvme/bind`, DISK), "ENODEV");
  assert.equal(answer(kernel, `${DRIVERS}/vfio-pci/bind`, DISK), "ok");
  assert.equal(driverOf(kernel, DISK), "vfio-pci");
  assert.ok(has(kernel, `/dev/vfio/${group}`));
  assert.equal(answer(kernel, `${DEVICES}/${DISK}/driver_override`, "\n"), "ok");
  assert.equal(readText(kernel, `${DEVICES}/${DISK}/driver_override`), "(null)\n");
  assert.equal(answer(kernel, `${DRIVERS}/vfio-pci/unbind`, DISK), "ok");
  assert.equal(answer(kernel, "/sys/bus/pci/drivers_probe", DISK), "ok");
  assert.equal(driverOf(kernel, DISK), "nvme");
  assert.ok(!has(kernel, `/dev/vfio/${group}`));
});

test("a kernel driver does not get a function whose group a user owns", () => {
  const kernel = start();
  const { system } = kernel;
  const disk = system.machine.fabric.functions.find((fn) => formatBdf(fn.bdf) === DISK)?.bdf;
  assert.ok(disk !== undefined);
  writeText(kernel, `${DRIVERS}/nvme/unbind`, DISK);
  const owner = { label: "a user" };
  system.ownership.claimForUser(disk, owner);
  assert.equal(answer(kernel, `${DRIVERS}/nvme/bind`, DISK), "EBUSY");
  system.ownership.releaseForUser(disk, owner);
  assert.equal(answer(kernel, `${DRIVERS}/nvme/bind`, DISK), "ok");
});

test("a function that a user has open is asked back, not taken", () => {
  const asked: string[] = [];
  let open = true;
  const kernel = start({ isOpen: () => open, askBack: (bdf) => void asked.push(formatBdf(bdf)) });
  assert.equal(answer(kernel, `${DRIVERS}/vfio-pci/unbind`, PLAIN), "EBUSY");
  assert.equal(answer(kernel, `${DEVICES}/${PLAIN}/remove`, "1"), "EBUSY");
  assert.deepEqual(asked, [PLAIN, PLAIN]);
  open = false;
  assert.equal(answer(kernel, `${DRIVERS}/vfio-pci/unbind`, PLAIN), "ok");
});

test("names and numbers that are none are refused as the kernel refuses them", () => {
  const kernel = start();
  const cases: readonly (readonly [string, string, string])[] = [
    [`${DRIVERS}/vfio-pci/bind`, "01:00.0", "ENODEV"],
    [`${DRIVERS}/vfio-pci/bind`, "0000:7f:00.0", "ENODEV"],
    [`${DRIVERS}/vfio-pci/new_id`, "8086", "EINVAL"],
    [`${DRIVERS}/vfio-pci/remove_id`, "8086 1592", "ENODEV"],
    [`${DRIVERS}/nvme/new_id`, "144d a80a", "EEXIST"],
    [`${DEVICES}/${NIC}/sriov_numvfs`, "5", "ERANGE"],
    [`${DEVICES}/${NIC}/sriov_numvfs`, "70000", "ERANGE"],
    [`${DEVICES}/${NIC}/sriov_numvfs`, "many", "EINVAL"],
    [`${DEVICES}/${NIC}/reset`, "0", "EINVAL"],
    [`${DEVICES}/${NIC}/reset_method`, "warm", "EINVAL"],
    [`${DEVICES}/${NIC}/enable`, "1", "EBUSY"],
    [`${DEVICES}/${NIC}/vendor`, "1", "EACCES"],
    [`${DEVICES}/${NIC}/driver_override`, "x".repeat(4095), "EINVAL"],
    [`${DEVICES}/${NIC}/nothing`, "1", "ENOENT"],
    [`${DEVICES}/${NIC}/vendor/x`, "1", "ENOTDIR"],
    [DEVICES, "1", "EISDIR"],
  ];
  for (const [path, text, code] of cases) {
    assert.equal(answer(kernel, path, text), code, `${text} to ${path}`);
  }
  writeText(kernel, `${DRIVERS}/vfio-pci/unbind`, PLAIN);
  assert.equal(answer(kernel, `${DEVICES}/${PLAIN}/enable`, "0"), "EIO");
  assert.equal(answer(kernel, `${DEVICES}/${PLAIN}/enable`, "1"), "ok");
  assert.equal(readText(kernel, `${DEVICES}/${PLAIN}/enable`), "1\n");
  assert.throws(
    () => readText(kernel, `${DEVICES}/${NIC}/remove`),
    (error) => isRefusal(error, "EACCES"),
  );
});

test("VFs appear with groups and nodes, and go again", () => {
  const kernel = start();
  const count = `${DEVICES}/${NIC}/sriov_numvfs`;
  assert.equal(readText(kernel, `${DEVICES}/${NIC}/sriov_totalvfs`), "4\n");
  const before = snapshot(kernel);
  writeText(kernel, count, "2");
  assert.equal(readText(kernel, count), "2\n");
  assert.equal(answer(kernel, count, "3"), "EBUSY");
  assert.equal(answer(kernel, count, "2"), "ok");
  const vf = kernel.tree.resolve(`${DEVICES}/${NIC}/virtfn1`).path;
  assert.equal(
    kernel.tree.resolve(`${vf}/physfn`).path,
    kernel.tree.resolve(`${DEVICES}/${NIC}`).path,
  );
  assert.equal(driverOf(kernel, vf.split("/").pop() ?? ""), "vfio-pci");
  const group = kernel.tree.resolve(`${vf}/iommu_group`).path.split("/").pop();
  assert.ok(has(kernel, `/dev/vfio/${group}`));
  assert.equal(readText(kernel, `${vf}/driver_override`), "vfio-pci\n");
  assert.equal(readText(kernel, `${vf}/vendor`), "0x8086\n");
  writeText(kernel, count, "0");
  assert.deepEqual(snapshot(kernel), before);
  writeText(kernel, "/sys/module/vfio_pci/parameters/enable_sriov", "N");
  assert.equal(answer(kernel, count, "1"), "ENOENT");
  writeText(kernel, `${DEVICES}/${NIC}/driver/unbind`, NIC);
  assert.equal(answer(kernel, count, "1"), "ENOENT");
});

test("a function that lets go of its driver takes its VFs with it", () => {
  const kernel = start();
  writeText(kernel, `${DEVICES}/${NIC}/sriov_numvfs`, "4");
  writeText(kernel, `${DEVICES}/${NIC}/driver/unbind`, NIC);
  assert.equal(readText(kernel, `${DEVICES}/${NIC}/sriov_numvfs`), "0\n");
});

test("a bridge is removed with what is below it, and found again", () => {
  const kernel = start();
  const before = snapshot(kernel);
  writeText(kernel, `${DEVICES}/${PORT}/remove`, "1");
  assert.ok(!has(kernel, `${DEVICES}/${NIC}`));
  assert.equal(answer(kernel, `${DEVICES}/${NIC}/remove`, "1"), "ENOENT");
  writeText(kernel, "/sys/bus/pci/rescan", "1");
  assert.equal(driverOf(kernel, NIC), undefined);
  writeText(kernel, `${DEVICES}/${NIC}/driver_override`, "vfio-pci");
  writeText(kernel, "/sys/bus/pci/drivers_probe", NIC);
  assert.deepEqual(snapshot(kernel).size, before.size);
});

test("a reset keeps the configuration", () => {
  const kernel = start();
  const at = `${DEVICES}/${NIC}/config`;
  const config = () => {
    const file = kernel.open({} as never, at, 2);
    return { file, bytes: file.read?.({} as never, 64, 0n) ?? new Uint8Array() };
  };
  const { file, bytes } = config();
  assert.equal(bytes[0], 0x86);
  file.write?.({} as never, Uint8Array.of(0x06, 0x00), 4n);
  writeText(kernel, `${DEVICES}/${NIC}/reset`, "1\n");
  const after = config().bytes;
  assert.equal(after[4], 6);
  assert.deepEqual(after.subarray(0x10, 0x28), bytes.subarray(0x10, 0x28));
  assert.equal(file.read?.({} as never, 4096, 4094n)?.length, 2);
});

test("what a unit logs reaches its driver at once", () => {
  const kernel = start();
  const { machine, driver } = kernel.system;
  const plain = machine.names.get("plain");
  assert.ok(plain !== undefined);
  const seen: unknown[] = [];
  driver.onFault = (fault) => void seen.push(fault);
  writeText(kernel, `${DRIVERS}/vfio-pci/unbind`, PLAIN);
  for (let up = machine.fabric.function(plain); up !== undefined; up = up.upstreamBridge) {
    machine.configWrite(up.bdf, 4, 2, 6);
  }
  const tlp = memoryRequest({
    requester: ridOf(plain),
    address: 0x1234000n,
    length: 4,
    access: "write",
  });
  const { delivery } = machine.transact(plain, { tlp, data: new Uint8Array(4) });
  assert.equal(delivery.kind, "fault");
  assert.equal(seen.length, 1);
});

/** The tree as a program sees it: paths and nodes, handlers left out. */
function snapshot(kernel: PlatformKernel): Map<string, string> {
  return new Map([...kernel.tree.walk()].map(([path, node]) => [path, look(node)]));
}

function look(node: TreeNode): string {
  if (node.kind === "link") return `-> ${node.target}`;
  const text = node.kind === "text" ? node.text : "";
  const size = node.kind === "attribute" ? node.size : 0;
  const device = node.kind === "character" ? `${node.major}:${node.minor}` : "";
  return `${node.kind} ${node.mode} ${text} ${size} ${device}`;
}

test("after any writes the tree is the one that would be made anew, and all changes were told", () => {
  const names = [NIC, DISK, PLAIN, PORT, "0000:01:00.1"];
  const write = fc.oneof(
    fc.tuple(
      fc
        .constantFrom("vfio-pci", "nvme", "pcieport")
        .chain((d) => fc.constantFrom("bind", "unbind").map((f) => `${DRIVERS}/${d}/${f}`)),
      fc.constantFrom(...names),
    ),
    fc.tuple(
      fc.constantFrom(...names).map((n) => `${DEVICES}/${n}/driver_override`),
      fc.constantFrom("vfio-pci", "nvme", ""),
    ),
    fc.tuple(fc.constant(`${DEVICES}/${NIC}/sriov_numvfs`), fc.constantFrom("0", "1", "4")),
    fc.tuple(
      fc.constantFrom(...names).map((n) => `${DEVICES}/${n}/remove`),
      fc.constant("1"),
    ),
    fc.tuple(fc.constantFrom("/sys/bus/pci/rescan", `${DEVICES}/${NIC}/reset`), fc.constant("1")),
    fc.tuple(fc.constant("/sys/bus/pci/drivers_probe"), fc.constantFrom(...names)),
  );
  fc.assert(
    fc.property(fc.array(write, { maxLength: 24 }), (writes) => {
      const kernel = start();
      const mirror = new Map(kernel.tree.walk());
      kernel.tree.onChange((path, node) => {
        if (node === undefined) {
          for (const known of mirror.keys()) {
            if (known === path || known.startsWith(`${path}/`)) mirror.delete(known);
          }
          return;
        }
        const above = path.slice(0, path.lastIndexOf("/"));
        assert.ok(above === "" || mirror.get(above)?.kind === "directory", `${path} has no place`);
        mirror.set(path, node);
      });
      for (const [path, text] of writes) answer(kernel, path, text);
      const now = new Map(kernel.tree.walk());
      assert.deepEqual([...mirror.keys()].sort(), [...now.keys()].sort());
      for (const [path, node] of now) {
        const other = mirror.get(path);
        assert.ok(other !== undefined && sameNode(other, node), path);
        if (node.kind === "link") kernel.tree.resolve(path);
      }
      const anew = kernel.makeTree();
      assert.deepEqual(
        [...anew.walk()].map(([p, n]) => `${p} ${look(n)}`).sort(),
        [...snapshot(kernel)].map(([p, n]) => `${p} ${n}`).sort(),
      );
    }),
    { seed: SEED, numRuns: 60 },
  );
});
