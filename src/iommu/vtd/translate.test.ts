import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdBench } from "../../../test/support/vtd-tables.js";
import { DmaAccess, DmaAddressType, DmaSource } from "../translation.js";

const WRITE = { access: DmaAccess.write } as const;

function legacy(levels = 4, options = {}): { bench: VtdBench; table: bigint } {
  const bench = new VtdBench("legacy", { stage2Levels: [3, 4, 5], ...options });
  const table = bench.tables.frame();
  bench.tables.context(bench.root, 0x0300, table | 1n, BigInt(levels - 2) | (7n << 8n));
  return { bench, table };
}

test("legacy: a page, a large page and a huge page translate at every depth", () => {
  for (const levels of [3, 4, 5]) {
    const { bench, table } = legacy(levels);
    bench.tables.map2(table, levels, 0x1000n, 0x12_3456_7000n);
    bench.tables.map2(table, levels, 0x20_0000n, 0x4_0000_0000n, 3n, 0x20_0000);
    bench.tables.map2(table, levels, 0x4000_0000n, 0x8_0000_0000n, 3n, 0x4000_0000);
    const at = { requester: 0x0300 };
    assert.equal(bench.ask(0x1abcn, at), 0x12_3456_7abcn);
    assert.equal(bench.ask(0x3f_fffcn, at), 0x4_001f_fffcn);
    assert.equal(bench.ask(0x7fff_fff8n, at), 0x8_3fff_fff8n);
    assert.equal(bench.answer.pageShift, 30);
    const reads = bench.unit.memoryReads;
    assert.equal(bench.ask(0x1ffcn, at), 0x12_3456_7ffcn);
    assert.equal(bench.answer.source, DmaSource.cache);
    assert.equal(bench.unit.memoryReads, reads);
    assert.equal(bench.unit.inspect().iotlb.length, 3);
    assert.equal(bench.unit.inspect().contexts[0]?.domainId, 7);
  }
});

test("legacy: every refusal has its code", () => {
  const { bench, table } = legacy(3);
  const { tables, root } = bench;
  tables.map2(table, 3, 0x1000n, 0x5000n, 1n);
  tables.map2(table, 3, 0x2000n, 0x5000n, 2n);
  tables.map2(table, 3, 0x3000n, 0x5000n | (1n << 62n));
  tables.map2(table, 3, 0x4000n, 0xfee0_0000n);
  const at = { requester: 0x0300 };
  assert.equal(bench.ask(0x1000n, { ...at, ...WRITE }), "writeDenied");
  assert.equal(bench.ask(0x1000n, { ...at, access: DmaAccess.atomic }), "writeDenied");
  assert.equal(bench.ask(0x2000n, at), "readDenied");
  assert.equal(bench.ask(0x2000n, { ...at, length: 0 }), 0x2000n);
  assert.equal(bench.ask(0x4000n, at), "interruptAddress");
  assert.equal(bench.ask(0x9000n, at), "readDenied");
  assert.equal(bench.ask(1n << 39n, at), "addressBeyondWidth");
  assert.equal(bench.ask(0x1000n, { requester: 0x0400 }), "rootNotPresent");
  assert.equal(bench.ask(0x1000n, { requester: 0x0301 }), "contextNotPresent");
  assert.equal(bench.ask(0x1000n, { ...at, hasPasid: true, pasid: 1 }), "pasidInLegacyMode");
  assert.equal(
    bench.ask(0x1000n, { ...at, addressType: DmaAddressType.translated }),
    "translationTypeBlocks",
  );
  tables.context(root, 0x0308, table | 1n | (3n << 2n), 1n);
  assert.equal(bench.ask(0x1000n, { requester: 0x0308 }), "contextInvalid");
  tables.context(root, 0x0309, table | 1n, 4n);
  assert.equal(bench.ask(0x1000n, { requester: 0x0309 }), "contextInvalid");
  tables.context(root, 0x030a, table | 1n | (1n << 5n), 1n);
  assert.equal(bench.ask(0x1000n, { requester: 0x030a }), "contextReserved");
  tables.context(root, 0x030b, 0xdead_0000n | 1n, 1n);
  assert.equal(bench.ask(0x1000n, { requester: 0x030b }), "pagingAccess");
  tables.write(root + 5n * 16n, 0xdead_0000n | 1n);
  assert.equal(bench.ask(0x1000n, { requester: 0x0500 }), "contextAccess");
  tables.write(root + 6n * 16n, 0xdead_0000n | 3n);
  assert.equal(bench.ask(0x1000n, { requester: 0x0600 }), "rootReserved");
});

function scalable(): { bench: VtdBench; directory: bigint } {
  const bench = new VtdBench("scalable", { stage2Levels: [3, 4, 5] });
  const directory = bench.tables.frame();
  // Device TLB, PASIDs, page requests; RID_PASID 0; 8,192 PASIDs.
  bench.tables.scalableContext(bench.root, 0x0300, directory | 0b1_1101n);
  return { bench, directory };
}

test("scalable: stage 1 by PASID, with privilege, execution and write protection", () => {
  const { bench, directory } = scalable();
  const { tables } = bench;
  const table = tables.frame();
  // PGTT 1; DID 9; SRE, ERE, WPE, NXE.
  tables.pasidEntry(directory, 5, 1n | (1n << 6n), 9n, table | 0b11_0011n);
  tables.map1(tables.host, table, 4, 0x7000n, 0x55_5000n);
  tables.map1(tables.host, table, 4, 0x8000n, 0x66_6000n, 3n);
  tables.map1(tables.host, table, 4, 0x9000n, 0x77_7000n, 5n | (1n << 63n));
  tables.map1(tables.host, table, 4, 0x20_0000n, 0x4000_0000n, 7n, 0x20_0000);
  const at = { requester: 0x0300, hasPasid: true, pasid: 5 };
  assert.equal(bench.ask(0x7123n, at), 0x55_5123n);
  assert.equal(bench.ask(0x7123n, { ...at, ...WRITE }), 0x55_5123n);
  assert.equal(bench.ask(0x20_1000n, at), 0x4000_1000n);
  assert.equal(bench.ask(0x8000n, at), "userDenied");
  assert.equal(bench.ask(0x8000n, { ...at, ...WRITE, privileged: true }), 0x66_6000n);
  assert.equal(bench.ask(0x9000n, { ...at, ...WRITE, privileged: true }), "scalableWriteDenied");
  assert.equal(bench.ask(0x9000n, { ...at, execute: true }), "executeDenied");
  assert.equal(bench.ask(0xa000n, at), "stage1NotPresent");
  assert.equal(bench.ask(1n << 47n, at), "notCanonical");
  assert.equal(bench.ask(0x7000n, { ...at, pasid: 6 }), "pasidEntryNotPresent");
  assert.equal(bench.ask(0x7000n, { ...at, pasid: 64 }), "directoryNotPresent");
  assert.equal(bench.ask(0x7000n, { ...at, pasid: 1 << 13 }), "pasidBeyondDirectory");
  assert.equal(bench.ask(0x7000n, { requester: 0x0300 }), "pasidEntryNotPresent");
  assert.equal(bench.ask(0x7000n, { requester: 0x0380 }), "scalableRootNotPresent");
  assert.equal(bench.unit.inspect().pasids[0]?.translation, "stage1");
});

test("scalable: nested translation joins both stages, and each side's faults are its own", () => {
  const { bench, directory } = scalable();
  const { tables } = bench;
  const outer = tables.frame();
  const guestFrames = new Map<bigint, bigint>();
  let next = 0x10_0000n;
  const guest = {
    frame: () => {
      const address = next;
      next += 0x1000n;
      const frame = tables.frame();
      guestFrames.set(address, frame);
      tables.map2(outer, 4, address, frame);
      return address;
    },
    where: (address: bigint) => (guestFrames.get(address & ~0xfffn) as bigint) + (address & 0xfffn),
  };
  const inner = guest.frame();
  tables.pasidEntry(directory, 5, outer | 1n | (3n << 6n) | (2n << 2n), 9n, inner);
  tables.map1(guest, inner, 4, 0x7000n, 0x9_0000n);
  tables.map1(guest, inner, 4, 0x8000n, 0x9_1000n);
  tables.map1(guest, inner, 4, 0x9000n, 1n << 48n);
  tables.map2(outer, 4, 0x9_0000n, 0xabc_d000n, 1n);
  const at = { requester: 0x0300, hasPasid: true, pasid: 5 };
  const before = bench.unit.memoryReads;
  assert.equal(bench.ask(0x7010n, at), 0xabc_d010n);
  // Root, context, directory, entry; 4 stage-1 entries of 4 + 1 reads; 4 for the page.
  assert.equal(bench.unit.memoryReads - before, 4 + 4 * 5 + 4);
  assert.equal(bench.ask(0x7010n, { ...at, ...WRITE }), "scalableWriteDenied");
  assert.equal(bench.ask(0x8000n, at), "stage2NotPresent");
  assert.equal(bench.ask(0x9000n, at), "stage2InputBeyondWidth");
});

test("what is not invalidated stays; what is, goes", () => {
  const { bench, table } = legacy();
  const at = { requester: 0x0300 };
  const entry = bench.tables.map2(table, 4, 0x1000n, 0x5000n);
  assert.equal(bench.ask(0x1000n, at), 0x5000n);
  bench.tables.write(entry, 0n);
  assert.equal(bench.ask(0x1000n, at), 0x5000n);
  bench.submit((2n << 4n) | 2n | (8n << 16n));
  assert.equal(bench.ask(0x1000n, at), 0x5000n, "another domain");
  bench.submit((3n << 4n) | 2n | (7n << 16n), 0x2000n);
  assert.equal(bench.ask(0x1000n, at), 0x5000n, "another page");
  bench.submit((3n << 4n) | 2n | (7n << 16n), 0x1000n);
  assert.equal(bench.ask(0x1000n, at), "readDenied");
});
