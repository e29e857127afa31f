import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addressHigh, addressLow, frameOf } from "./address.js";
import { FailNth } from "./allocation-port.js";
import { type BackingObject, BufferBacking } from "./backing-object.js";
import { MemoryStatus, memoryStatusName } from "./memory-status.js";
import { PhysicalMemory } from "./physical-memory.js";

const SEED = 77;
const OWNER = { label: "tables" };
const at = (pfn: number, offset = 0): [number, number] => [
  addressLow(pfn, offset),
  addressHigh(pfn),
];

test("halves of an address and back, over all 52 bits", () => {
  for (const pfn of [0, 1, 0xf_ffff, 0x10_0000, 2 ** 32, 2 ** 40 - 1]) {
    assert.equal(frameOf(addressLow(pfn, 0xabc), addressHigh(pfn)), pfn);
    assert.equal(addressLow(pfn, 0xabc) & 0xfff, 0xabc);
  }
});

test(`frames anywhere against a map of bytes (seed ${SEED})`, () => {
  const place = fc.record({
    pfn: fc.oneof(fc.nat(2 ** 20), fc.integer({ min: 2 ** 32, max: 2 ** 40 - 1 })),
    offset: fc.nat(4095),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }),
    frees: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(place, { maxLength: 40 }), (places) => {
      const memory = new PhysicalMemory();
      const model = new Map<number, Uint8Array>();
      for (const { pfn, offset, bytes, frees } of places) {
        if (pfn >= 0xfee00 && pfn < 0x20_0000) continue;
        if (!model.has(pfn)) {
          memory.placeFrame(pfn, OWNER);
          model.set(pfn, new Uint8Array(4096));
        }
        const part = bytes.subarray(0, 4096 - offset);
        assert.equal(memory.write(pfn, offset, part), MemoryStatus.ok);
        model.get(pfn)?.set(part, offset);
        for (const [known, want] of model) {
          const got = new Uint8Array(4096);
          assert.equal(memory.read(known, 0, got), MemoryStatus.ok);
          assert.deepEqual(got, want);
        }
        assert.equal(memory.tableFrames, model.size);
        if (!frees) continue;
        memory.freeFrame(pfn);
        model.delete(pfn);
        assert.equal(memory.read(pfn, 0, new Uint8Array(1)), MemoryStatus.absent);
      }
    }),
    { seed: SEED, numRuns: 40 },
  );
});

test("64-bit reads and writes agree with bytes, for tables and for user pages", () => {
  const memory = new PhysicalMemory();
  const table = memory.allocateFrame(OWNER) ?? -1;
  const backing = new BufferBacking("user", 8192);
  const indirect = withoutWords(new BufferBacking("elsewhere", 4096));
  const user = memory.addUserMemory(backing) + 1;
  const other = memory.addUserMemory(indirect);
  for (const pfn of [table, user, other]) {
    // The first access of a user page teaches the directory its place; the second uses it.
    for (const value of [0x1122_3344, 0x5566_7788]) {
      assert.equal(memory.write64(...at(pfn, 16), value, 0x8000_0001), MemoryStatus.ok);
      assert.equal(memory.read64(...at(pfn, 16)), MemoryStatus.ok);
      assert.deepEqual([memory.lo, memory.hi >>> 0], [value, 0x8000_0001]);
      const bytes = new Uint8Array(8);
      memory.read(pfn, 16, bytes);
      const view = new DataView(bytes.buffer);
      assert.equal(view.getUint32(0, true), value);
      assert.equal(view.getUint32(4, true), 0x8000_0001);
    }
  }
  assert.equal(backing.words[1024 + 4], 0x5566_7788);
  assert.equal(memory.wordAt(...at(table, 16)), memory.frameWord(table) + 4);
  assert.equal(memory.wordAt(...at(user)), -1);
  assert.equal(memory.wordAt(0, 1 << 20), -1, "beyond 52 bits");
  assert.equal(memory.read64(0, 1 << 20), MemoryStatus.absent);
});

function withoutWords(backing: BufferBacking): BackingObject {
  return {
    label: backing.label,
    byteLength: backing.byteLength,
    words: undefined,
    read: (offset, into) => backing.read(offset, into),
    write: (offset, from) => backing.write(offset, from),
  };
}

test("a user page has one frame, whatever the runs, and every frame one page", () => {
  for (const [pages, runPages] of [
    [1, undefined],
    [7, 1],
    [1030, 2],
    [1500, 512],
  ] as const) {
    const memory = new PhysicalMemory();
    const backing = new BufferBacking("user", pages * 4096);
    const options = runPages === undefined ? {} : { runPages };
    const first = memory.addUserMemory(backing, options);
    const frames = new Set<number>();
    for (let page = 0; page < pages; page++) {
      const pfn = memory.userFrame(backing, page);
      frames.add(pfn);
      assert.deepEqual(memory.useOf(pfn), { kind: "user", backing, page });
      assert.equal(memory.userFrame(backing, page), pfn);
      memory.write(pfn, 0, Uint8Array.of(page & 255, page >>> 8));
    }
    assert.equal(frames.size, pages);
    assert.equal(Math.min(...frames), first);
    for (let page = 0; page < pages; page++) {
      assert.equal(backing.words[page * 1024], page);
    }
    if (runPages !== undefined) {
      const next = memory.userFrame(backing, runPages);
      assert.notEqual(next, memory.userFrame(backing, runPages - 1) + 1, "not one run");
    }
    assert.equal(memory.useOf(first + pages), undefined);
    assert.equal(memory.read(first + pages, 0, new Uint8Array(1)), MemoryStatus.absent);
    assert.throws(() => memory.userFrame(backing, pages), RangeError);
  }
});

test("user memory that goes away is absent, and may come back", () => {
  const memory = new PhysicalMemory();
  const backing = new BufferBacking("user", 4096);
  const first = memory.addUserMemory(backing);
  memory.write64(...at(first), 1, 0);
  memory.mark(first, "poisoned");
  memory.removeUserMemory(backing);
  assert.equal(memory.hasUserMemory(backing), false);
  assert.equal(memory.read64(...at(first)), MemoryStatus.absent);
  assert.throws(() => memory.removeUserMemory(backing), RangeError);
  memory.addUserMemory(backing);
  assert.equal(memory.read64(...at(first)), MemoryStatus.ok);
});

test("places that are taken are refused, and automatic ones avoid them", () => {
  const memory = new PhysicalMemory();
  memory.addMmio(0x100_0000, 512, "gpu BAR 1");
  const backing = new BufferBacking("user", 4096);
  const first = memory.addUserMemory(backing);
  assert.equal(first, 0x100_0200);
  const other = new BufferBacking("other", 4096);
  for (const place of [first, 0x100_0000, 0x10_0000, 0xfee00]) {
    assert.throws(() => memory.addUserMemory(other, { first: place }), RangeError);
  }
  assert.throws(() => memory.addUserMemory(other, { first: 0x300_0001 }), /multiple of 512/);
  assert.throws(() => memory.addUserMemory(other, { runPages: 3 }), RangeError);
  assert.throws(() => memory.addUserMemory(other, { first: 2 ** 40 }), RangeError);
  assert.throws(() => memory.addUserMemory(backing), /is present/);
  assert.throws(() => memory.placeFrame(0xfee10, OWNER), /interrupt/);
  assert.throws(() => memory.placeFrame(0x100_0001, OWNER), /gpu BAR 1/);
  assert.throws(() => memory.placeFrame(-1, OWNER), RangeError);
  assert.throws(() => memory.addMmio(0x100_0100, 1, "overlaps"), RangeError);
  assert.throws(() => memory.freeFrame(first), RangeError);
  assert.throws(() => new BufferBacking("odd", 100), RangeError);
});

test("device memory and the interrupt range are told apart, and can be given up", () => {
  const memory = new PhysicalMemory();
  memory.addMmio(0x2_0000, 16, "nic");
  const read = (pfn: number) => memoryStatusName(memory.read(pfn, 0, new Uint8Array(4)));
  assert.equal(read(0x2_000f), "mmio");
  assert.equal(read(0x2_0010), "absent");
  assert.equal(read(0xfee00), "interrupt");
  assert.equal(memory.write(0xfeeff, 0, Uint8Array.of(1)), MemoryStatus.interrupt);
  assert.deepEqual(memory.useOf(0x2_0000), { kind: "mmio", label: "nic" });
  assert.deepEqual(memory.useOf(0xfee00), { kind: "interrupt" });
  assert.throws(() => memory.removeMmio(0x2_0001), RangeError);
  memory.removeMmio(0x2_0000);
  assert.equal(read(0x2_0000), "absent");
});

test("poison and violation: what reads and writes see, and what mends", () => {
  const memory = new PhysicalMemory();
  const table = memory.allocateFrame(OWNER) ?? -1;
  const user = memory.addUserMemory(new BufferBacking("user", 4096));
  const byte = Uint8Array.of(9);
  for (const pfn of [table, user]) {
    memory.mark(pfn, "poisoned");
    assert.equal(memory.read(pfn, 0, byte), MemoryStatus.poisoned);
    assert.equal(memory.read64(...at(pfn)), MemoryStatus.poisoned);
    assert.equal(memory.write(pfn, 0, byte), MemoryStatus.ok);
    assert.equal(memory.read(pfn, 0, byte), MemoryStatus.poisoned, "part of it is still lost");
    assert.equal(memory.write(pfn, 0, new Uint8Array(4096)), MemoryStatus.ok);
    assert.equal(memory.read(pfn, 0, byte), MemoryStatus.ok);
    memory.mark(pfn, "violation");
    assert.equal(memory.write(pfn, 0, byte), MemoryStatus.violation);
    assert.equal(memory.write64(...at(pfn), 1, 2), MemoryStatus.violation);
    memory.mark(pfn, "ok");
    assert.equal(memory.read64(...at(pfn)), MemoryStatus.ok);
  }
  assert.throws(() => memory.mark(5, "poisoned"), RangeError);
});

test("accesses that leave their frame, or are none, are errors of the caller", () => {
  const memory = new PhysicalMemory();
  const pfn = memory.allocateFrame(OWNER) ?? -1;
  assert.throws(() => memory.read(pfn, 4090, new Uint8Array(8)), RangeError);
  assert.throws(() => memory.read(pfn, 0, new Uint8Array(0)), RangeError);
  assert.throws(() => memory.write(pfn, -1, new Uint8Array(1)), RangeError);
  assert.equal(memory.read(2 ** 40, 0, new Uint8Array(1)), MemoryStatus.absent);
});

test("freed addresses are not used again while others are left; contents start at zero", () => {
  const memory = new PhysicalMemory({ poolFrames: 3 });
  const take = () => memory.allocateFrame(OWNER);
  const first = take() ?? -1;
  memory.write64(...at(first), 7, 7);
  memory.freeFrame(first);
  const second = take() ?? -1;
  assert.notEqual(second, first);
  assert.equal(memory.read64(...at(second)), MemoryStatus.ok);
  assert.deepEqual([memory.lo, memory.hi], [0, 0]);
  take();
  assert.equal(take(), first, "only now");
  assert.equal(take(), undefined, "the pool is empty");
  assert.deepEqual([...memory.tables()].length, 3);
});

test("runs of frames are aligned; what alignment leaves out is handed out later", () => {
  const memory = new PhysicalMemory({ poolFrames: 16 });
  memory.allocateFrame(OWNER);
  const run = memory.allocateFrames(3, OWNER) ?? -1;
  assert.equal(run % 4, 0);
  const big = memory.allocateFrames(8, OWNER) ?? -1;
  assert.equal(big % 8, 0);
  assert.equal(memory.allocateFrames(2, OWNER), undefined);
  let singles = 0;
  while (memory.allocateFrame(OWNER) !== undefined) singles++;
  assert.equal(singles + 1 + 3 + 8, 16);
  assert.throws(() => memory.allocateFrames(0, OWNER), RangeError);
});

test("the n-th allocation can be made to fail", () => {
  const port = new FailNth(2);
  const memory = new PhysicalMemory({ allocations: port });
  assert.notEqual(memory.allocateFrame(OWNER), undefined);
  assert.equal(memory.allocateFrame(OWNER), undefined);
  assert.notEqual(memory.allocateFrames(2, OWNER), undefined);
  assert.deepEqual([port.count, port.hasFailed, port.failedKind], [3, true, "frame"]);
  memory.allocations = new FailNth(1);
  assert.equal(memory.allocateFrames(2, OWNER), undefined);
  assert.throws(() => new FailNth(-1), RangeError);
});

test("storage grows without losing bytes and reserves at most a quarter once it is large", () => {
  const memory = new PhysicalMemory();
  const frames: number[] = [];
  for (let i = 0; i < 6000; i++) {
    const pfn = memory.allocateFrame(OWNER) ?? -1;
    memory.write64(...at(pfn, 8), i, ~i);
    frames.push(pfn);
  }
  frames.forEach((pfn, i) => {
    memory.read64(...at(pfn, 8));
    assert.deepEqual([memory.lo, memory.hi], [i, ~i]);
  });
  assert.ok(memory.storedBytes <= 6000 * 4096 * 1.26, `${memory.storedBytes} bytes`);
});
