/** What we read from configuration bytes is what pciutils printed beside them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DumpedFunction, readDump } from "../../test/support/dump.js";
import { sharedFiles, skipWithoutShared } from "../../test/support/shared.js";
import { bdfFromRid } from "../units/index.js";
import {
  acsBitNames,
  type BridgeWindow,
  buildFabric,
  type CapabilityEntry,
  CapabilityId,
  CXL_VENDOR,
  CxlDvsec,
  ExtendedCapabilityId,
  findCxlDevice,
  listCapabilityEntries,
  PciFunction,
  POWER_STATES,
  readAer,
  readAri,
  readCxlDevice,
  readDvsec,
  readMsi,
  readMsiX,
  readPower,
  Uncorrectable,
  vfRids,
} from "./index.js";

const skip = skipWithoutShared();
const samples = sharedFiles("groundtruth", "lspci-vvvxxxx.txt").map(({ text }) => readDump(text));
const dumps = samples.flat();

/** Calls `check` for each function and each of its capabilities with that id; returns how many. */
function each(
  id: number,
  extended: boolean,
  check: (fn: DumpedFunction, entry: CapabilityEntry, lines: string) => void,
): number {
  let count = 0;
  for (const fn of dumps) {
    for (const entry of listCapabilityEntries(fn.config)) {
      if (entry.id !== id || entry.extended !== extended) continue;
      check(fn, entry, paragraph(fn.text, entry));
      count++;
    }
  }
  return count;
}

/** The lines pciutils printed for one capability. */
function paragraph(text: string, entry: CapabilityEntry): string {
  const digits = entry.offset.toString(16).padStart(entry.extended ? 3 : 2, "0");
  const start = text.search(new RegExp(`\\tCapabilities: \\[${digits}(?: v\\d+)?\\]`));
  assert.notEqual(start, -1, `${entry.name} at ${digits} is not in the text`);
  const rest = text.slice(start);
  const end = rest.slice(1).search(/\n\t\S/);
  return end === -1 ? rest : rest.slice(0, end + 1);
}

function sign(value: boolean | undefined): string {
  return value === true ? "+" : "-";
}

test("capability chains hold as many entries as the text", { skip }, () => {
  for (const fn of dumps) {
    const printed = fn.text.match(/^\tCapabilities: \[/gm)?.length ?? 0;
    assert.equal(listCapabilityEntries(fn.config).length, printed, fn.text);
  }
});

test("MSI and MSI-X", { skip }, () => {
  const msi = each(CapabilityId.Msi, false, ({ config }, { offset }, lines) => {
    const f = readMsi(config, offset);
    const counts = `Count=${f.enabledVectors}/${f.capableVectors}`;
    const flags = `Maskable${sign(f.maskable)} 64bit${sign(f.wide)}`;
    assert.match(
      lines,
      new RegExp(`MSI: Enable\\${sign(f.enabled)} ${counts} ${literally(flags)}`),
    );
  });
  const msix = each(CapabilityId.MsiX, false, ({ config }, { offset }, lines) => {
    const f = readMsiX(config, offset);
    const state = `Enable${sign(f.enabled)} Count=${f.tableSize} Masked${sign(f.masked)}`;
    assert.ok(lines.includes(`MSI-X: ${state}`), lines);
    const at = (f.tableOffset ?? 0).toString(16).padStart(8, "0");
    assert.ok(lines.includes(`Vector table: BAR=${f.tableBar} offset=${at}`), lines);
    const pending = (f.pendingOffset ?? 0).toString(16).padStart(8, "0");
    assert.ok(lines.includes(`PBA: BAR=${f.pendingBar} offset=${pending}`), lines);
  });
  assert.ok(msi > 300 && msix > 300, `${msi} ${msix}`);
});

test("power management, ARI, AER, ACS, DVSEC", { skip }, () => {
  const power = each(CapabilityId.PowerManagement, false, ({ config }, { offset }, lines) => {
    const f = readPower(config, offset);
    assert.ok(f.state !== undefined && POWER_STATES.includes(f.state));
    assert.ok(lines.includes(`Status: ${f.state} NoSoftRst${sign(f.noSoftReset)}`), lines);
    assert.ok(lines.includes(`D1${sign(f.d1)} D2${sign(f.d2)}`), lines);
  });
  const ari = each(ExtendedCapabilityId.Ari, true, ({ config }, { offset }, lines) => {
    const f = readAri(config, offset);
    assert.ok(lines.includes(`ACS${sign(f.acsGroups)}, Next Function: ${f.nextFunction}`), lines);
    assert.ok(lines.includes(`Function Group: ${f.functionGroup}`), lines);
  });
  const aer = each(ExtendedCapabilityId.Aer, true, ({ config }, { offset }, lines) => {
    const severity = readAer(config, offset).uncorrectableSeverity ?? 0;
    const malformed = sign((severity & Uncorrectable.MalformedTlp) !== 0);
    const violation = sign((severity & Uncorrectable.AcsViolation) !== 0);
    assert.match(lines, new RegExp(`UESvrt:.*MalfTLP\\${malformed}.*ACSViol\\${violation}`), lines);
  });
  const acs = each(ExtendedCapabilityId.Acs, true, ({ bdf, config }, _entry, lines) => {
    const facts = new PciFunction({ bdf, config }).acs;
    assert.ok(facts);
    for (const [line, word] of [
      ["ACSCap", facts.capability],
      ["ACSCtl", facts.control],
    ] as const) {
      const printed = new RegExp(`${line}:\\t(.*)`).exec(lines)?.[1]?.split(" ") ?? [];
      const on = printed.flatMap((name, i) =>
        name.endsWith("+") ? [["SV", "TB", "RR", "CR", "UF", "EC", "DT"][i]] : [],
      );
      assert.deepEqual(acsBitNames(word ?? 0), on);
    }
  });
  const dvsec = each(ExtendedCapabilityId.Dvsec, true, ({ config }, { offset }, lines) => {
    const f = readDvsec(config, offset);
    const id = (f.id ?? 0).toString(16).padStart(4, "0");
    const vendor = (f.vendor ?? 0).toString(16);
    assert.ok(lines.includes(`Vendor=${vendor} ID=${id} Rev=${f.revision} Len=${f.length}`), lines);
  });
  assert.ok(power > 200 && ari > 30 && aer > 400 && acs > 150 && dvsec > 20);
});

test("SR-IOV numbers and VF BARs", { skip }, () => {
  const count = each(ExtendedCapabilityId.SrIov, true, ({ bdf, config }, _entry, lines) => {
    const f = new PciFunction({ bdf, config }).sriov;
    assert.ok(f);
    const initial = `Initial VFs: ${f.initialVfs}, Total VFs: ${f.totalVfs}`;
    assert.ok(lines.includes(`${initial}, Number of VFs: ${f.numVfs}`), lines);
    assert.ok(lines.includes(`VF offset: ${f.firstVfOffset}, stride: ${f.vfStride}`), lines);
  });
  assert.ok(count > 10);
});

test("VF n decodes at VF 0's address plus n sizes", { skip }, () => {
  let checked = 0;
  for (const sample of samples) {
    const fabric = buildFabric({ functions: sample });
    for (const pf of fabric.functions) {
      const vf0 = pf.vfBars?.[0];
      if (!pf.sriov || vf0?.base === undefined) continue;
      vfRids(pf.rid, pf.sriov).forEach((rid, n) => {
        const vf = sample.find((d) => d.bdf === bdfFromRid(pf.segment, rid));
        const region = /Region 0: Memory at ([0-9a-f]+) .*\[size=(\d+)K\]/.exec(vf?.text ?? "");
        if (region === null) return;
        const size = BigInt(region[2] ?? 0) << 10n;
        assert.equal(BigInt(`0x${region[1]}`), (vf0.base ?? 0n) + BigInt(n) * size);
        checked++;
      });
    }
  }
  assert.ok(checked > 20, `${checked}`);
});

test("CXL devices say which protocols they speak", { skip }, () => {
  let checked = 0;
  each(ExtendedCapabilityId.Dvsec, true, ({ config }, { offset }, lines) => {
    const { vendor, id } = readDvsec(config, offset);
    if (vendor !== CXL_VENDOR || id !== CxlDvsec.Device) return;
    const f = readCxlDevice(config, offset);
    assert.deepEqual(findCxlDevice(config), f);
    const printed = `CXLCap:\tCache${sign(f.cache)} IO${sign(f.io)} Mem${sign(f.memory)}`;
    assert.ok(lines.includes(printed), lines);
    checked++;
  });
  assert.ok(checked > 0);
  const others = dumps.filter(({ text }) => !text.includes("CXLCap:"));
  for (const { config } of others) {
    assert.equal(findCxlDevice(config), config.extent === 4096 ? null : undefined);
  }
});

test("BARs, bridge windows and express facts", { skip }, () => {
  let windows = 0;
  for (const dumped of dumps) {
    const fn = new PciFunction(dumped);
    for (const bar of fn.bars ?? []) {
      if (bar.base === undefined) continue;
      const kind = bar.kind === "io" ? "I/O ports" : "Memory";
      const at = bar.base.toString(16).padStart(bar.kind === "io" ? 4 : 1, "0");
      assert.match(dumped.text, new RegExp(`Region ${bar.index}: ${kind} at 0*${at} `));
    }
    if (fn.windows === undefined) continue;
    windows += sameWindow(dumped.text, "I/O behind bridge", fn.windows.io);
    windows += sameWindow(dumped.text, "Memory behind bridge", fn.windows.memory);
    windows += sameWindow(
      dumped.text,
      "Prefetchable memory behind bridge",
      fn.windows.prefetchable,
    );
    if (fn.express) {
      const slot = fn.express.slot;
      if (slot && fn.express.slotNumber !== undefined) {
        assert.ok(dumped.text.includes(`Slot #${fn.express.slotNumber},`));
        assert.ok(dumped.text.includes(`HotPlug${sign(fn.express.hotPlug)}`));
      }
    }
  }
  assert.ok(windows > 300, `${windows}`);
});

function sameWindow(text: string, title: string, window: BridgeWindow): number {
  const line = new RegExp(`\\t${literally(title)}: ([0-9a-f]+)-([0-9a-f]+) (.*)`).exec(text);
  if (line === null || (line[3] ?? "").includes("[disabled]")) {
    assert.notEqual(window.state, "open", text);
    return 0;
  }
  assert.ok(window.state === "open", text);
  assert.equal(window.span.first, BigInt(`0x${line[1]}`));
  assert.equal(window.span.last, BigInt(`0x${line[2]}`));
  return 1;
}

function literally(text: string): string {
  return text.replace(/[+()/.\]-]|\[/g, "\\$&");
}
