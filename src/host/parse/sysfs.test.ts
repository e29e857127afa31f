import assert from "node:assert/strict";
import { test } from "node:test";
import { makeBdf } from "../../units/index.js";
import { parseDeviceList } from "./device-list.js";
import { parseSysfs } from "./sysfs.js";
import { isInsideSysfs, isSysfsPath, SysfsFiles } from "./sysfs-files.js";
import { looksLikeSysfsListing, parseSysfsListing } from "./sysfs-listing.js";
import { linesOf } from "./text.js";

const DEVICE = "sys/bus/pci/devices/0000:00:1f.0";
const place = { file: "host.tar" };

function tree(files: Readonly<Record<string, string>>): SysfsFiles {
  const out = new SysfsFiles();
  for (const [path, text] of Object.entries(files)) out.files.set(path, Buffer.from(text));
  return out;
}

test("paths of interest, and what lies inside a tree but is not", () => {
  const wanted = [
    `x/${DEVICE}/config`,
    "sys/devices/pci0000:00/10000:e0:06.0/driver",
    "./sys/kernel/iommu_groups/7/reserved_regions",
    "sys/devices/virtual/iommu/dmar0/intel-iommu/ecap",
    "sys/firmware/acpi/tables/DMAR",
    "sys/bus/pci/slots/3-1/address",
    "proc/cmdline",
  ];
  for (const path of wanted) assert.ok(isSysfsPath(path), path);
  for (const path of [`${DEVICE}/irq`, "sys/class/dmi/id/bios_version", "proc/12/maps"]) {
    assert.ok(!isSysfsPath(path), path);
    assert.ok(isInsideSysfs(path), path);
  }
  assert.ok(!isInsideSysfs("sos_commands/kernel/dmesg"));
});

test("attributes that cannot be right are refused with their file", () => {
  const wrong = (name: string, text: string) => (): unknown =>
    parseSysfs(tree({ [`${DEVICE}/${name}`]: text }), place);
  const at = /host\.tar\/sys\/bus\/pci\/devices\/0000:00:1f\.0/;
  for (const [name, text] of [
    ["vendor", "intel"],
    ["device", "0x12345"],
    ["class", "0x1000000"],
  ] as const) {
    assert.throws(wrong(name, text), at);
    assert.throws(wrong(name, text), /is no id; expected hexadecimal digits/);
  }
  assert.throws(wrong("resource", "0x0 0x0\n"), /:1: resource: this line is no resource/);
});

test("attributes that an archive padded with NULs read the same", () => {
  const part = parseSysfs(tree({ [`${DEVICE}/vendor`]: `0x8086\n${"\0".repeat(4089)}` }), place);
  assert.equal(part?.functions?.[0]?.ids?.vendor, 0x8086);
});

test("a table that only root may read is known to exist", () => {
  const part = parseSysfs(tree({ "sys/firmware/acpi/tables/DMAR": "" }), place);
  assert.deepEqual(part?.facts?.acpiTables, { present: ["DMAR"], complete: false });
  assert.equal(part?.facts?.dmar, undefined);
  assert.match(part?.notes?.[0]?.text ?? "", /could not be read: root is needed/);
});

test("ls -l and grep listings are a tree too", () => {
  const text = `/sys/bus/pci/devices:
total 0
lrwxrwxrwx 1 root root 0 0000:00:01.0 -> ../../../devices/pci0000:00/0000:00:01.0
lrwxrwxrwx 1 root root 0 0000:01:00.0 -> ../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0

/sys/class/iommu/dmar0/devices:
total 0
lrwxrwxrwx 1 root root 0 0000:01:00.0 -> ../../../../pci0000:00/0000:00:01.0/0000:01:00.0

/sys/kernel/iommu_groups/9/devices:
lrwxrwxrwx 1 root root 0 0000:01:00.0 -> ../../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0
/sys/bus/pci/devices/0000:01:00.0/vendor:0x8086
/sys/bus/pci/slots/7/address:0000:01:00
/sys/class/iommu/dmar0/intel-iommu/ecap: f00f4a
`;
  assert.ok(looksLikeSysfsListing(text));
  const part = parseSysfsListing(linesOf(text, "ls"));
  const port = makeBdf(0, 0, 1, 0);
  const nic = makeBdf(0, 1, 0, 0);
  assert.deepEqual(
    part?.functions?.map((f) => [f.bdf, f.parent, f.slot, f.ids?.vendor]),
    [
      [port, null, undefined, undefined],
      [nic, port, "7", 0x8086],
    ],
  );
  assert.deepEqual(part?.recorded?.groups, [{ id: 9, devices: [nic] }]);
  assert.deepEqual(part?.facts?.iommus, [
    { kind: "vt-d", name: "dmar0", ecap: 0xf00f4an, devices: [nic] },
  ]);
});

test("an empty /sys/class/iommu says that no IOMMU is in use", () => {
  const part = parseSysfsListing(linesOf("/sys/class/iommu:\ntotal 0\n", "ls"));
  assert.equal(part?.facts?.iommuInUse, false);
});

test("device list: every field, and fields that cannot be read", () => {
  const line = (more: string): string => `DEV 0000:01:10.0 vendor=0x8086 device=0x10ca ${more}`;
  const read = (more: string) => parseDeviceList(linesOf(`\n${line(more)}\n`, "devices"));
  const full = read(
    "sub=0x8086:0xa03c class=0x020000 rev=0x01 group=- iommu=dmar0 driver=- " +
      "physfn=0000:01:00.0 path=/sys/devices/pci0000:00/0000:00:01.0/0000:01:10.0",
  );
  const { config: _, place: at, ...fn } = full?.functions?.[0] ?? ({} as never);
  assert.deepEqual(fn, {
    bdf: makeBdf(0, 1, 16, 0),
    idsFrom: "numeric",
    ids: {
      vendor: 0x8086,
      device: 0x10ca,
      subVendor: 0x8086,
      subDevice: 0xa03c,
      revision: 1,
      classCode: 0x020000,
    },
    physfn: makeBdf(0, 1, 0, 0),
    parent: makeBdf(0, 0, 1, 0),
    driver: null,
  });
  assert.equal(at.line, 2);
  assert.deepEqual(full?.recorded?.groups, []);
  assert.throws(() => read("group=x7"), /devices:2: group: "x7" cannot be read; expected a number/);
  assert.throws(() => read("class=0xzz"), /devices:2: class: "0xzz" cannot be read/);
  assert.throws(() => read("physfn=elsewhere"), /devices:2: physfn: .* expected dddd:bb:dd\.f/);
});
