/**
 * `ioasis explain` for each cause people meet, on machines whose groups a kernel made. Each text
 * must name the thing that decides, and must not give what speaks against the verdict as a reason.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { main } from "../src/cli/main.js";
import { makePaint } from "../src/cli/render/text.js";

const FIXTURES = fileURLToPath(new URL("../../test/fixtures/ground-truth", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "ioasis-explain-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

async function answer(args: readonly string[]): Promise<string> {
  let text = "";
  const code = await main(args, {
    paint: makePaint(false),
    interactive: false,
    line: (line = "") => {
      text += `${line}\n`;
    },
    note: (note) => assert.fail(note),
  });
  assert.equal(code, 0);
  return text.replace(/\s+/g, " ");
}

interface Cause {
  readonly name: string;
  readonly machine: string;
  readonly devices: readonly string[];
  readonly says: readonly RegExp[];
  readonly silentOn?: RegExp;
}

const CAUSES: readonly Cause[] = [
  {
    name: "a bridge that replaces requester IDs",
    machine: "pcie-to-pci-bridge-6.12",
    devices: ["02:01.0", "02:02.0"],
    says: [
      /linux-6\.12: one group/,
      /They must use the same address space/,
      /carry the bridge's requester ID 02:00\.0/,
      /slot that is not behind this bridge/,
    ],
  },
  {
    name: "a root port without ACS",
    machine: "root-port-without-acs-6.12",
    devices: ["01:00.0"],
    says: [/has no Access Control Services \(ACS\) capability/, /Only other hardware or firmware/],
  },
  {
    name: "ACS bits switched off by config_acs",
    machine: "config-acs-6.12",
    devices: ["01:00.0"],
    says: [
      /root port 0000:00:01\.0 up to the root complex does not isolate/i,
      /has ACS, but Upstream Forwarding \(UF\) is off/,
      /take it out of disable_acs_redir and config_acs/,
      /pci=config_acs=xx111x1@0000:00:01\.0/,
    ],
  },
  {
    name: "functions of one slot",
    machine: "graphics-and-audio-6.12",
    devices: ["00:1f.0", "00:1f.2"],
    says: [/functions of one slot and neither is kept from the other/],
  },
  {
    name: "a quirk that vouches for a slot's functions",
    machine: "slot-with-quirked-function-6.12",
    devices: ["01:00.0", "01:00.1"],
    says: [/different groups/, /known to isolate .*kernel rule noPeerBetweenFunctions/],
  },
  {
    name: "a virtual function beside its physical function",
    machine: "sriov-without-quirk-6.12",
    devices: ["01:00.0", "01:00.1"],
    says: [
      /different groups/,
      /Linux never merges virtual function 0000:01:00\.1/,
      /What may join them all the same .*inside the device/,
    ],
  },
  {
    name: "a conventional device alone on the root bus: no word of ACS, which it does not lack here",
    machine: "switch-without-acs-6.12",
    devices: ["00:00.0"],
    says: [/alone in group 0/, /the only function of its slot: there is nothing beside it/],
    silentOn: /conventional PCI|no ACS/,
  },
  {
    name: "two devices of different slots: only what keeps them apart is a reason",
    machine: "switch-without-acs-6.12",
    devices: ["00:00.0", "02:02.0"],
    says: [/are in different slots: side by side, Linux merges only functions of one slot/],
    silentOn: /conventional PCI|has no Access Control/,
  },
  {
    name: "no IOMMU in use: no group, no address space, and the option that did it",
    machine: "iommu-off-6.12",
    devices: ["00:00.0", "00:01.0"],
    says: [
      /both in no group/,
      /Why they have no group 1\. No IOMMU was in use on this host \(intel_iommu=off\)/,
      /Removing intel_iommu=off from the kernel command line/,
    ],
    silentOn: /address space of its own|different groups/,
  },
  {
    name: "outside the scope of every unit",
    machine: "virtio-iommu-6.12",
    devices: ["00:1e.0"],
    says: [/in no group/, /Why it has no group/, /No IOMMU unit in the firmware's table covers/],
    silentOn: /address space of its own/,
  },
];

describe("explain, cause by cause", () => {
  for (const { name, machine, devices, says, silentOn } of CAUSES) {
    test(name, async () => {
      const text = await answer(["explain", ...devices, "--from", join(FIXTURES, machine)]);
      for (const pattern of says) assert.match(text, pattern);
      if (silentOn !== undefined) assert.doesNotMatch(text, silentOn);
    });
  }
});

const VMD = `0000:00:0e.0 RAID bus controller [0104]: Intel VMD [8086:467f]
0000:00:14.0 USB controller [0c03]: Intel xHCI [8086:a0ed]
10000:e0:06.0 PCI bridge [0604]: Intel Root Port [8086:9a09] (prog-if 00 [Normal decode])
\tBus: primary=00, secondary=e1, subordinate=e1, sec-latency=0
\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00
10000:e1:00.0 Non-Volatile memory controller [0108]: Samsung NVMe [144d:a808]
\tCapabilities: [70] Express (v2) Endpoint, MSI 00
`;

test("explain: a device of a volume management domain sends as its owner", async () => {
  const file = join(scratch, "vmd.txt");
  writeFileSync(file, VMD);
  const pair = await answer(["explain", "10000:e1:00.0", "00:0e.0", "--from", file]);
  assert.match(pair, /one group/);
  assert.match(pair, /They must use the same address space/);
  assert.match(pair, /sends as the volume management device .*0000:00:0e\.0 that owns its domain/);
  assert.match(pair, /volume management \(VMD, RST\) off in the firmware setup/);
  const apart = await answer(["explain", "10000:e1:00.0", "00:14.0", "--from", file]);
  assert.match(apart, /different groups/);
  assert.match(apart, /0000:00:0e\.0 and USB controller 0000:00:14\.0 are in different slots/);
});

const LISTING = `IOMMU Group 0:
\t00:00.0 Host bridge [0600]: Intel Corporation Device [8086:4660] (rev 02)
IOMMU Group 1:
\t00:01.0 PCI bridge [0604]: Intel Corporation PCI Express x16 Controller #1 [8086:460d]
\t01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA104 [10de:2484] (rev a1)
\t01:00.1 Audio device [0403]: NVIDIA Corporation GA104 HD Audio [10de:228b] (rev a1)
`;

test("a listing without configuration space: what cannot be known is not stated", async () => {
  const file = join(scratch, "listing.txt");
  writeFileSync(file, LISTING);
  const from = ["--from", file];
  const apart = await answer(["explain", "00:01.0", "01:00.0", ...from]);
  assert.match(apart, /different groups \(\d+ and \d+\), as far as the capture shows/);
  assert.match(apart, /does not show which bridges are above VGA controller 0000:01:00\.0/);
  assert.match(apart, /What would change it - A capture made as root/);
  assert.doesNotMatch(apart, /The IOMMU tells them apart/);
  const groups = await answer(["groups", ...from]);
  assert.match(groups, /Intel Corporation Device 4660/, "an unknown device keeps its number");
  assert.match(groups, /groups differ.*does not show which bridges are above/);
  assert.doesNotMatch(groups, /root complex may route/, "a reservation is no reason");
  assert.match(await answer(["devices", "01:00.0", ...from]), /defined: addresses not known/);
});

test("a tree of buses alone describes no function, and the answer says so", async () => {
  const file = join(scratch, "tree.txt");
  writeFileSync(file, "-[0000:00]-+-00.0\n           +-01.0-[01]----00.0\n           \\-1f.0\n");
  assert.match(await answer(["groups", "--from", file]), /describes no PCI function/);
});

test("p2p: a matrix of who reaches whom, and an overview that counts the root complex", async () => {
  const from = ["--from", join(FIXTURES, "switch-without-acs-6.12")];
  const matrix = await answer(["p2p", "03:00.0", "04:00.0", "00:1f.2", ...from]);
  assert.match(matrix, /0000:03:00\.0 - \. P2P/, "row of 03:00.0: SATA no, itself, the NVMe");
  assert.match(matrix, /0000:00:1f\.2 \. RC\? RC\?/);
  const overview = await answer(["p2p", ...from]);
  assert.match(overview, /reaches 0000:04:00\.0 via switch: 0x/);
  assert.match(overview, /may reach \d+ peers through the root complex, if it routes so/);
});

test("devices: one device in full has every answer", async () => {
  const from = ["--from", join(FIXTURES, "switch-without-acs-6.12")];
  const text = await answer(["devices", "03:00.0", ...from]);
  for (const field of [
    "driver",
    "group (linux-6.12)",
    "isolation group",
    "requester IDs 03:00.0",
    "address space may be its own",
    "assignable",
    "PASID no",
    "ATS no",
    "PRI no",
    "SVA no",
    "reaches 2 peers without the IOMMU 0000:04:00.0 via switch, certain: 0x",
  ]) {
    assert.ok(text.includes(field), `${field} in: ${text}`);
  }
  const off = ["devices", "00:01.0", "--from", join(FIXTURES, "iommu-off-6.12")];
  assert.match(await answer(off), /address space none: no IOMMU translates its requests/);
});
