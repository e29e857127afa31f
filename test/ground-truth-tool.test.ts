/** The pure parts of the tool that boots real kernels. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ToolError } from "../tools/debian/tool-error.js";
import { writeCpio } from "../tools/ground-truth/cpio.js";
import { surprises } from "../tools/ground-truth/expectation.js";
import { planOf } from "../tools/ground-truth/guest-plan.js";
import { dependsOf, loadOrder, moduleOfPath } from "../tools/ground-truth/kernel-modules.js";
import { kernelSources } from "../tools/ground-truth/kernel-source.js";
import { filterKernelLog, groupSets } from "../tools/ground-truth/normalize.js";
import { parseOptions } from "../tools/ground-truth/options.js";
import { readTar } from "../tools/ground-truth/tar.js";
import { topologies } from "../tools/ground-truth/topologies/index.js";

test("kernel messages: only those about isolation, time stamps zero", () => {
  const log = [
    "[    1.234567] pci 0000:00:01.0: Adding to iommu group 1",
    "[    1.300000] VFS: Disk quotas dquot_6.6.0",
    "[    1.400000] igb 0000:01:00.0: 4 VFs allocated",
    "[    1.500000] pci 0000:05:00.0: quirk_usb_early_handoff+0x0/0x7e0 took 100938 usecs",
  ];
  assert.equal(
    filterKernelLog(log.join("\n")),
    "[    0.000000] pci 0000:00:01.0: Adding to iommu group 1\n" +
      "[    0.000000] igb 0000:01:00.0: 4 VFs allocated\n",
  );
});

test("groups compare as sets, whatever their numbers and order", () => {
  const a = "GROUP 0 0000:00:01.0\nGROUP 1 0000:00:03.0\nGROUP 1 0000:00:02.0\n";
  const b = "GROUP 7 0000:00:02.0\nGROUP 7 0000:00:03.0\nGROUP 9 0000:00:01.0\n";
  assert.deepEqual(groupSets(a), groupSets(b));
  assert.notDeepEqual(groupSets(a), groupSets(b.replace("GROUP 9", "GROUP 7")));
});

test("expectations: what is missing and what came unexpected, chipset apart", () => {
  const topology = topologies.find((one) => one.name === "multifunction-endpoint");
  assert.ok(topology !== undefined);
  const devices = "DEV 0000:00:00.0 x=1\nDEV 0000:01:00.0 x=1\nDEV 0000:01:00.1 x=1\n";
  const chipset = ["0", "2", "3"].map((fn) => `GROUP 2 0000:00:1f.${fn}\n`).join("");
  const good = `GROUP 0 0000:00:00.0\nGROUP 1 0000:01:00.1\nGROUP 1 0000:01:00.0\n${chipset}`;
  assert.deepEqual(surprises(topology, "6.12", good, devices), []);
  const bad = "GROUP 0 0000:00:00.0\nGROUP 0 0000:01:00.0\n";
  assert.deepEqual(surprises(topology, "6.12", bad, devices), [
    "missing shared group: 0000:01:00.0 0000:01:00.1",
    "unexpected shared group: 0000:00:00.0 0000:01:00.0",
    "unexpected function without a group: 0000:01:00.1",
  ]);
});

test("cpio: the newc header of a file, padded to four bytes, trailer last", () => {
  const data = new TextEncoder().encode("hello");
  const archive = new TextDecoder().decode(
    writeCpio([{ kind: "file", path: "a", data, run: true }]),
  );
  assert.equal(archive.slice(0, 6), "070701");
  assert.equal(archive.slice(14, 22), "000081ed", "mode: regular file, 0755");
  assert.equal(archive.slice(54, 62), "00000005", "size of the content");
  assert.equal(archive.slice(94, 102), "00000002", "length of the name with its zero byte");
  assert.equal(archive.slice(110, 112), "a\0");
  assert.equal(archive.slice(112, 117), "hello");
  assert.equal(archive.length % 4, 0);
  assert.ok(archive.includes("TRAILER!!!"));
});

test("tar: names and contents of regular files; other members are passed over", () => {
  const header = (name: string, size: number, kind: string) => {
    const block = new Uint8Array(512);
    const put = (at: number, text: string) => block.set(new TextEncoder().encode(text), at);
    put(0, name);
    put(124, size.toString(8).padStart(11, "0"));
    put(156, kind);
    return block;
  };
  const body = new Uint8Array(512);
  body.set(new TextEncoder().encode("text"));
  const parts = [header("./", 0, "5"), header("./a.txt", 4, "0"), body, new Uint8Array(1024)];
  const files = readTar(Buffer.concat(parts));
  assert.deepEqual([...files.keys()], ["a.txt"]);
  assert.equal(new TextDecoder().decode(files.get("a.txt")), "text");
});

test("kernel modules: names from paths, needs from the module, needed ones first", () => {
  assert.equal(moduleOfPath("kernel/drivers/iommu/virtio-iommu.ko.xz"), "virtio_iommu");
  assert.equal(moduleOfPath("modules.dep"), undefined);
  const image = new TextEncoder().encode("x\0license=GPL\0depends=nvme-core,t10-pi\0name=nvme\0");
  assert.deepEqual(dependsOf(image), ["nvme_core", "t10_pi"]);
  assert.deepEqual(dependsOf(new TextEncoder().encode("\0depends=\0")), []);
  const needs = new Map([
    ["a", ["b", "c"]],
    ["b", ["c"]],
    ["c", ["a"]],
  ]);
  assert.deepEqual(
    loadOrder(["a"], (name) => needs.get(name) ?? []),
    ["c", "b", "a"],
  );
});

test("the guest's plan: virtual functions, hot-plug, stub driver, in that order", () => {
  const plan = planOf({
    stub: true,
    sriov: ["0000:01:00.0=4"],
    hotplug: ["remove:0000:01:00.0", "rescan"],
  });
  assert.equal(plan, "sriov 0000:01:00.0=4\nremove 0000:01:00.0\nrescan\nstub\n");
});

test("topologies: names are unique folder names, kernels known, each says what it shows", () => {
  const names = topologies.map((one) => one.name);
  assert.equal(new Set(names).size, names.length);
  for (const one of topologies) {
    assert.match(one.name, /^[a-z0-9]+(-[a-z0-9]+)*$/);
    assert.match(one.shows, /\.$/);
    assert.ok(one.kernels.length > 0);
    for (const kernel of one.kernels) assert.ok(kernelSources.some((k) => k.name === kernel));
  }
});

test("refusals: unknown option, unknown kernel", () => {
  assert.throws(() => parseOptions(["--kernle", "7.2"]), ToolError);
  assert.throws(() => parseOptions(["--kernel", "5.10"]), /known kernels are 6\.1, 6\.12, 7\.2/);
  assert.deepEqual(parseOptions(["--only", "a,b"]).only, ["a", "b"]);
});
