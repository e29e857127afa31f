/**
 * Dumps cut short against the whole dump: what is shown is known, a capability is known absent only
 * when every link of its chain is shown, and nothing differs from the whole.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sharedFiles, sharedFolder, skipWithoutShared } from "../../../test/support/shared.js";
import { type ConfigSpace, PciFunction } from "../../pcie/index.js";
import { formatBdf } from "../../units/index.js";
import type { CapturedFunction, CapturePart } from "../capture.js";
import { mergeParts } from "../merge.js";
import { redactConfig } from "../redact.js";
import { parsePureHexDump } from "./hex-dump.js";
import { parseLspciFile, parseLspciText } from "./lspci-file.js";
import { linesOf } from "./text.js";

const CUTS = [0x40, 0x50, 0x80, 0xd0, 0x100, 0x110, 0x150, 0x200, 0x300, 0xff0];

const ROW = /^([0-9a-f]{2,3}):((?: [0-9a-f]{2})+)\n/gm;

/** Header lines and hex rows below `end`. */
function dumpOf(text: string, end: number): string {
  const lines = text.split("\n").filter((line) => {
    const row = /^([0-9a-f]{2,3}): [0-9a-f]{2} /.exec(line);
    if (row !== null) return Number.parseInt(row[1] ?? "", 16) < end;
    return line === "" || /^(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] /.test(line);
  });
  return lines.join("\n");
}

/** The same with everything else kept. */
const cutRows = (text: string, end: number): string =>
  text.replace(ROW, (row, offset: string) => (Number.parseInt(offset, 16) < end ? row : ""));

const functionsOf = (parts: readonly CapturePart[]): readonly CapturedFunction[] =>
  parts.flatMap((p) => p.functions ?? []);

/** First byte behind the last link of a chain, 0 when the function has none: walked anew here. */
function chainEnds(config: ConfigSpace): { standard: number; extended: number } {
  const ends = { standard: 0, extended: 0 };
  if ((config.u8(6) & 0x10) === 0) return ends;
  let express = false;
  for (let at = config.u8(0x34) & 0xfc; at !== 0; at = config.u8(at + 1) & 0xfc) {
    ends.standard = Math.max(ends.standard, at + 2);
    express ||= config.u8(at) === 0x10;
  }
  for (let at = 0x100; express && at !== 0; at = (config.u32(at) >>> 20) & 0xffc) {
    ends.extended = Math.max(ends.extended, at + 4);
  }
  return ends;
}

const FACTS = ["express", "acs", "ats", "pri", "pasid", "sriov"] as const;

function assertCut(cut: CapturedFunction, whole: CapturedFunction, end: number): void {
  const at = `${formatBdf(whole.bdf)} to 0x${end.toString(16)}`;
  const shown = Math.min(end, whole.config.extent);
  const { standard, extended } = chainEnds(whole.config);
  // Without all standard capabilities the header counts alone.
  const known = shown < 256 && standard > shown ? 64 : shown;
  for (let i = 0; i < 4096; i++) {
    assert.equal(cut.config.isKnown(i, 1), i < known, `${at}: byte 0x${i.toString(16)}`);
    if (i < known) assert.equal(cut.config.u8(i), whole.config.u8(i));
  }
  const a = new PciFunction(cut);
  const b = new PciFunction(whole);
  if (standard <= known) assert.equal(a.isPcie, b.isPcie, at);
  for (const fact of FACTS) {
    const mine = a[fact];
    const theirs = b[fact];
    const end = fact === "express" ? standard : Math.max(standard, extended);
    if (end <= known && (known >= 256 || extended === 0)) assert.notEqual(mine, undefined, at);
    if (mine === undefined) continue;
    assert.equal(mine === null, theirs === null, `${at}: ${fact}`);
    for (const [name, value] of Object.entries(mine ?? {})) {
      const other = (theirs as unknown as Record<string, unknown>)[name];
      if (value !== undefined) assert.deepEqual(value, other, `${at}: ${fact}.${name}`);
    }
  }
}

function assertCuts(text: string, name: string): void {
  const whole = new Map(
    functionsOf(parseLspciFile(Buffer.from(dumpOf(text, 4096)), name)).map((f) => [f.bdf, f]),
  );
  assert.ok(whole.size > 0, name);
  for (const end of CUTS) {
    const dump = dumpOf(text, end);
    const quick = parsePureHexDump(Buffer.from(dump), name)?.functions;
    const slow = functionsOf(parseLspciText(linesOf(dump, name)));
    assert.equal(quick?.length, whole.size, name);
    assert.deepEqual(
      quick.map((f) => ({ ...f, shown: {} })),
      slow.map((f) => ({ ...f, shown: {} })),
    );
    for (const cut of quick) {
      const other = whole.get(cut.bdf);
      assert.ok(other !== undefined);
      // A function that did not answer shows nothing either way.
      if (other.config.extent > 0) assertCut(cut, other, end);
    }
  }
}

test("cut dumps of booted machines", { skip: skipWithoutShared() }, () => {
  const samples = sharedFiles("groundtruth", "lspci-vvvxxxx.txt");
  for (const { sample, text } of samples.filter((_, i) => i % 4 === 0)) assertCuts(text, sample);
});

test("cut dumps of real hosts", { skip: skipWithoutShared() }, () => {
  const hosts = join(sharedFolder() ?? "", "hosts");
  for (const file of [
    "04-amd-team2-no-groups-4k-hex/lspci-xxxx.txt",
    "06-asus-alderlake-laptop-4k-hex/lspci-vvv-xxxx.txt",
  ]) {
    assertCuts(readFileSync(join(hosts, file), "utf8"), file);
  }
});

test("decoded text with a cut dump gives all that the text gives", {
  skip: skipWithoutShared(),
}, () => {
  for (const { sample, text } of sharedFiles("groundtruth", "lspci-vvvxxxx.txt").slice(0, 20)) {
    const whole = new Map(
      functionsOf(parseLspciFile(Buffer.from(text), sample)).map((f) => [f.bdf, f]),
    );
    for (const end of CUTS) {
      const parts = parseLspciFile(Buffer.from(cutRows(text, end)), sample);
      assert.ok(parts.every((p) => p.notes === undefined));
      for (const fn of functionsOf(parts)) {
        const a = new PciFunction(fn);
        const b = new PciFunction(whole.get(fn.bdf) ?? fn);
        assert.equal(a.acs?.control, b.acs?.control, `${sample} ${formatBdf(fn.bdf)}`);
        assert.equal(a.acs?.capability, b.acs?.capability);
        assert.deepEqual(a.express?.portType, b.express?.portType);
        for (let i = 0; i < Math.min(end, 256); i++) assert.ok(fn.config.isKnown(i, 1));
      }
    }
  }
});

/** AER at 0x100, a serial number at 0x140, ACS at 0x150, and ATS at `last` unless that is 0. */
function device(last = 0): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x10d38086, true);
  bytes[6] = 0x10;
  bytes[0x0b] = 0x02;
  bytes[0x34] = 0x40;
  view.setUint16(0x40, 0x0010, true);
  view.setUint16(0x42, 0x0002, true);
  view.setUint32(0x100, 0x14010001, true);
  view.setUint32(0x140, 0x15010003, true);
  bytes.fill(0xab, 0x144, 0x14c);
  view.setUint32(0x150, (last << 20) | 0x1000d, true);
  view.setUint16(0x154, 0x5f, true);
  view.setUint16(0x156, 0x1d, true);
  if (last !== 0) view.setUint32(last, 0x1000f, true);
  return bytes;
}

function listing(bytes: Uint8Array, end: number): string {
  const rows = ["01:00.0 Ethernet controller: Intel Corporation 82574L (rev 00)"];
  for (let at = 0; at < end; at += 16) {
    const row = [...bytes.subarray(at, Math.min(at + 16, end))];
    const cells = row.map((b) => b.toString(16).padStart(2, "0"));
    rows.push(`${at.toString(16).padStart(2, "0")}: ${cells.join(" ")}`);
  }
  return `${rows.join("\n")}\n`;
}

const read = (bytes: Uint8Array, end: number): PciFunction => {
  const [fn] = functionsOf(parseLspciFile(Buffer.from(listing(bytes, end)), "f"));
  assert.ok(fn !== undefined);
  return new PciFunction(fn);
};

test("the chain decides: absent when it is shown whole, not known when a link is not shown", () => {
  const inside = read(device(), 0x200);
  assert.equal(inside.acs?.control, 0x1d);
  assert.equal(inside.ats, null);
  assert.equal(inside.capabilities.extended?.complete, true);
  const leaves = read(device(0x280), 0x200);
  assert.equal(leaves.acs?.control, 0x1d, "what comes before the cut is known");
  assert.equal(leaves.ats, undefined);
  assert.equal(leaves.capabilities.extended?.complete, false);
  assert.equal(leaves.capabilities.broken, false);
  assert.notEqual(read(device(0x280), 0x290).ats, null);
});

test("a cut inside a register: its link is known, its value is not", () => {
  const { acs } = read(device(), 0x156);
  assert.equal(acs?.capability, 0x5f);
  assert.equal(acs?.control, undefined);
  assert.equal(read(device(), 0x152).acs, undefined);
});

test("a cut dump and text of one host in two files complete each other", () => {
  const dump = parseLspciFile(Buffer.from(listing(device(0x280), 0x200)), "a");
  const text = parseLspciFile(
    Buffer.from(`01:00.0 Ethernet controller: Intel Corporation 82574L
\tControl: I/O- Mem- BusMaster- SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-
\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-
\tCapabilities: [40] Express (v2) Endpoint, MSI 00
\tCapabilities: [100 v1] Advanced Error Reporting
\tCapabilities: [140 v1] Device Serial Number ab-ab-ab-ab-ab-ab-ab-ab
\tCapabilities: [150 v1] Access Control Services
\t\tACSCtl: SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\tCapabilities: [280 v1] Address Translation Service (ATS)
`),
    "b",
  );
  const { functions, notes } = mergeParts([...dump, ...text], { file: "host" });
  assert.deepEqual(notes, []);
  const [fn] = functions.map((f) => new PciFunction(f));
  assert.equal(fn?.acs?.control, 0x1d);
  assert.equal(fn?.capabilities.extended?.get(0x0f), 0x280);
  assert.equal(fn?.capabilities.extended?.complete, true);
  assert.ok(fn?.config.isKnown(0, 0x200));
});

test("serial numbers in a cut dump are taken out", () => {
  for (const last of [0, 0x280]) {
    const { config } = read(device(last), 0x200);
    assert.equal(config.u8(0x144), 0xab);
    assert.deepEqual([...redactConfig(config).bytes.subarray(0x144, 0x14c)], Array(8).fill(0));
  }
});
