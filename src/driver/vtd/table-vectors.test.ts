/**
 * Bytes of device tables, worked out by hand from the figures of VT-d 5.0 § 9.1-9.6.
 *
 * Frames are handed out from 100000h on in order: invalidation queue (two with wide descriptors),
 * its status, root table; then what a device needs.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverMachine } from "../../../test/support/driver-machine.js";
import { t1 } from "../../../test/support/topologies.js";
import { VtdRegister } from "../../formats/index.js";
import { makePasid } from "../../units/index.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: true, userAllocated: false };

/** 8-byte words of a frame, as bigints, from a byte offset on. */
function words(m: DriverMachine, pfn: bigint, offset: number, count: number): bigint[] {
  const at = m.memory.frameWord(Number(pfn)) + offset / 4;
  return Array.from({ length: count }, (_, i) => {
    const low = BigInt(m.memory.words[at + 2 * i] ?? 0);
    return (BigInt(m.memory.words[at + 2 * i + 1] ?? 0) << 32n) | low;
  });
}

const frame = (entry: bigint | undefined): bigint => (entry ?? 0n) >> 12n;
const root = (m: DriverMachine): bigint => m.unit.readRegister64(VtdRegister.rootTable);

test("legacy: root entry of bus 1, context entry of 01:00.0", () => {
  const m = new DriverMachine(t1(), { scalable: false, inputAddressWidth: 48 });
  const a = m.fn("01:00.0");
  const domain = m.driver.allocPaging(a, PLAIN, undefined);
  m.driver.attach(a, undefined, domain);
  assert.equal(root(m) & 0xfffn, 0n, "mode 00b");
  const [entry, high] = words(m, root(m) >> 12n, 1 * 16, 2);
  assert.equal((entry ?? 0n) & 0xfffn, 1n);
  assert.equal(high, 0n);
  const table = BigInt(domain.root) << 12n;
  // Present, TT 00b; AW 010b (48 bits, 4 levels), domain id 2 in bits 87:72.
  assert.deepEqual(words(m, frame(entry), 0, 2), [table | 1n, 2n | (2n << 8n)]);
  m.driver.configure(a, { ats: true, pageRequests: false });
  assert.deepEqual(words(m, frame(entry), 0, 1), [table | 1n | (1n << 2n)], "TT 01b with ATS");
  m.driver.attach(a, undefined, m.driver.blocked(a));
  assert.equal((words(m, frame(entry), 0, 1)[0] ?? 1n) & 1n, 0n);
});

test("scalable: root, context, PASID directory and PASID entries", () => {
  const m = new DriverMachine(t1(), { inputAddressWidth: 48 });
  const a = m.fn("01:00.0");
  const domain = m.driver.allocPaging(a, PLAIN, undefined);
  m.driver.attach(a, makePasid(0x145), domain);
  assert.equal(root(m) & 0xfffn, 0x400n, "mode 01b in bits 11:10");
  const [lower, upper] = words(m, root(m) >> 12n, 1 * 16, 2);
  assert.deepEqual([(lower ?? 0n) & 0xfffn, upper], [1n, 0n]);
  const context = words(m, frame(lower), 0, 4);
  // Present, PASID enable (bit 3); a directory of one frame: 2^15 PASIDs, PDTS 2 in bits 11:9.
  assert.equal((context[0] ?? 0n) & 0xfffn, 1n | (1n << 3n) | (2n << 9n));
  assert.deepEqual(context.slice(1), [0n, 0n, 0n], "RID_PASID 0");
  // PASID 145h: directory entry 5, entry 5 of its table.
  const [directory] = words(m, frame(context[0]), 5 * 8, 1);
  assert.equal((directory ?? 0n) & 0xfffn, 1n);
  const entry = words(m, frame(directory), 5 * 64, 8);
  // Present, AW 2 in bits 4:2, PGTT 010b in bits 8:6.
  const table = BigInt(domain.root) << 12n;
  assert.equal(entry[0], table | 1n | (2n << 2n) | (2n << 6n));
  // Domain id 2 in bits 79:64, page walk snoop in bit 87.
  assert.equal(entry[1], 2n | (1n << 23n));
  assert.deepEqual(entry.slice(2), [0n, 0n, 0n, 0n, 0n, 0n]);
  domain.map(1, 2, 1, 3);
  m.driver.configure(a, { ats: true, pageRequests: true });
  // Device TLB enable (bit 2) and page request enable (bit 4) besides.
  assert.equal((words(m, frame(lower), 0, 1)[0] ?? 0n) & 0x1fn, 0b11101n);
  const stage1 = m.driver.allocStage1(a);
  m.driver.attach(a, undefined, stage1);
  const [zero] = words(m, frame(context[0]), 0, 1);
  const rid = words(m, frame(zero), 0, 4);
  // PGTT 001b; FSPM 00b, table in bits 191:140; domain id 3, page walk snoop, page snoop (bit 88).
  assert.deepEqual(rid, [
    1n | (1n << 6n),
    3n | (1n << 23n) | (1n << 24n),
    BigInt(stage1.root) << 12n,
    0n,
  ]);
});

test("a PASID beyond the directory moves it; what was there stays", () => {
  const m = new DriverMachine(t1());
  const a = m.fn("01:00.0");
  const domain = m.driver.allocPaging(a, PLAIN, undefined);
  domain.map(1, 2, 1, 3);
  m.driver.attach(a, makePasid(3), domain);
  const held = m.driver.frames.held;
  m.driver.attach(a, makePasid(0xfffff), domain);
  // 32 frames of directory in place of one, one table more.
  assert.equal(m.driver.frames.held, held + 31 + 1);
  assert.equal(m.ask(a, 1, { pasid: 3 }), 2);
  assert.equal(m.ask(a, 1, { pasid: 0xfffff }), 2);
  const [lower] = words(m, root(m) >> 12n, 16, 1);
  assert.equal(((words(m, frame(lower), 0, 1)[0] ?? 0n) >> 9n) & 7n, 7n, "PDTS 7: 2^20 PASIDs");
});
