import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatBdf, InputError } from "../../units/index.js";
import type { CapturePart } from "../capture.js";
import { looksLikeDmesg, parseDmesg } from "./dmesg.js";
import { linesOf } from "./text.js";

function read(text: string): CapturePart | undefined {
  return parseDmesg(linesOf(text, "log"));
}

function groups(part: CapturePart | undefined): Record<number, string[]> {
  const list = part?.recorded?.groups ?? [];
  return Object.fromEntries(list.map((g) => [g.id, g.devices.map(formatBdf)]));
}

test("group lines behind every kind of prefix", () => {
  const lines = [
    "[    0.428592] pci 0000:00:02.0: Adding to iommu group 0",
    "<6>[    0.938295] pcieport 0000:00:01.0: Adding to iommu group 1",
    "[Di Mär 24 07:10:54 2026] mlx5_core 000a:11:00.0: Adding to iommu group 2",
    "Jan 12 10:00:01 box kernel: [    1.5] pci 0000:00:1f.0: Adding to iommu group 3",
    "2024-05-01T10:00:00+0200 box kernel: pci 0000:00:1f.2: Adding to iommu group 3",
    "[   14.569855] iommu: Adding device 0000:06:00.2 to group 5",
    "Adding device 0000:06:00.3 to group 5",
    "[    7.307539] hisi_sas_v2_hw HISI0162:01: Adding to iommu group 7",
    "[    1.1] pci 10000:e0:06.0: Adding to iommu group 8",
  ];
  assert.ok(lines.every((l) => looksLikeDmesg(l)));
  assert.deepEqual(groups(read(lines.join("\n"))), {
    0: ["0000:00:02.0"],
    1: ["0000:00:01.0"],
    2: ["000a:11:00.0"],
    3: ["0000:00:1f.0", "0000:00:1f.2"],
    5: ["0000:06:00.2", "0000:06:00.3"],
    8: ["10000:e0:06.0"],
  });
});

test("a device removed and found again belongs to its last group", () => {
  const part = read(`
[    1.0] pci 0000:01:00.0: Adding to iommu group 4
[    1.1] pci 0000:02:00.0: Adding to iommu group 5
[   50.0] pci 0000:01:00.0: Removing from iommu group 4
[   60.0] pci 0000:01:00.0: Adding to iommu group 6
[   61.0] pci 0000:02:00.0: Adding to iommu group 7
[   70.0] pci 0000:03:00.0: Adding to iommu group 8
[   80.0] pci 0000:03:00.0: Removing from iommu group 8`);
  assert.deepEqual(groups(part), { 6: ["0000:01:00.0"], 7: ["0000:02:00.0"] });
  assert.match(part?.notes?.[0]?.text ?? "", /1 devices changed their group/);
});

test("two logs in one file: the groups of the last", () => {
  const part = read(`
[    3.0] pci 0000:00:00.0: Adding to iommu group 0
[    9.0] pci 0000:00:01.0: Adding to iommu group 1
prose in between
[    2.0] pci 0000:00:00.0: Adding to iommu group 0
[    2.1] pci 0000:00:01.0: Adding to iommu group 0`);
  assert.deepEqual(groups(part), { 0: ["0000:00:00.0", "0000:00:01.0"] });
  assert.equal(part?.notes?.[0]?.severity, "conflict");
});

test("which boot counts does not depend on its group lines", () => {
  const log = (withGroups: boolean): string => `
[    0.0] Linux version 6.1.0-1-amd64 (x86_64-linux-gnu-gcc)
[    0.0] Command line: root=/dev/sda1 intel_iommu=on
${withGroups ? "[    1.0] pci 0000:00:00.0: Adding to iommu group 0" : ""}
[    0.0] Linux version 6.1.0-1-amd64 (x86_64-linux-gnu-gcc)
[    0.0] Command line: root=/dev/sda1 irqpoll elfcorehdr=900536K`;
  for (const text of [log(true), log(false)]) {
    assert.equal(read(text)?.facts?.commandLine, "root=/dev/sda1 intel_iommu=on");
  }
  const { recorded: _, functions: __, ...a } = read(log(true)) ?? {};
  const { recorded: ___, functions: ____, ...b } = read(log(false)) ?? {};
  assert.deepEqual(a, b);
});

test("facts of an Intel host", () => {
  const part = read(`
[    0.000000] Linux version 6.17.0-19-generic (buildd@host) (x86_64-linux-gnu-gcc-13) #19
[    0.000000] Command line: BOOT_IMAGE=/vmlinuz root=UUID=1 ro "dyndbg=file drivers/pci/* +p"
[    0.010000] ACPI: RSDP 0x000000007FEFE014 000024 (v02 APPLE )
[    0.010000] ACPI: XSDT 0x000000007FEBD188 0000B4 (v01 APPLE  Apple00  00000000      01000013)
[    0.010000] ACPI: APIC 0x000000007FEFC000 0000BC (v02 APPLE  Apple00  00000001 Loki 0000005F)
[    0.010000] ACPI: DMAR 0x0000000078FCA000 000088 (v01 APPLE  EDK2     00000002      01000013)
[    0.050000] DMAR: DRHD base: 0x000000fed90000 flags: 0x0
[    0.050000] DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap 1c0000c40660462 ecap 19e2ff0505e
[    0.050000] DMAR: DRHD base: 0x000000fed91000 flags: 0x1
[    0.050000] DMAR: RMRR base: 0x00000079800000 end: 0x0000007fffffff
[    0.500000] DMAR: Intel(R) Virtualization Technology for Directed I/O`);
  assert.deepEqual(part?.facts, {
    kernel: "6.17.0-19-generic",
    architecture: "x86",
    commandLine: 'BOOT_IMAGE=/vmlinuz root=UUID=1 ro "dyndbg=file drivers/pci/* +p"',
    firmware: "acpi",
    iommuInUse: true,
    acpiTables: { present: ["RSDP", "XSDT", "APIC", "DMAR"], complete: true },
    iommus: [
      {
        kind: "vt-d",
        registerBase: 0xfed90000n,
        includeAll: false,
        name: "dmar0",
        cap: 0x1c0000c40660462n,
        ecap: 0x19e2ff0505en,
      },
      { kind: "vt-d", registerBase: 0xfed91000n, includeAll: true },
    ],
    loggedReserved: [{ first: 0x79800000n, last: 0x7fffffffn }],
  });
});

test("AMD, Arm and virtio units; a switched-off IOMMU; VMD", () => {
  const amd = read(`
[    1.0] pci 0000:00:00.2: AMD-Vi: Found IOMMU cap 0x40
[    1.0] AMD-Vi: Extended features (0x58f77ef22294a5a, 0x1d): PPR NX GT IA PC`);
  assert.deepEqual(amd?.facts?.iommus, [
    { kind: "amd-vi", at: 2, efr: 0x58f77ef22294a5an, efr2: 0x1dn },
  ]);
  const arm = read(
    "[    1.0] arm-smmu-v3 arm-smmu-v3.0.auto: ias 44-bit, oas 44-bit (features 0x1)",
  );
  assert.deepEqual(arm?.facts?.iommus, [{ kind: "smmuv3", name: "arm-smmu-v3.0.auto" }]);
  assert.equal(arm?.facts?.iommuInUse, true);
  const virtio = read("[    3.9] virtio_iommu virtio0: input address: 39 bits");
  assert.deepEqual(virtio?.facts?.iommus, [{ kind: "virtio", name: "virtio0" }]);
  const off = read("[    0.2] DMAR: IOMMU disabled\n[    0.0] Command line: intel_iommu=off");
  assert.equal(off?.facts?.iommuInUse, false);
  const vmd = read(
    "[    2.0] vmd 0000:00:0e.0: PCI host bridge to bus 10000:e0\n[    0.0] Command line: quiet",
  );
  assert.deepEqual(vmd?.facts?.childDomains, [{ segment: 0x10000, owner: 0x70 }]);
});

test("group lines alone do not say that an IOMMU is in use", () => {
  assert.equal(read("pci 0000:00:02.0: Adding to iommu group 0")?.facts?.iommuInUse, undefined);
});

test("a log without anything of use is no part", () => {
  assert.equal(read("[    0.0] clocksource: hpet\n[    0.1] PM: hibernation"), undefined);
});

test("mutated logs never throw anything but InputError", () => {
  const good = `[    0.0] Linux version 6.1.0 (gcc)
[    0.1] pci 0000:00:02.0: Adding to iommu group 0
[    0.2] DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap 1c0 ecap 19e
[    0.3] AMD-Vi: Extended features (0x58f, 0x1d): PPR
[    0.4] iommu: Adding device 0000:06:00.2 to group 5`;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length), fc.string({ maxLength: 4 })), { maxLength: 6 }),
      (changes) => {
        let text = good;
        for (const [at, add] of changes) text = text.slice(0, at) + add + text.slice(at + 2);
        try {
          read(text);
        } catch (error) {
          assert.ok(InputError.is(error), String(error));
        }
      },
    ),
    { seed: 3, numRuns: 1000 },
  );
});
