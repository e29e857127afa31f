import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigSpace, ConfigSpaceBuilder, PciFunction } from "../pcie/index.js";
import { makeBdf } from "../units/index.js";
import type { Capture, CapturedFunction } from "./capture.js";
import { writeCaptureFile } from "./capture-file.js";
import { redactCapture, redactCommandLine, redactConfig } from "./redact.js";

/** Status says capabilities; VPD at 40h, PCI Express at 50h; serial number at 100h, ACS at 10ch. */
function config(): ConfigSpace {
  const out = new ConfigSpaceBuilder();
  for (let at = 0; at < 0x200; at += 4) out.set32(at, 0);
  out.set32(0, 0x10c98086).set16(6, 0x10).set8(0x34, 0x40);
  out.set8(0x40, 0x03).set8(0x41, 0x50).set16(0x42, 0x8010).set32(0x44, 0x534e3132);
  out.set8(0x50, 0x10).set16(0x52, 2);
  out.set32(0x100, 0x10c10003).set32(0x104, 0xffaabbcc).set32(0x108, 0x001b21ff);
  out.set32(0x10c, 0x0001000d).set32(0x110, 0x001d001d);
  return out.build(4096);
}

test("serial number and product data become zero, the rest stays", () => {
  const before = config();
  const after = redactConfig(before);
  for (let at = 0; at < 4096; at++) {
    const secret = (at >= 0x104 && at < 0x10c) || (at >= 0x42 && at < 0x48);
    assert.equal(after.u8(at), secret ? 0 : before.u8(at), at.toString(16));
    assert.equal(after.isKnown(at, 1), before.isKnown(at, 1));
  }
  const read = (c: ConfigSpace) => new PciFunction({ bdf: makeBdf(0, 1, 0, 0), config: c });
  assert.deepEqual(read(after).acs, read(before).acs);
});

test("a function without such capabilities keeps its object", () => {
  const plain = new ConfigSpace(Uint8Array.of(1, 2, 3), 64);
  assert.equal(redactConfig(plain), plain);
});

test("command line: identifying options go, those the kernel's IOMMU code reads stay", () => {
  const text =
    "BOOT_IMAGE=/vmlinuz root=UUID=696729ec-a4f2-44f1-9fb9-4f65aa0d2fd8 ro ip=10.0.0.7::host-a " +
    'pci=noats,config_acs="xx111x1@00:01.0" iommu=pt hostname=alpha';
  assert.equal(
    redactCommandLine(text),
    "BOOT_IMAGE=/vmlinuz root=REDACTED ro ip=REDACTED " +
      'pci=noats,config_acs="xx111x1@00:01.0" iommu=pt hostname=REDACTED',
  );
});

test("a host's name leaves the options that the analysis reads alone", () => {
  const commandLine = 'hda=pci,1 iommu=pt "pci=config_acs=pci@0000:00:01.0" intel_iommu=on';
  const capture: Capture = {
    parts: [],
    functions: [],
    facts: { commandLine },
    recorded: null,
    notes: [],
  };
  const { facts } = redactCapture(capture, { secrets: ["pci"] });
  assert.equal(facts.commandLine, commandLine.replace("hda=pci", "hda=REDACTED"));
});

test("nothing that identifies is left in the file", () => {
  const fn: CapturedFunction = {
    bdf: makeBdf(0, 1, 0, 0),
    config: config(),
    place: { file: "/srv/alice/box17/lspci.txt", line: 3 },
    idsFrom: "hex",
    name: "NIC 00:1b:21:aa:bb:cc of box17",
    label: "enx001b21aabbcc",
    driver: "igb",
    shown: { "Serial number": "XYZ-12345", numa: "0" },
  };
  const capture: Capture = {
    parts: [{ kind: "lspci-text", place: { file: "/srv/alice/box17/lspci.txt" } }],
    functions: [fn],
    facts: {
      kernel: "6.1.0",
      commandLine:
        "root=/dev/mapper/box17-root BOOTIF=01-00-1b-21-aa-bb-cc rd.luks.uuid=x quiet iommu=pt",
    },
    recorded: { from: "lspci", place: { file: "/srv/alice/box17/lspci.txt" }, groups: [] },
    notes: [
      {
        severity: "info",
        text: "dmesg (/srv/alice/box17/lspci.txt) of alice@example.org",
        place: { file: "/srv/alice/box17/lspci.txt" },
      },
    ],
  };
  const text = writeCaptureFile(redactCapture(capture, { secrets: ["Box17"] }), {
    toolVersion: "0",
    redacted: true,
  });
  for (const secret of ["alice", "box17", "1b21aabb", "1b:21", "1b-21", "XYZ", "mapper"]) {
    assert.ok(!text.toLowerCase().includes(secret.toLowerCase()), secret);
  }
  assert.match(
    text,
    /"commandLine":"root=REDACTED BOOTIF=REDACTED rd\.luks\.uuid=REDACTED quiet iommu=pt"/,
  );
  assert.match(text, /"driver":"igb"/);
  assert.match(text, /"file":"lspci\.txt"/);
});
