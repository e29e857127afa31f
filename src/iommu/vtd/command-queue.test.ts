import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_PORTS, VtdBench } from "../../../test/support/vtd-tables.js";
import { deviceTlbFrame } from "../../formats/index.js";
import type { DeviceTlbInvalidation, IommuPorts, PageGroupResponse } from "../iommu-ports.js";
import { deviceTlbRange } from "./command-queue.js";

const QUEUE = { head: 0x80, tail: 0x88, address: 0x90, error: 0xb0 };
const FAULT_STATUS = 0x34;

interface Log extends IommuPorts {
  readonly invalidations: DeviceTlbInvalidation[];
  readonly responses: PageGroupResponse[];
  readonly interrupts: number[];
  answers: boolean;
}

function ports(): Log {
  const log: Log = {
    invalidations: [],
    responses: [],
    interrupts: [],
    answers: true,
    invalidateDeviceTlb: (invalidation) => {
      log.invalidations.push(invalidation);
      return log.answers;
    },
    answerPageGroup: (response) => void log.responses.push(response),
    sendInterrupt: (_address, _upper, data) => void log.interrupts.push(data),
  };
  return log;
}

test("wait: writes its status word, and its interrupt comes once until served", () => {
  const log = ports();
  const bench = new VtdBench("legacy", {}, log);
  const status = bench.tables.frame();
  bench.unit.writeRegister32(0xa4, 0x55);
  bench.unit.writeRegister32(0xa0, 0);
  bench.submit(5n | (1n << 5n) | (0xdead_beefn << 32n), status + 8n);
  assert.equal(bench.tables.read(status + 8n), 0xdead_beefn);
  bench.submit(5n | (1n << 4n));
  bench.submit(5n | (1n << 4n));
  assert.deepEqual(log.interrupts, [0x55]);
  assert.equal(bench.unit.readRegister32(0x9c), 1);
  bench.unit.writeRegister32(0x9c, 1);
  bench.submit(5n | (1n << 4n));
  assert.deepEqual(log.interrupts, [0x55, 0x55]);
});

test("device-TLB invalidations and page group responses leave through the ports", () => {
  const log = ports();
  const bench = new VtdBench("scalable", {}, log);
  bench.submit(3n | (0x1234n << 32n), 0x5000n);
  bench.submit(3n | (0x1234n << 32n), 0x7000n | 1n);
  bench.submit(8n | (0x1234n << 16n) | (9n << 32n), 0x1_0000n);
  bench.submit(8n | (0x1234n << 16n) | (9n << 32n), 0x7fff_ffff_ffff_f000n | (1n << 11n) | 1n);
  const common = { requester: 0x1234, global: false };
  assert.deepEqual(log.invalidations, [
    { ...common, pasid: undefined, frame: 5, pageCount: 1 },
    { ...common, pasid: undefined, frame: 0, pageCount: 16 },
    { ...common, pasid: 9, frame: 16, pageCount: 1 },
    { requester: 0x1234, pasid: 9, global: true, frame: 0, pageCount: 2 ** 52 },
  ]);
  bench.submit(9n | (1n << 4n) | (1n << 12n) | (0x1234n << 16n) | (9n << 32n), (3n << 3n) | 4n);
  bench.submit(9n | (0x1234n << 16n), 5n << 3n);
  assert.deepEqual(log.responses, [
    { requester: 0x1234, pasid: 9, groupIndex: 3, code: 1 },
    { requester: 0x1234, pasid: undefined, groupIndex: 5, code: 0 },
  ]);
});

test("the address of a device-TLB descriptor names aligned powers of two", () => {
  for (const order of [0, 1, 2, 9, 20]) {
    for (const block of [0, 1, 5]) {
      const frame = block * 2 ** order;
      const field = deviceTlbFrame(frame, order);
      assert.deepEqual(deviceTlbRange(field, order > 0), { frame, pageCount: 2 ** order });
    }
  }
  assert.throws(() => deviceTlbFrame(1, 1), RangeError);
});

test("a device that does not answer stops the queue behind its descriptor", () => {
  const log = ports();
  const bench = new VtdBench("legacy", {}, log);
  const status = bench.tables.frame();
  log.answers = false;
  bench.submit(3n | (0x100n << 32n), 0x5000n);
  bench.submit(5n | (1n << 5n) | (1n << 32n), status);
  assert.equal(bench.unit.readRegister32(FAULT_STATUS), 1 << 6);
  assert.equal(bench.unit.readRegister64(QUEUE.head), 16n);
  assert.equal(bench.tables.read(status), 0n);
  bench.unit.writeRegister32(FAULT_STATUS, 1 << 6);
  assert.equal(bench.tables.read(status), 1n);
  assert.equal(bench.unit.readRegister64(QUEUE.head), 32n);
});

test("errors stop the queue at the descriptor, with their number; clearing goes on", () => {
  const cases: [string, number, (bench: VtdBench) => void][] = [
    ["type", 3, (b) => b.submit(0xfn)],
    ["type above the low four bits", 3, (b) => b.submit(1n | (1n << 9n))],
    ["reserved bits", 4, (b) => b.submit(1n | (1n << 4n) | (1n << 60n))],
    ["granularity", 4, (b) => b.submit(1n)],
    ["granularity of the IOTLB", 4, (b) => b.submit(2n)],
    ["address mask", 4, (b) => b.submit(2n | (3n << 4n), 63n)],
    ["granularity of a PASID", 4, (b) => b.submit(6n)],
    ["granularity of the PASID cache", 4, (b) => b.submit(7n | (2n << 4n))],
    ["tail beyond the queue", 1, (b) => b.unit.writeRegister64(QUEUE.tail, 4096n)],
    [
      "memory that does not answer",
      2,
      (b) => {
        b.tables.memory.mark(Number(b.queue >> 12n), "poisoned");
        b.unit.writeRegister64(QUEUE.tail, 16n);
      },
    ],
  ];
  for (const [what, error, provoke] of cases) {
    const bench = new VtdBench("scalable");
    provoke(bench);
    assert.equal(bench.unit.readRegister32(FAULT_STATUS), 1 << 4, what);
    assert.equal(bench.unit.readRegister32(QUEUE.error), error, what);
    assert.equal(bench.unit.readRegister64(QUEUE.head), 0n, what);
  }
  const bench = new VtdBench("scalable");
  bench.submit(0xfn);
  bench.tables.write(bench.queue, 1n | (1n << 4n));
  bench.unit.writeRegister32(FAULT_STATUS, 1 << 4);
  assert.equal(bench.unit.readRegister64(QUEUE.head), 16n);
  assert.equal(bench.unit.readRegister32(QUEUE.error), 0);
});

test("a legacy unit knows no PASID descriptors and no wide ones", () => {
  const bench = new VtdBench("legacy", { scalable: false });
  bench.submit(7n | (3n << 4n));
  assert.equal(bench.unit.readRegister32(QUEUE.error), 4);
  const wide = new VtdBench("legacy", { scalable: false });
  wide.unit.writeRegister64(QUEUE.address, wide.queue | (1n << 11n));
  wide.submit(1n | (1n << 4n));
  assert.equal(wide.unit.readRegister32(QUEUE.error), 5);
});

test("descriptors of 32 bytes, a queue of two frames, and going round", () => {
  const bench = new VtdBench("scalable");
  const { unit, tables } = bench;
  const queue = tables.frames(2);
  const status = tables.frame();
  unit.writeRegister64(QUEUE.address, queue | (1n << 11n) | 1n);
  unit.writeRegister32(0x18, 1 << 31);
  unit.writeRegister32(0x18, ((1 << 31) | (1 << 26)) >>> 0);
  for (let i = 0; i < 300; i++) {
    const at = BigInt((i % 256) * 32);
    tables.write(queue + at, 5n | (1n << 5n) | (BigInt(i) << 32n), status, 0n, 0n);
    unit.writeRegister64(QUEUE.tail, BigInt(((i + 1) % 256) * 32));
    assert.equal(tables.read(status), BigInt(i));
  }
  unit.writeRegister64(QUEUE.tail, 16n);
  assert.equal(unit.readRegister32(QUEUE.error), 6, "tail not aligned");
});

test("descriptors that change their size under the head stop the queue", () => {
  const bench = new VtdBench("scalable");
  bench.submit(1n | (1n << 4n));
  bench.unit.writeRegister64(QUEUE.address, bench.queue | (1n << 11n));
  bench.unit.writeRegister64(QUEUE.tail, 64n);
  assert.equal(bench.unit.readRegister32(QUEUE.error), 6);
});

test("contexts: by device, by domain, all", () => {
  const bench = new VtdBench("legacy", { stage2Levels: [4] }, NO_PORTS);
  const table = bench.tables.frame();
  bench.tables.map2(table, 4, 0n, 0x9000n);
  const held = () =>
    bench.unit
      .inspect()
      .contexts.map((c) => c.requester)
      .sort((a, b) => a - b);
  const fill = () => {
    for (const [requester, domain] of [
      [0x100, 1n],
      [0x101, 1n],
      [0x104, 2n],
    ] as const) {
      bench.tables.context(bench.root, requester, table | 1n, 2n | (domain << 8n));
      bench.ask(0n, { requester });
    }
    assert.deepEqual(held(), [0x100, 0x101, 0x104]);
  };
  fill();
  bench.submit(1n | (3n << 4n) | (1n << 16n) | (0x100n << 32n));
  assert.deepEqual(held(), [0x101, 0x104]);
  fill();
  bench.submit(1n | (3n << 4n) | (2n << 16n) | (0x100n << 32n));
  assert.deepEqual(held(), [0x100, 0x101, 0x104], "a device of another domain stays");
  bench.submit(1n | (3n << 4n) | (1n << 16n) | (0x100n << 32n) | (3n << 48n));
  assert.deepEqual(held(), [0x104], "the function mask leaves three bits out");
  fill();
  bench.submit(1n | (2n << 4n) | (1n << 16n));
  assert.deepEqual(held(), [0x104]);
  fill();
  bench.submit(1n | (1n << 4n));
  assert.deepEqual(held(), []);
});

test("PASIDs: a changed entry counts only once its line is invalidated", () => {
  const bench = new VtdBench("scalable");
  const { tables } = bench;
  const directory = tables.frame();
  tables.scalableContext(bench.root, 0x300, directory | 0b1001n);
  const [first, second] = [tables.frame(), tables.frame()];
  tables.map2(first, 4, 0n, 0x1000n);
  tables.map2(second, 4, 0n, 0x2000n);
  const at = { requester: 0x300, hasPasid: true, pasid: 5 };
  const program = (table: bigint) =>
    tables.pasidEntry(directory, 5, table | 1n | (2n << 6n) | (2n << 2n), 9n);
  const flushIotlb = () => bench.submit(2n | (1n << 4n));
  program(first);
  assert.equal(bench.ask(0n, at), 0x1000n);
  program(second);
  flushIotlb();
  assert.equal(bench.ask(0n, at), 0x1000n, "stale");
  for (const other of [(1n << 4n) | (9n << 16n) | (6n << 32n), 8n << 16n]) {
    bench.submit(7n | other);
    flushIotlb();
    assert.equal(bench.ask(0n, at), 0x1000n, "another PASID, another domain");
  }
  bench.submit(7n | (1n << 4n) | (9n << 16n) | (5n << 32n));
  flushIotlb();
  assert.equal(bench.ask(0n, at), 0x2000n);
  program(first);
  bench.submit(7n | (9n << 16n));
  flushIotlb();
  assert.equal(bench.ask(0n, at), 0x1000n, "by domain");
  program(second);
  bench.submit(7n | (3n << 4n));
  flushIotlb();
  assert.equal(bench.ask(0n, at), 0x2000n, "all");
});
