/**
 * Software and devices may do anything: random tables, random descriptors, random register writes,
 * random requests. A unit answers every time, ends every time, and never lets a request through to
 * an address that its tables do not give.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VtdBench, type VtdTables } from "../../../test/support/vtd-tables.js";
import { VtdRegister } from "../../formats/index.js";
import { DmaAnswer, DmaRequest, DmaSource, DmaStatus } from "../translation.js";
import type { VtdUnit } from "./unit.js";

const SEED = 5150;
/** Walks that led somewhere: garbage that never does would prove nothing. */
let walked = 0;
const OFFSETS = [...Object.values(VtdRegister), 0x400, 0x40c, 0x41c, 0x7fc, 0x48];

/** A word somewhere in the tables: frames of the pool with flags, and sometimes anything. */
const corruption = fc.record({
  kind: fc.constant("corrupt" as const),
  frame: fc.nat(40),
  entry: fc.oneof(fc.nat(3), fc.nat(511)),
  word: fc.oneof(
    { weight: 2, arbitrary: fc.tuple(fc.nat(40), fc.constantFrom(0, 1, 3, 7, 0x83, 0x87, 0x803)) },
    { weight: 1, arbitrary: fc.tuple(fc.nat(40), fc.nat(0xfff)) },
    { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) },
  ),
});

const access = fc.record({
  requester: fc.constantFrom(1, 1, 1, 0, 0x80, 0xffff),
  access: fc.constantFrom(1, 2, 3),
  addressType: fc.constantFrom(0, 0, 0, 1, 2),
  hasPasid: fc.boolean(),
  pasid: fc.constantFrom(0, 1, 2, 3, 64, 0xfffff),
  privileged: fc.boolean(),
  execute: fc.boolean(),
  noSnoop: fc.boolean(),
  length: fc.constantFrom(0, 4),
  address: fc.oneof(
    fc.bigInt({ min: 0n, max: 0x3fffn }),
    fc.constantFrom(0x20_0000n, 0x4000_0000n),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.constantFrom(0xfee0_0000n, 0xfeef_ffffn),
  ),
});

const event = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("ask" as const), request: access }) },
  { weight: 4, arbitrary: corruption },
  fc.record({
    kind: fc.constant("write" as const),
    offset: fc.constantFrom(...OFFSETS),
    value: fc.oneof(fc.nat(0xffff_ffff), fc.tuple(fc.nat(40), fc.nat(0xfff))),
  }),
  fc.record({
    kind: fc.constant("interrupt" as const),
    address: fc.nat(0xf_ffff),
    data: fc.nat(0xffff_ffff),
  }),
  fc.record({
    kind: fc.constant("page" as const),
    pasid: fc.option(fc.nat(0xfffff)),
    last: fc.boolean(),
  }),
);

for (const mode of ["legacy", "scalable"] as const) {
  test(`${mode}: garbage everywhere (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 20, maxLength: 60, size: "max" }), (events) => {
        const bench = build(mode);
        const frames = [...bench.tables.memory.tables()].map(({ pfn }) => pfn);
        for (const e of events) play(bench, frames, e);
        bench.unit.inspect();
      }),
      { seed: SEED, numRuns: 200 },
    );
    assert.ok(walked > 50, `${walked} walks`);
    walked = 0;
  });
}

/**
 * Everything in order, for requester 1: legacy, or PASID 0 stage 2, 1 stage 1, 2 nested, 3 passes.
 */
function build(mode: "legacy" | "scalable"): VtdBench {
  const bench = new VtdBench(mode, { iotlbEntries: 8 });
  const { tables, root, unit } = bench;
  const [outer, inner, directory] = [tables.frame(), tables.frame(), tables.frame()];
  for (const page of [0n, 1n, 2n]) {
    tables.map2(outer, 4, page << 12n, (page + 0x500n) << 12n);
    tables.map1(tables.host, inner, 4, page << 12n, (page + 0x600n) << 12n);
  }
  for (const { pfn } of [...tables.memory.tables()]) {
    // Stage-1 tables lie at their own addresses in stage 2.
    tables.map2(outer, 4, BigInt(pfn) << 12n, BigInt(pfn) << 12n);
  }
  tables.map2(outer, 4, 0x600n << 12n, 0x700n << 12n);
  if (mode === "legacy") tables.context(root, 1, outer | 5n, 2n | (7n << 8n));
  else {
    tables.scalableContext(root, 1, directory | 0b1_1101n);
    for (const [pasid, type] of [
      [0, 2n],
      [1, 1n],
      [2, 3n],
      [3, 4n],
    ] as const) {
      tables.pasidEntry(directory, pasid, outer | 1n | (type << 6n) | (2n << 2n), 9n, inner);
    }
  }
  unit.writeRegister64(VtdRegister.interruptTable, tables.frame() | 4n);
  bench.command(1 << 24);
  bench.command(1 << 25);
  return bench;
}

function play(
  { unit, tables }: VtdBench,
  frames: readonly number[],
  e: typeof event extends fc.Arbitrary<infer E> ? E : never,
): void {
  const frame = (n: number): number => frames[n % frames.length] as number;
  if (e.kind === "write") {
    const { value } = e;
    const bits = typeof value === "number" ? value : frame(value[0]) * 4096 + value[1];
    unit.writeRegister32(e.offset, bits);
    for (const offset of OFFSETS) assert.ok(unit.readRegister32(offset) >= 0);
  } else if (e.kind === "corrupt") {
    const { word } = e;
    const value =
      typeof word === "bigint" ? word : (BigInt(frame(word[0])) << 12n) | BigInt(word[1]);
    tables.write((BigInt(frame(e.frame)) << 12n) | BigInt(e.entry * 8), value);
  } else if (e.kind === "interrupt") {
    const address = 0xfee0_0000 + e.address;
    unit.interrupt({ requester: 1, address, upperAddress: 0, data: e.data });
  } else if (e.kind === "page") {
    unit.pageRequest({
      requester: 1,
      pasid: e.pasid ?? undefined,
      privileged: false,
      execute: false,
      read: true,
      write: true,
      last: e.last,
      groupIndex: 3,
      frame: 7,
    });
  } else ask(unit, tables, e.request);
}

function ask(
  unit: VtdUnit,
  tables: VtdTables,
  given: typeof access extends fc.Arbitrary<infer A> ? A : never,
): void {
  const { address, ...rest } = given;
  const request = Object.assign(new DmaRequest(), rest);
  request.lo = Number(BigInt.asIntN(32, address));
  request.hi = Number(BigInt.asIntN(32, address >> 32n));
  const answer = new DmaAnswer();
  unit.translate(request, answer);
  if (answer.status === DmaStatus.fault) {
    assert.doesNotMatch(unit.faultName(answer.reason), /^reserved/);
    return;
  }
  if (answer.source !== DmaSource.walk || answer.status !== DmaStatus.translated) return;
  walked++;
  // Where a walk leads is what some entry in memory says, in the bits above its page.
  const target = (BigInt(answer.hi >>> 0) << 32n) | BigInt(answer.lo >>> 0);
  const mask = ~((1n << BigInt(answer.pageShift)) - 1n);
  const isZeroLength = request.length === 0 && target === address;
  assert.ok(
    isZeroLength || holds(tables, target & mask, mask),
    `${target.toString(16)} from nowhere`,
  );
}

function holds(tables: VtdTables, frame: bigint, mask: bigint): boolean {
  const wanted = mask & 0xf_ffff_ffff_f000n;
  for (const { pfn } of tables.memory.tables()) {
    for (let at = 0; at < 4096; at += 8) {
      if ((tables.read(BigInt(pfn) * 4096n + BigInt(at)) & wanted) === (frame & wanted))
        return true;
    }
  }
  return false;
}
