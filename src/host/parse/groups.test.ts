import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBdf, InputError } from "../../units/index.js";
import type { CapturePart } from "../capture.js";
import { GROUP_ENTRY_LIMIT, looksLikeGroups, parseGroups } from "./groups.js";
import { parseReserved } from "./groups-reserved.js";
import { linesOf } from "./text.js";

function read(text: string): CapturePart | undefined {
  return parseGroups(linesOf(text, "list"));
}

function groups(part: CapturePart | undefined): string {
  const list = part?.recorded?.groups ?? [];
  return list
    .map((g) => `${g.id}:${g.devices.map((d) => formatBdf(d).slice(5)).join(",")}`)
    .join(" ");
}

const EXPECTED = "0:00:00.0 12:00:1f.0,00:1f.3";

const LONG = "lrwxrwxrwx 1 root root 0 Nov 22 05:40";
const link = (device: string): string =>
  `${LONG} ${device} -> ../../../../devices/pci0000:00/${device}`;
const groupLink = (path: string, group: number): string =>
  `${LONG} ${path} -> ../../../kernel/iommu_groups/${group}`;

const FORMS: Readonly<Record<string, string>> = {
  "GROUP n BDF": "GROUP 0 0000:00:00.0\nGROUP 12 0000:00:1f.0\nGROUP 12 0000:00:1f.3\n",
  "one line each":
    "IOMMU Group 0 00:00.0 Host bridge [0600]: Intel Corporation Device [8086:3c00] (rev 07)\n" +
    "IOMMU Group 12 00:1f.0 ISA bridge [0601]: Intel Corporation Device [8086:1d41]\n" +
    "IOMMU Group 12 00:1f.3 SMBus [0c05]: Intel Corporation Device [8086:1d22]\n",
  "colon after the number":
    "IOMMU Group 0: 00:00.0 Host bridge\n" +
    "IOMMU Group 12: 00:1f.0 ISA bridge\nIOMMU Group 12: 00:1f.3 SMBus\n",
  "heads with devices below":
    "IOMMU Group 0:\n\t00:00.0 Host bridge [0600]: Intel Corporation Device [8086:3c00]\n" +
    "IOMMU Group 12:\n\t00:1f.0 ISA bridge [0601]: Intel Corporation Device [8086:1d41]\n" +
    "\t00:1f.3 SMBus [0c05]: Intel Corporation Device [8086:1d22]\n",
  "ids and reset mark first":
    "Group 0:\t[8086:3c00]     00:00.0  Host bridge        Device\n" +
    "Group 12:\t[8086:1d41] [R] 00:1f.0  ISA bridge         Device\n" +
    "\t\t[8086:1d22]     00:1f.3  SMBus              Device\n",
  "quoted in mail":
    "> IOMMU Group 0:\n>         00:00.0 Host bridge [0600]: Device [8086:3c00]\n" +
    "> IOMMU Group 12:\n>         00:1f.0 ISA bridge [0601]: Device\n> [8086:1d41]\n" +
    ">         00:1f.3 SMBus [0c05]: X\n",
  "device and group": "# comment\n0000:00:00.0\t0\n0000:00:1f.0\t12\n0000:00:1f.3\t12\n",
  "group and device": "0 0000:00:00.0\n12 0000:00:1f.0\n12 0000:00:1f.3\n",
  find:
    "/sys/kernel/iommu_groups/12/devices/0000:00:1f.0\n" +
    "/sys/kernel/iommu_groups/0/devices/0000:00:00.0\n" +
    "/sys/kernel/iommu_groups/12/devices/0000:00:1f.3\n",
  "ls -l of the groups":
    "/sys/kernel/iommu_groups/0/devices:\ntotal 0\n" +
    `${link("0000:00:00.0")}\n\n` +
    "/sys/kernel/iommu_groups/12/devices:\ntotal 0\n" +
    `${link("0000:00:1f.0")}\n` +
    `${link("0000:00:1f.3")}\n`,
  "ls -l of the devices' links":
    `${groupLink("/sys/bus/pci/devices/0000:00:00.0/iommu_group", 0)}\n` +
    `${groupLink("/sys/bus/pci/devices/0000:00:1f.0/iommu_group", 12)}\n` +
    `${groupLink("/sys/bus/pci/devices/0000:00:1f.3/iommu_group", 12)}\n`,
};

for (const [name, text] of Object.entries(FORMS)) {
  test(`group list: ${name}`, () => {
    assert.ok(looksLikeGroups(text));
    const part = read(text);
    assert.equal(groups(part), EXPECTED);
    assert.equal(part?.functions?.length, 3);
    assert.deepEqual(part?.notes, []);
  });
}

test("ids and class that a listing shows", () => {
  const fn = read(FORMS["one line each"] ?? "")?.functions?.[0];
  assert.equal(fn?.ids?.vendor, 0x8086);
  assert.equal(fn?.ids?.device, 0x3c00);
  assert.equal(fn?.ids?.revision, 7);
  assert.equal(fn?.config.extent, 0);
  const early = read(FORMS["ids and reset mark first"] ?? "")?.functions?.[2];
  assert.deepEqual([early?.ids?.vendor, early?.ids?.device], [0x8086, 0x1d22]);
});

test("before and after in one file: the last full listing, and a note", () => {
  const part = read(`For example with 5.8:
IOMMU Group 40:
         08:01.0 PCI bridge
IOMMU Group 41:
         09:00.0 Ethernet controller

And with 5.9:
IOMMU Group 29:
         08:01.0 PCI bridge
         09:00.0 Ethernet controller
`);
  assert.equal(groups(part), "29:08:01.0,09:00.0");
  assert.equal(part?.contradictsItself, true);
  assert.match(
    part?.notes?.[0]?.text ?? "",
    /listing from line 9 is used, not the one from line 3/,
  );
});

test("a list cut in two by prose stays one list", () => {
  const part = read(
    "IOMMU Group 0:\n\t00:00.0 Host bridge\n\nmore below\n\nIOMMU Group 1:\n\t00:01.0 PCI bridge\n",
  );
  assert.equal(groups(part), "0:00:00.0 1:00:01.0");
});

test("prose that mentions groups is no list", () => {
  assert.equal(read("The devices are in IOMMU Group 12 now.\nGroup policy 4.\n"), undefined);
});

test("reserved regions with the group's type", () => {
  const part = parseReserved(
    linesOf(
      "GROUP 2 type=DMA-FQ name=\n0x0000000000000000 0x0000000000ffffff direct-relaxable\n" +
        "0x00000000fee00000 0x00000000feefffff msi\nGROUP 3 type=identity name=\n",
      "reserved",
    ),
  );
  assert.deepEqual(part?.groupDetails, [
    {
      id: 2,
      type: "DMA-FQ",
      reserved: [
        { span: { first: 0n, last: 0xffffffn }, kind: "direct-relaxable" },
        { span: { first: 0xfee00000n, last: 0xfeefffffn }, kind: "msi" },
      ],
    },
    { id: 3, type: "identity" },
  ]);
});

test("a list with more entries than a host can have is refused with its line", () => {
  const line = "1 00:01.0\n";
  const long = linesOf(line.repeat(GROUP_ENTRY_LIMIT + 1), "list");
  assert.throws(
    () => parseGroups(long),
    (error) => InputError.is(error) && error.place.line === GROUP_ENTRY_LIMIT + 1,
  );
});
