import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_PORTS, VtdBench, VtdTables } from "../../../test/support/vtd-tables.js";
import { VtdFault } from "../../formats/index.js";
import { DmaAccess, DmaAddressType } from "../translation.js";
import type { VtdUnitOptions } from "./unit.js";

const REQUESTER = 0x0300;
const AT = { requester: REQUESTER };
const PASID = { requester: REQUESTER, hasPasid: true, pasid: 5 };
const WRITE = { access: DmaAccess.write };
const TABLE = 0x7_0000_0000n;
const NOWHERE = 0x3_0000_0000n;

/** A scalable unit whose directory, and one context, are ready. */
function scalable(options: VtdUnitOptions = {}, context = 0b1_1101n) {
  const bench = new VtdBench("scalable", { stage2Levels: [3, 4], ...options });
  const directory = bench.tables.frame();
  bench.tables.scalableContext(bench.root, REQUESTER, directory | context);
  return { bench, directory, tables: bench.tables };
}

test("scalable: faults of root and context entries", () => {
  const { bench, tables, directory } = scalable();
  tables.write(bench.root + 16n * 4n, NOWHERE | 1n);
  assert.equal(bench.ask(0n, { requester: 0x0400 }), "scalableContextAccess");
  tables.write(bench.root + 16n * 5n, NOWHERE | 3n);
  assert.equal(bench.ask(0n, { requester: 0x0500 }), "scalableRootReserved");
  assert.equal(bench.ask(0n, { requester: 0x0600 }), "scalableRootNotPresent");
  assert.equal(bench.ask(0n, { requester: 0x0301 }), "scalableContextNotPresent");
  tables.scalableContext(bench.root, 0x0302, directory | 1n | (1n << 7n));
  assert.equal(bench.ask(0n, { requester: 0x0302 }), "scalableContextReserved");
  tables.scalableContext(bench.root, 0x0303, directory | 1n, 1n << 30n);
  assert.equal(bench.ask(0n, { requester: 0x0303 }), "scalableContextReserved");
  tables.scalableContext(bench.root, 0x0304, directory | 1n | (1n << 4n));
  assert.equal(bench.ask(0n, { requester: 0x0304 }), "scalableContextInvalid");
  tables.scalableContext(bench.root, 0x0305, directory | 1n, 1n << 13n);
  assert.equal(bench.ask(0n, { requester: 0x0305 }), "ridPasidInvalid");
  assert.equal(bench.ask(0n, { requester: 0x0305, hasPasid: true, pasid: 1 }), "pasidDisabled");
  const addressType = DmaAddressType.translated;
  assert.equal(bench.ask(0n, { requester: 0x0305, addressType }), "deviceTlbDisabled");
  assert.equal(bench.ask(0n, { ...PASID, pasid: 0x2000 }), "pasidBeyondDirectory");
  tables.memory.mark(Number(bench.root >> 12n), "poisoned");
  assert.equal(bench.ask(0n, { requester: 0x0700 }), "scalableRootAccess");
});

test("a PASID wider than the unit's is refused", () => {
  const { bench } = scalable({ pasidBits: 10 });
  assert.equal(bench.ask(0n, { ...PASID, pasid: 1024 }), "pasidBeyondDirectory");
});

test("fields of features that a unit lacks are reserved", () => {
  const without = (options: VtdUnitOptions, low: bigint, high = 0n) => {
    const { bench } = scalable(options, 1n);
    bench.tables.scalableContext(bench.root, 0x0310, TABLE | low, high);
    return bench.ask(0n, { requester: 0x0310 });
  };
  assert.equal(without({ deviceTlb: false }, 0b101n), "scalableContextReserved");
  assert.equal(without({ pasid: false }, 0b1001n), "scalableContextReserved");
  assert.equal(without({ pageRequests: false }, 0b1_0101n), "scalableContextReserved");
  assert.equal(without({ ridPasid: false }, 1n, 5n), "scalableContextReserved");
  assert.equal(without({ ridPrivileged: false }, 1n, 1n << 20n), "scalableContextReserved");
});

test("scalable: faults of PASID directory and PASID entry", () => {
  const { bench, directory, tables } = scalable();
  const ask = (pasid: number) => bench.ask(0n, { ...PASID, pasid });
  const entry = (pasid: number, ...words: bigint[]) => {
    tables.pasidEntry(directory, pasid, ...words);
    return ask(pasid);
  };
  assert.equal(ask(64), "directoryNotPresent");
  tables.write(directory + 16n, TABLE | 1n | (1n << 5n));
  assert.equal(ask(128), "directoryReserved");
  tables.write(directory + 24n, NOWHERE | 1n);
  assert.equal(ask(192), "pasidEntryAccess");
  const stage2 = TABLE | 1n | (2n << 6n) | (2n << 2n);
  assert.equal(entry(1), "pasidEntryNotPresent");
  assert.equal(entry(2, stage2 | (1n << 5n)), "pasidEntryReserved");
  assert.equal(entry(3, stage2, 0n, 1n << 10n), "pasidEntryReserved");
  assert.equal(entry(4, TABLE | 1n), "pasidEntryInvalid");
  assert.equal(entry(6, TABLE | 1n | (5n << 6n)), "pasidEntryInvalid");
  assert.equal(entry(7, TABLE | 1n | (2n << 6n) | (3n << 2n)), "pasidEntryInvalid");
  assert.equal(entry(8, 1n | (1n << 6n), 0n, TABLE | (2n << 2n)), "pasidEntryInvalid");
  assert.equal(entry(9, stage2), "stage2Access");
  assert.equal(bench.answer.recorded, true);
});

test("scalable: privilege and execution must be enabled", () => {
  const { bench, directory, tables } = scalable();
  const table = tables.frame();
  tables.map1(tables.host, table, 4, 0n, 0x9000n, 3n);
  tables.pasidEntry(directory, 5, 1n | (1n << 6n), 9n, table);
  assert.equal(bench.ask(0n, { ...PASID, privileged: true }), "supervisorRequestDisabled");
  assert.equal(bench.ask(0n, { ...PASID, execute: true }), "executeRequestDisabled");
});

test("scalable: faults of stage 1", () => {
  const { bench, directory, tables } = scalable({ stage1Pages1G: false });
  const table = tables.frame();
  tables.pasidEntry(directory, 5, 1n | (1n << 6n), 9n, table);
  tables.pasidEntry(directory, 6, 1n | (1n << 6n), 9n, NOWHERE);
  const map = (
    iova: bigint,
    target: bigint,
    bits = 7n,
    page: 0x1000 | 0x20_0000 | 0x4000_0000 = 0x1000,
  ) => tables.map1(tables.host, table, 4, iova, target, bits, page);
  map(0x1000n, 0x9000n, 7n | (1n << 63n));
  map(0x2000n, 0x9000n, 5n);
  map(0x3000n, 0xfee0_1000n);
  map(0x20_0000n, 0x4000n, 7n, 0x20_0000);
  map(0x4000_0000n, 0n, 7n, 0x4000_0000);
  tables.write(tables.entry(tables.host, table, 4, 0x8000_0000n, 0x20_0000, 7n), NOWHERE | 7n);
  assert.equal(bench.ask(0x1000n, PASID), "stage1Reserved", "XD without NXE");
  assert.equal(bench.ask(0x2000n, { ...PASID, ...WRITE }), "scalableWriteDenied");
  assert.equal(bench.ask(0x3000n, PASID), "scalableInterruptAddress");
  assert.equal(bench.ask(0x20_0000n, PASID), "stage1Reserved", "misplaced large page");
  assert.equal(bench.ask(0x4000_0000n, PASID), "stage1Reserved", "no huge pages");
  assert.equal(bench.ask(0x8000_0000n, PASID), "stage1Access");
  assert.equal(bench.ask(0n, { ...PASID, pasid: 6 }), "stage1RootAccess");
  assert.equal(bench.ask(-(1n << 47n), PASID), "stage1NotPresent", "canonical");
  assert.equal(bench.ask(1n << 50n, PASID), "notCanonical");
});

test("scalable: faults of stage 2", () => {
  const { bench, directory, tables } = scalable({ snoopControl: false, inputAddressWidth: 47 });
  const table = tables.frame();
  tables.pasidEntry(directory, 5, table | 1n | (2n << 6n) | (2n << 2n), 9n);
  tables.pasidEntry(directory, 6, table | 1n | (2n << 6n) | (1n << 2n), 9n);
  tables.map2(table, 4, 0x1000n, 0x9000n, 1n);
  tables.map2(table, 4, 0x2000n, 0x9000n, 2n);
  tables.map2(table, 4, 0x3000n, 0x9000n, 3n | (1n << 11n));
  tables.map2(table, 4, 0x20_0000n, 0x1000n, 3n, 0x20_0000);
  assert.equal(bench.ask(0x1000n, { ...PASID, ...WRITE }), "scalableWriteDenied");
  assert.equal(bench.ask(0x2000n, PASID), "scalableReadDenied");
  assert.equal(bench.ask(0x3000n, PASID), "stage2Reserved", "snoop without snoop control");
  assert.equal(bench.ask(0x20_0000n, PASID), "stage2Reserved");
  assert.equal(bench.ask(0x4000n, PASID), "stage2NotPresent");
  assert.equal(bench.ask(1n << 47n, PASID), "inputBeyondWidth");
  assert.equal(bench.ask(1n << 39n, { ...PASID, pasid: 6 }), "stage2InputBeyondWidth");
});

test("nested: what stage 2 does to stage-1 tables", () => {
  const { bench, directory, tables } = scalable();
  const outer = tables.frame();
  const inner = tables.frame();
  const entry = (pasid: number, table: bigint) =>
    tables.pasidEntry(directory, pasid, outer | 1n | (3n << 6n) | (2n << 2n), 9n, table);
  entry(5, 0x10_0000n);
  assert.equal(bench.ask(0n, PASID), "stage1RootReadDenied");
  tables.map2(outer, 4, 0x10_0000n, inner, 1n);
  tables.write(inner, 0x11_0000n | 7n);
  assert.equal(bench.ask(0n, PASID), "stage1TableWriteDenied", "accessed bit");
  tables.map2(outer, 4, 0x10_0000n, inner, 3n);
  assert.equal(bench.ask(0n, PASID), "stage1TableReadDenied");
  tables.write(inner, (1n << 48n) | 7n);
  assert.equal(bench.ask(0n, PASID), "stage1AddressBeyondStage2");
  tables.map2(outer, 4, 0x10_0000n, NOWHERE);
  assert.equal(bench.ask(0n, PASID), "stage1RootAccess");
});

test("addresses beyond the host's memory are reserved in entries and pointers", () => {
  const { bench, directory, tables } = scalable({ hostAddressWidth: 40 });
  const beyond = 1n << 40n;
  const table = tables.frame();
  tables.pasidEntry(directory, 5, table | 1n | (2n << 6n) | (2n << 2n), 9n);
  tables.map2(table, 4, 0x1000n, beyond);
  assert.equal(bench.ask(0x1000n, PASID), "stage2Reserved");
  tables.pasidEntry(directory, 6, beyond | 1n | (2n << 6n) | (2n << 2n), 9n);
  assert.equal(bench.ask(0x1000n, { ...PASID, pasid: 6 }), "pasidEntryReserved");
  tables.pasidEntry(directory, 7, 1n | (1n << 6n), 9n, beyond);
  assert.equal(bench.ask(0x1000n, { ...PASID, pasid: 7 }), "pasidEntryInvalid");
  const translated = { ...AT, addressType: DmaAddressType.translated };
  assert.equal(bench.ask(beyond, translated), "inputBeyondWidth");
  assert.equal(bench.ask(beyond - 8n, translated), beyond - 8n);
});

test("root table modes: abort refuses in silence, an unknown one with a record", () => {
  const tables = new VtdTables();
  for (const [mode, abortDma, recorded] of [
    [3n, true, false],
    [3n, false, true],
    [2n, true, true],
  ] as const) {
    const bench = new VtdBench("legacy", { abortDma }, NO_PORTS, tables);
    bench.unit.writeRegister64(0x20, bench.root | (mode << 10n));
    bench.command(1 << 30);
    assert.equal(bench.ask(0x1000n, AT), "rootTableMode");
    assert.equal(bench.unit.faults.recorded, recorded ? 1 : 0);
  }
  assert.equal(VtdFault.rootTableMode, 0x30);
});

test("a fault that its entry wants unrecorded is not recorded", () => {
  const { bench, directory, tables } = scalable();
  tables.pasidEntry(directory, 5, 0b10n);
  assert.equal(bench.ask(0n, PASID), "pasidEntryNotPresent");
  assert.equal(bench.answer.recorded, false);
  const table = tables.frame();
  tables.pasidEntry(directory, 7, table | 0b11n | (2n << 6n) | (2n << 2n), 9n);
  assert.equal(bench.ask(0n, { ...PASID, pasid: 7 }), "stage2NotPresent");
  assert.equal(bench.answer.recorded, false);
  tables.scalableContext(bench.root, 0x0320, 0b10n);
  assert.equal(bench.ask(0n, { requester: 0x0320 }), "scalableContextNotPresent");
  assert.equal(bench.unit.faults.recorded, 0);
});
