/**
 * lspci text that lost its indentation, next to lists of groups whose lines look like its own:
 * every header line is a function of the capture, and groups are those that were shown.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { sharedFolder, skipWithoutShared } from "../../../test/support/shared.js";
import { formatBdf } from "../../units/index.js";
import type { CapturePart } from "../capture.js";
import { detectParts } from "../detect.js";
import { mergeParts } from "../merge.js";
import { parseLspciFile } from "./lspci-file.js";

const FIXTURES = fileURLToPath(new URL("../../../../test/fixtures/ground-truth/", import.meta.url));

const lose = {
  "all indentation": (text: string): string => text.replace(/^[ \t]+/gm, ""),
  "the first tab": (text: string): string => text.replace(/^\t/gm, ""),
};

/** Functions and recorded groups, without places; a bus tree needs its indentation. */
function essence(parts: readonly CapturePart[]): unknown {
  return parts.flatMap(({ functions, recorded }) => [
    ...(functions ?? []).map(({ place: _place, ...rest }) => ({
      ...rest,
      known: Array.from({ length: 4096 }, (_, at) => Number(rest.config.isKnown(at, 1))).join(""),
    })),
    recorded?.groups,
  ]);
}

function assertSame(text: string, name: string): number {
  const wanted = parseLspciFile(Buffer.from(text), name).filter((p) => p.functions !== undefined);
  for (const [what, mangle] of Object.entries(lose)) {
    const found = parseLspciFile(Buffer.from(mangle(text)), name);
    const parts = found.filter((p) => p.functions !== undefined);
    assert.deepEqual(essence(parts), essence(wanted), `${name} without ${what}`);
  }
  return wanted.flatMap((p) => p.functions ?? []).length;
}

test("shipped captures without indentation: the same functions and groups", () => {
  let functions = 0;
  for (const name of readdirSync(FIXTURES)) {
    if (name.endsWith(".md")) continue;
    functions += assertSame(readFileSync(join(FIXTURES, name, "lspci.txt"), "utf8"), name);
  }
  assert.ok(functions > 80, `${functions}`);
});

test("all real captures without indentation", { skip: skipWithoutShared() }, () => {
  const hosts = join(sharedFolder() ?? "", "hosts");
  let functions = 0;
  for (const sample of readdirSync(hosts)) {
    if (sample.endsWith(".md")) continue;
    for (const file of readdirSync(join(hosts, sample))) {
      if (!file.startsWith("lspci") || !file.endsWith(".txt")) continue;
      functions += assertSame(readFileSync(join(hosts, sample, file), "utf8"), file);
    }
  }
  assert.ok(functions > 900, `${functions}`);
});

test("all booted captures without indentation", { skip: skipWithoutShared() }, () => {
  const machines = join(sharedFolder() ?? "", "groundtruth");
  for (const sample of readdirSync(machines)) {
    if (sample.endsWith(".md")) continue;
    const text = readFileSync(join(machines, sample, "lspci-vvvxxxx.txt"), "utf8");
    assert.ok(assertSame(text, sample) > 0);
  }
});

const TWO = `00:00.0 Host bridge [0600]: Intel Corporation Device [8086:29c0]
\tControl: I/O+ Mem+ BusMaster+
\tIOMMU group: 0

00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:2011] (prog-if 00 [Normal decode])
\tControl: I/O+ Mem+ BusMaster+
\tIOMMU group: 1
\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00
\t\tDevCap: MaxPayload 128 bytes, PhantFunc 0, Latency L0s <64ns, L1 <1us and so on to wrap it
\t\tExtTag- RBE+

01:00.0 Ethernet controller [0200]: Intel Corporation Device [8086:10d3]
\tControl: I/O+ Mem+ BusMaster+
\tIOMMU group: 1
`;
const ALL = ["0000:00:00.0", "0000:00:01.0", "0000:01:00.0"];
const GROUPS = ["0: 0000:00:00.0", "1: 0000:00:01.0 0000:01:00.0"];

const capture = (text: string) => mergeParts(detectParts(Buffer.from(text), "f"), { file: "f" });
const groupsOf = (text: string): string[] =>
  (capture(text).recorded?.groups ?? []).map(
    (g) => `${g.id}: ${g.devices.map(formatBdf).join(" ")}`,
  );
const shown = (text: string): [string[], number[]] => {
  const { functions } = capture(text);
  return [functions.map((f) => formatBdf(f.bdf)), functions.map((f) => f.config.extent)];
};

const flat = lose["all indentation"];
const LIST = `IOMMU Group 0:
\t00:00.0 Host bridge [0600]: Intel Corporation Device [8086:29c0]
IOMMU Group 1:
\t00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:2011]
\t01:00.0 Ethernet controller [0200]: Intel Corporation Device [8086:10d3]
`;

test("lspci's own group lines are no headings of a list", () => {
  for (const text of [TWO, flat(TWO), TWO.replace(/^(?=.)/gm, "    ")]) {
    const parts = detectParts(Buffer.from(text), "f");
    assert.deepEqual(
      parts.map((p) => p.recorded?.from),
      ["lspci"],
    );
    assert.deepEqual(groupsOf(text), GROUPS);
    assert.deepEqual(shown(text)[0], ALL);
  }
});

test("lists of groups are read with and without indentation", () => {
  for (const text of [LIST, flat(LIST), LIST.replaceAll("Group ", "group: ").replace(/:$/gm, "")]) {
    for (const spelt of [text, text.replaceAll("\n", "\n\n")]) {
      if (text !== LIST && spelt !== text) continue;
      assert.deepEqual(groupsOf(spelt), GROUPS, spelt);
      assert.deepEqual(shown(spelt), [ALL, [0, 0, 0]]);
    }
  }
});

test("a listing below a list of groups is read, whatever parts them", () => {
  const wanted = shown(TWO);
  for (const list of [LIST, flat(LIST)]) {
    for (const text of [TWO, flat(TWO)]) {
      for (const between of ["\n", "", "$ sudo lspci -vvv\n", "\nand lspci says:\n\n"]) {
        assert.deepEqual(shown(`${list}${between}${text}`), wanted, `${list}${between}${text}`);
        assert.deepEqual(groupsOf(`${list}${between}${text}`), GROUPS);
        assert.deepEqual(shown(`${text}\n${list}`), wanted);
      }
    }
  }
});

test("a plain listing below a list of groups adds its devices to no group", () => {
  const plain = "02:00.0 VGA compatible controller [0300]: NVIDIA Corporation Device [10de:1b80]\n";
  for (const text of [`${LIST}$ lspci -nn\n${plain}`, `${flat(LIST)}$ lspci -nn\n${plain}`]) {
    assert.deepEqual(groupsOf(text), GROUPS);
    assert.deepEqual(shown(text)[0], [...ALL, "0000:02:00.0"]);
  }
});

test("registers inside a list of groups are read", () => {
  const detailed = TWO.replace(/^\tIOMMU group.*\n/gm, "").replace(/^(?=.)/gm, "\t");
  const [first = "", ...others] = detailed.split("\n\n");
  const text = `IOMMU Group 0:\n${first}\nIOMMU Group 1:\n${others.join("\n")}`;
  assert.deepEqual(groupsOf(text), GROUPS);
  assert.deepEqual(shown(text), shown(TWO));
});

test("prose after flat text does not become registers", () => {
  const text = `${flat(TWO)}\nThanks,\nACSCap: SrcValid+ was what I hoped for\n`;
  assert.deepEqual(
    essence(detectParts(Buffer.from(text), "f")),
    essence(detectParts(Buffer.from(TWO), "f")),
  );
});
