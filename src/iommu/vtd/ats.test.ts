import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdBench } from "../../../test/support/vtd-tables.js";
import { DmaAccess, DmaAddressType, DmaStatus } from "../translation.js";
import type { VtdUnitOptions } from "./unit.js";

const REQUESTER = 0x0300;
const PASID = { requester: REQUESTER, hasPasid: true, pasid: 5 };
const ASK = { ...PASID, addressType: DmaAddressType.translationRequest };
const ASK_WRITE = { ...ASK, access: DmaAccess.write };
const ACCESSED_2 = 1n << 8n;
const DIRTY_2 = 1n << 9n;

function unit(options: VtdUnitOptions = {}) {
  const bench = new VtdBench("scalable", options);
  const directory = bench.tables.frame();
  bench.tables.scalableContext(bench.root, REQUESTER, directory | 0b1101n);
  const table = bench.tables.frame();
  return { bench, directory, tables: bench.tables, table, answer: bench.answer };
}

test("a translation request is told page, size and rights; a missing page is no fault", () => {
  const { bench, directory, tables, table, answer } = unit();
  tables.pasidEntry(directory, 5, table | 1n | (2n << 6n) | (2n << 2n), 9n);
  tables.map2(table, 4, 0x1000n, 0x9000n, 1n);
  tables.map2(table, 4, 0x20_0000n, 0x4000_0000n, 3n, 0x20_0000);
  assert.equal(bench.ask(0x1234n, ASK), 0x9000n, "of the page's first byte");
  assert.equal(answer.status, DmaStatus.completed);
  assert.deepEqual([answer.readable, answer.writable, answer.pageShift], [true, false, 12]);
  bench.ask(0x1234n, ASK_WRITE);
  assert.deepEqual([answer.readable, answer.writable], [true, false]);
  assert.equal(bench.ask(0x21_2345n, ASK_WRITE), 0x4000_0000n);
  assert.deepEqual([answer.writable, answer.pageShift], [true, 21]);
  bench.ask(0x5000n, ASK);
  assert.equal(answer.status, DmaStatus.completed);
  assert.deepEqual([answer.readable, answer.writable], [false, false]);
  assert.equal(bench.unit.faults.recorded, 0);
});

test("a translation request that meets a broken table faults and says how it completes", () => {
  const { bench, directory, tables, table, answer } = unit();
  tables.pasidEntry(directory, 5, table | 1n | (2n << 6n) | (2n << 2n), 9n);
  tables.write(tables.entry(tables.host, table, 4, 0x20_0000n, 0x20_0000, 3n), 0x3_0000_0003n);
  assert.equal(bench.ask(0x20_0000n, ASK), "stage2Access");
  assert.equal(answer.completion, "completer-abort");
  assert.equal(bench.ask(0x1000n, { ...ASK, pasid: 9 }), "pasidEntryNotPresent");
  assert.equal(answer.completion, "unsupported-request");
  assert.equal(bench.ask(0xfee0_0000n, { ...ASK, hasPasid: false }), "scalableInterruptAddress");
});

test("stage 1: a request for rights sets no dirty bit unless it asks to write", () => {
  const { bench, directory, tables, table, answer } = unit();
  tables.pasidEntry(directory, 5, 1n | (1n << 6n), 9n, table);
  const entry = tables.map1(tables.host, table, 4, 0x1000n, 0x9000n);
  bench.ask(0x1000n, ASK);
  assert.equal(tables.read(entry) & 0x60n, 0x20n, "accessed");
  assert.equal(answer.writable, false, "not while it would go unnoticed");
  bench.ask(0x1000n, ASK_WRITE);
  assert.equal(tables.read(entry) & 0x60n, 0x60n, "dirty");
  assert.equal(answer.writable, true);
  const readOnly = tables.map1(tables.host, table, 4, 0x2000n, 0xa000n, 5n);
  bench.ask(0x2000n, ASK_WRITE);
  assert.deepEqual([answer.readable, answer.writable], [true, false]);
  assert.equal(tables.read(readOnly) & 0x60n, 0x20n);
  const kernel = tables.map1(tables.host, table, 4, 0x3000n, 0xb000n, 3n);
  bench.ask(0x3000n, ASK);
  assert.deepEqual([answer.status, answer.readable], [DmaStatus.completed, false]);
  assert.equal(tables.read(kernel) & 0x60n, 0n);
});

test("stage 2 dirty tracking: read sets accessed, the first write sets dirty, also after a hit", () => {
  const { bench, directory, tables, table } = unit();
  tables.pasidEntry(directory, 5, table | 1n | (2n << 6n) | (2n << 2n) | (1n << 9n), 9n);
  const entry = tables.map2(table, 4, 0x1000n, 0x9000n);
  bench.ask(0x1000n, PASID);
  assert.equal(tables.read(entry) & (ACCESSED_2 | DIRTY_2), ACCESSED_2);
  bench.ask(0x1000n, { ...PASID, access: DmaAccess.write });
  assert.equal(tables.read(entry) & (ACCESSED_2 | DIRTY_2), ACCESSED_2 | DIRTY_2);
  const reads = bench.unit.memoryReads;
  bench.ask(0x1000n, { ...PASID, access: DmaAccess.write });
  assert.equal(bench.unit.memoryReads, reads, "a dirty page hits");
  const quiet = unit();
  quiet.tables.pasidEntry(quiet.directory, 5, quiet.table | 1n | (2n << 6n) | (2n << 2n), 9n);
  const still = quiet.tables.map2(quiet.table, 4, 0x1000n, 0x9000n);
  quiet.bench.ask(0x1000n, { ...PASID, access: DmaAccess.write });
  assert.equal(quiet.tables.read(still), 0x9003n, "without tracking nothing is written");
});

test("nested: setting bits of a stage-1 table makes its page of stage 2 dirty", () => {
  const { bench, directory, tables, table: outer } = unit();
  const [inner, next] = [tables.frame(), tables.frame()];
  const innerEntry = tables.map2(outer, 4, 0x10_0000n, inner);
  const nextEntry = tables.map2(outer, 4, 0x11_0000n, next);
  const pageEntry = tables.map2(outer, 4, 0x4000_0000n, 0x8000_0000n, 3n, 0x4000_0000);
  tables.write(inner, 0x11_0000n | 7n);
  tables.write(next, 0x4000_0000n | 7n | 0x80n);
  const entry = outer | 1n | (3n << 6n) | (2n << 2n) | (1n << 9n);
  tables.pasidEntry(directory, 5, entry, 9n, 0x10_0000n);
  assert.equal(bench.ask(0x1000n, PASID), 0x8000_1000n);
  assert.equal(tables.read(innerEntry) & DIRTY_2, DIRTY_2);
  assert.equal(tables.read(nextEntry) & DIRTY_2, DIRTY_2);
  assert.equal(tables.read(pageEntry) & (ACCESSED_2 | DIRTY_2), ACCESSED_2);
  assert.equal(bench.ask(0x1000n, { ...PASID, access: DmaAccess.write }), 0x8000_1000n);
  assert.equal(tables.read(pageEntry) & DIRTY_2, DIRTY_2);
  assert.equal(tables.read(next) & 0x60n, 0x60n);
});

test("execution and privilege show in the rights", () => {
  const { bench, directory, tables, table, answer } = unit();
  // SRE, ERE, NXE, SMEP.
  tables.pasidEntry(directory, 5, 1n | (1n << 6n), 9n, table | 0b110_0011n);
  tables.map1(tables.host, table, 4, 0x1000n, 0x9000n, 7n);
  tables.map1(tables.host, table, 4, 0x2000n, 0xa000n, 3n);
  bench.ask(0x1000n, { ...ASK, execute: true });
  assert.equal(answer.executable, true);
  bench.ask(0x1000n, ASK);
  assert.equal(answer.executable, false, "not asked for");
  bench.ask(0x1000n, { ...ASK, execute: true, privileged: true });
  assert.equal(answer.executable, false, "a privileged request does not execute user pages");
  bench.ask(0x2000n, { ...ASK, execute: true, privileged: true });
  assert.deepEqual([answer.executable, answer.privilegedPage], [true, true]);
});

test("pass-through and no translation at all", () => {
  const { bench, directory, tables, answer } = unit();
  tables.pasidEntry(directory, 5, 1n | (4n << 6n), 9n | (1n << 24n));
  assert.equal(bench.ask(0x12_3456n, { ...PASID, noSnoop: true }), 0x12_3456n);
  assert.deepEqual([answer.snooped, answer.domainId], [true, 9]);
  assert.equal(bench.ask(0x12_3456n, ASK), 0x12_3000n);
  assert.equal(answer.status, DmaStatus.completed);
  const off = unit();
  off.bench.unit.writeRegister32(0x18, 0);
  assert.equal(off.bench.ask(0x777n, { requester: 1 }), 0x777n);
  assert.equal(off.bench.ask(0x777n, ASK), "translationTypeBlocks");
  assert.equal(off.answer.recorded, false);
  assert.equal(off.bench.ask(0xfee0_0000n, { access: DmaAccess.write }), "interrupt");
});

test("legacy: TT 1 serves translation requests and lets translated ones pass, TT 2 passes all", () => {
  const bench = new VtdBench("legacy");
  const table = bench.tables.frame();
  bench.tables.map2(table, 4, 0x1000n, 0x9000n);
  bench.tables.context(bench.root, 0x300, table | 1n | (1n << 2n), 2n);
  bench.tables.context(bench.root, 0x301, table | 1n | (2n << 2n), 2n);
  const { translated, translationRequest } = DmaAddressType;
  assert.equal(bench.ask(0x1234n, { requester: 0x300, addressType: translationRequest }), 0x9000n);
  assert.equal(bench.ask(0x5555n, { requester: 0x300, addressType: translated }), 0x5555n);
  assert.equal(bench.ask(0x5555n, { requester: 0x301 }), 0x5555n);
  const blocked = { requester: 0x301, addressType: translated };
  assert.equal(bench.ask(0x5555n, blocked), "translationTypeBlocks");
});

test("snoop: the page's bit, the PASID's bit, and the request's own wish", () => {
  const { bench, directory, tables, table, answer } = unit();
  tables.pasidEntry(directory, 5, table | 1n | (2n << 6n) | (2n << 2n), 9n);
  tables.pasidEntry(directory, 6, table | 1n | (2n << 6n) | (2n << 2n), 9n | (1n << 24n));
  tables.map2(table, 4, 0x1000n, 0x9000n, 3n);
  tables.map2(table, 4, 0x2000n, 0x9000n, 3n | (1n << 11n));
  const snooped = (address: bigint, pasid: number, noSnoop: boolean): boolean => {
    bench.ask(address, { ...PASID, pasid, noSnoop });
    return answer.snooped;
  };
  assert.equal(snooped(0x1000n, 5, false), true);
  assert.equal(snooped(0x1000n, 5, true), false);
  assert.equal(snooped(0x1000n, 6, true), true);
  assert.equal(snooped(0x2000n, 5, true), true);
});
