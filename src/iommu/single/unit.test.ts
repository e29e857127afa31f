import assert from "node:assert/strict";
import { test } from "node:test";
import { VtdTables } from "../../../test/support/vtd-tables.js";
import { DmaAccess, DmaAddressType, DmaAnswer, DmaRequest } from "../translation.js";
import { SingleTableRegister, SingleTableUnit } from "./unit.js";

function unit(options = {}) {
  const tables = new VtdTables();
  const single = new SingleTableUnit(tables.memory, options);
  const table = tables.frame();
  single.writeRegister64(SingleTableRegister.table, table | 4n);
  single.writeRegister64(SingleTableRegister.control, 1n);
  const request = new DmaRequest();
  const answer = new DmaAnswer();
  const ask = (address: bigint, change: Partial<DmaRequest> = {}): bigint | string => {
    Object.assign(request, new DmaRequest(), change);
    request.lo = Number(BigInt.asIntN(32, address));
    request.hi = Number(BigInt.asIntN(32, address >> 32n));
    single.translate(request, answer);
    if (answer.status === 2) return single.faultName(answer.reason);
    if (answer.status === 1) return "interrupt";
    return (BigInt(answer.hi >>> 0) << 32n) | BigInt(answer.lo >>> 0);
  };
  return { tables, single, table, ask, answer };
}

test("every requester gets the same translation", () => {
  const { tables, table, ask, single } = unit();
  tables.map2(table, 4, 0x1000n, 0x9000n);
  for (const requester of [0, 0x100, 0xffff]) {
    assert.equal(ask(0x1234n, { requester, access: DmaAccess.write }), 0x9234n);
  }
  assert.equal(single.inspect().iotlb.length, 1);
});

test("a PASID and address types mean nothing here", () => {
  const { ask, single } = unit();
  assert.equal(ask(0n, { hasPasid: true, pasid: 1 }), "prefix");
  assert.equal(ask(0n, { addressType: DmaAddressType.translated }), "addressType");
  assert.equal(ask(0n, { addressType: DmaAddressType.translationRequest }), "addressType");
  const message = {
    requester: 1,
    pasid: undefined,
    privileged: false,
    execute: false,
    read: true,
    write: false,
    groupIndex: 0,
    frame: 0,
  };
  assert.deepEqual(single.pageRequest({ ...message, last: true }), {
    kind: "answered",
    code: 1,
    reason: 2,
  });
  assert.equal(single.pageRequest({ ...message, last: false }).kind, "answered");
});

test("faults, and the register that tells of the last one", () => {
  const { tables, table, ask, single } = unit({ pages2M: false });
  tables.map2(table, 4, 0x1000n, 0x9000n, 1n);
  tables.map2(table, 4, 0x2000n, 0x9000n, 2n);
  tables.map2(table, 4, 0x3000n, 0xfee0_0000n, 3n);
  tables.map2(table, 4, 0x20_0000n, 0n, 3n, 0x20_0000);
  assert.equal(ask(0x1000n), 0x9000n);
  assert.equal(ask(0x1000n, { access: DmaAccess.write }), "writeDenied");
  assert.equal(ask(0x2000n), "readDenied");
  assert.equal(ask(0x3000n), "interruptAddress");
  assert.equal(ask(0x20_0000n), "reserved");
  assert.equal(ask(0x5000n), "notPresent");
  assert.equal(ask(1n << 48n), "addressBeyondWidth");
  tables.memory.mark(Number(table >> 12n), "poisoned");
  assert.equal(ask(0x12_3456_7000n, { requester: 0x1234 }), "tableAccess");
  assert.equal(single.readRegister64(SingleTableRegister.faultStatus), 0x1234_0004n);
  assert.equal(single.readRegister64(SingleTableRegister.faultAddress), 0x12_3456_7000n);
  single.writeRegister64(SingleTableRegister.faultStatus, 0n);
  assert.equal(single.readRegister64(SingleTableRegister.faultStatus), 0n);
});

test("cached until flushed; off, addresses pass; interrupts are not remapped", () => {
  const { tables, table, ask, single } = unit();
  const entry = tables.map2(table, 4, 0x1000n, 0x9000n);
  ask(0x1000n);
  tables.write(entry, 0n);
  assert.equal(ask(0x1000n), 0x9000n);
  single.writeRegister64(SingleTableRegister.flush, 0n);
  assert.equal(ask(0x1000n), "notPresent");
  assert.equal(ask(0xfee0_0000n, { access: DmaAccess.write }), "interrupt");
  const message = { requester: 1, address: 0xfee0_3000, upperAddress: 0, data: 0x42 };
  const answer = single.interrupt(message);
  assert.equal(answer.kind === "delivered" && answer.interrupt.vector, 0x42);
  single.writeRegister64(SingleTableRegister.control, 0n);
  assert.equal(ask(0x1000n), 0x1000n);
});

test("three levels, large pages, capability register", () => {
  const { tables, single, ask } = unit();
  const table = tables.frame();
  single.writeRegister64(SingleTableRegister.table, table | 3n);
  tables.map2(table, 3, 0x4000_0000n, 0x8000_0000n, 3n, 0x4000_0000);
  assert.equal(ask(0x4000_1234n), 0x8000_1234n);
  assert.equal(ask(1n << 39n), "addressBeyondWidth");
  assert.equal(single.readRegister64(SingleTableRegister.capability), 48n | (3n << 8n));
  assert.throws(() => new SingleTableUnit(tables.memory, { hostAddressWidth: 53 }), RangeError);
});
