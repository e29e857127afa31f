import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_PORTS, VtdBench } from "../../../test/support/vtd-tables.js";
import { readLayout, VTD_PAGE_REQUEST } from "../../formats/index.js";
import type { PageRequestMessage } from "../translation.js";

const MESSAGE: PageRequestMessage = {
  requester: 0x0300,
  pasid: 5,
  privileged: true,
  execute: false,
  read: true,
  write: true,
  last: true,
  groupIndex: 0x1ab,
  frame: 0xf_edcb_a987_6543,
};

function unit(context = 0b1_1101n, interrupts: number[] = []) {
  const ports = {
    ...NO_PORTS,
    sendInterrupt: (_a: number, _u: number, d: number) => void interrupts.push(d),
  };
  const bench = new VtdBench("scalable", {}, ports);
  const { tables } = bench;
  tables.scalableContext(bench.root, 0x0300, tables.frame() | context);
  const queue = tables.frame();
  bench.unit.writeRegister64(0xd0, queue);
  return { bench, queue, tables, unit: bench.unit };
}

test("a request is put into the queue as software expects it", () => {
  const { unit: vtd, queue, tables } = unit();
  assert.deepEqual(vtd.pageRequest(MESSAGE), { kind: "queued" });
  assert.equal(vtd.readRegister64(0xc8), 32n);
  const words = new Uint32Array(8);
  tables.memory.read(Number(queue >> 12n), 0, new Uint8Array(words.buffer));
  assert.deepEqual(readLayout(VTD_PAGE_REQUEST, words), {
    type: 1,
    pasidPresent: 1,
    privateDataPresent: 0,
    requesterId: 0x0300,
    pasid: 5,
    execute: 0,
    privileged: 1,
    read: 1,
    write: 1,
    lastPage: 1,
    groupIndex: 0x1ab,
    frame: 0xf_edcb_a987_6543,
  });
});

test("a full queue overflows: the last of a group is answered with success, others are dropped", () => {
  const interrupts: number[] = [];
  const { unit: vtd } = unit(0b1_1101n, interrupts);
  vtd.writeRegister32(0xe4, 0x77);
  vtd.writeRegister32(0xe0, 0);
  for (let i = 0; i < 127; i++) assert.equal(vtd.pageRequest(MESSAGE).kind, "queued");
  assert.deepEqual(interrupts, [0x77]);
  assert.deepEqual(vtd.pageRequest(MESSAGE), { kind: "answered", code: 0, reason: undefined });
  const inner = { ...MESSAGE, last: false };
  assert.deepEqual(vtd.pageRequest(inner), {
    kind: "answered",
    code: undefined,
    reason: undefined,
  });
  assert.equal(vtd.readRegister32(0xdc), 3);
  vtd.writeRegister64(0xc0, 64n);
  assert.equal(vtd.pageRequest(MESSAGE).kind, "answered", "until the overflow bit is cleared");
  vtd.writeRegister32(0xdc, 3);
  assert.equal(vtd.pageRequest(MESSAGE).kind, "queued");
  assert.equal(vtd.readRegister64(0xc8), 0n, "round the ring");
  assert.deepEqual(interrupts, [0x77, 0x77]);
});

test("who may not ask is told so, and a record is left", () => {
  const refuse = (context: bigint, change: Partial<PageRequestMessage> = {}) => {
    const { unit: vtd } = unit(context);
    const answer = vtd.pageRequest({ ...MESSAGE, ...change });
    assert.equal(vtd.faults.recorded, 1);
    assert.equal(answer.kind === "answered" && answer.code, 1);
    return answer.kind === "answered" ? vtd.faultName(answer.reason ?? 0) : answer.kind;
  };
  assert.equal(refuse(0b0_1101n), "pageRequestDisabled");
  assert.equal(refuse(0b1_0101n), "pasidDisabled");
  assert.equal(refuse(0b1_1101n, { pasid: 1 << 13 }), "pasidBeyondDirectory");
  assert.equal(refuse(0b1_1101n, { requester: 0x0301 }), "scalableContextNotPresent");
  const legacy = new VtdBench("legacy");
  const answer = legacy.unit.pageRequest(MESSAGE);
  assert.equal(answer.kind === "answered" && answer.reason, 0x32);
  assert.equal(unit().unit.pageRequest({ ...MESSAGE, pasid: undefined }).kind, "queued");
});

test("a queue that memory does not take fails the group", () => {
  const { unit: vtd, queue, tables } = unit();
  tables.memory.mark(Number(queue >> 12n), "violation");
  assert.deepEqual(vtd.pageRequest(MESSAGE), { kind: "answered", code: 15, reason: undefined });
});
