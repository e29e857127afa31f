/** Writes behave as PCIe 6 § 7 says, register by register, and never touch what is read-only. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import { makeBdf } from "../units/index.js";
import {
  type BarHint,
  buildFabric,
  CapabilityId,
  ConfigRegisters,
  ConfigSpace,
  describeFunction,
  ExtendedCapabilityId,
  type FunctionSpec,
  listCapabilityEntries,
  PortType,
} from "./index.js";

const SEED = 7;
const bdf = makeBdf(0, 1, 0, 0);

function registersOf(spec: Partial<FunctionSpec>, bars?: readonly BarHint[]): ConfigRegisters {
  const description = describeFunction({ bdf, type: PortType.Endpoint, ...spec });
  const vfBars = spec.sriov?.vfBars;
  return new ConfigRegisters(description.config, {
    bars: bars ?? description.bars,
    vfBars,
    virtual: spec.physfn !== undefined,
  });
}

function offsetOf(registers: ConfigRegisters, id: number, extended = true): number {
  const found = listCapabilityEntries(registers.snapshot()).find(
    (e) => e.id === id && e.extended === extended,
  );
  assert.ok(found, `capability ${id}`);
  return found.offset;
}

test("writing ones to a BAR reads back its size", () => {
  const registers = registersOf({
    bars: [
      { index: 0, kind: "memory32", size: 0x4000n, base: 0x8000_0000n },
      { index: 1, kind: "io", size: 0x20n, base: 0xe000n },
      { index: 2, kind: "memory64", prefetchable: true, size: 1n << 33n, base: 1n << 40n },
    ],
  });
  for (const at of [0x10, 0x14, 0x18, 0x1c, 0x20]) registers.write(at, 4, 0xffff_ffff);
  assert.equal(registers.read(0x10, 4), 0xffff_c000);
  assert.equal(registers.read(0x14, 4), 0xffff_ffe1);
  assert.equal(registers.read(0x18, 4), 0x0000_000c);
  assert.equal(registers.read(0x1c, 4), 0xffff_fffe);
  assert.equal(registers.read(0x20, 4), 0);
  registers.write(0x10, 4, 0x9000_1234);
  assert.equal(registers.read(0x10, 4), 0x9000_0000);
});

test("the expansion ROM has an enable bit and 2 KiB granularity", () => {
  const registers = registersOf({}, [{ index: 6, size: 0x1_0000n }]);
  registers.write(0x30, 4, 0xffff_ffff);
  assert.equal(registers.read(0x30, 4), 0xffff_0001);
  registers.write(0x30, 4, 0xffff_fffe);
  assert.equal(registers.read(0x30, 4), 0xffff_0000);
});

test("a BAR of unknown size stays as it is and is listed", () => {
  const registers = registersOf({ bars: [{ index: 0, size: 0x1000n, base: 0x9000_0000n }] }, []);
  assert.deepEqual(registers.unsized, [0]);
  registers.write(0x10, 4, 0xffff_ffff);
  assert.equal(registers.read(0x10, 4), 0x9000_0000);
});

test("a BAR size that is no power of two is refused", () => {
  assert.throws(() => registersOf({}, [{ index: 0, size: 0x3000n }]), RangeError);
});

test("status bits are cleared by writing one, and ids are read-only", () => {
  const bytes = new Uint8Array(256);
  bytes[0x07] = 0xf9;
  const registers = new ConfigRegisters(ConfigSpace.fromDump(bytes));
  registers.write(0x06, 2, 0x8000);
  assert.equal(registers.read(0x06, 2), 0x7900);
  registers.write(0x04, 4, 0xffff_0000);
  assert.equal(registers.read(0x06, 2), 0);
  registers.write(0x00, 4, 0xffff_ffff);
  assert.equal(registers.read(0x00, 4), 0);
});

test("bridge windows keep their hard-wired bits, bus numbers are writable", () => {
  const registers = registersOf({ type: PortType.RootPort, buses: [0, 1, 1] });
  registers.write(0x1c, 2, 0xffff);
  assert.equal(registers.read(0x1c, 2), 0xf1f1);
  registers.write(0x20, 4, 0xffff_ffff);
  assert.equal(registers.read(0x20, 4), 0xfff0_fff0);
  registers.write(0x24, 4, 0xffff_ffff);
  assert.equal(registers.read(0x24, 4), 0xfff1_fff1);
  registers.write(0x28, 4, 0x1234_5678);
  assert.equal(registers.read(0x28, 4), 0x1234_5678);
  registers.write(0x18, 4, 0xff05_0403);
  // The secondary latency timer of a PCI Express port is hard-wired to zero.
  assert.equal(registers.read(0x18, 4), 0x0005_0403);
});

test("a window hard-wired to zero cannot be opened", () => {
  const bytes = new Uint8Array(256);
  bytes[0x0e] = 1;
  const registers = new ConfigRegisters(ConfigSpace.fromDump(bytes));
  registers.write(0x1c, 2, 0xffff);
  registers.write(0x24, 4, 0xffff_ffff);
  registers.write(0x28, 4, 0xffff_ffff);
  assert.equal(registers.read(0x1c, 2), 0);
  assert.equal(registers.read(0x24, 4), 0);
  assert.equal(registers.read(0x28, 4), 0);
});

test("secondary bus reset is reported when the bit rises", () => {
  const registers = registersOf({ type: PortType.RootPort, buses: [0, 1, 1] });
  assert.deepEqual(registers.write(0x3e, 2, 0x40), ["secondary-bus-reset"]);
  assert.deepEqual(registers.write(0x3e, 2, 0x40), []);
});

test("ACS control takes implemented bits only; a vector goes with egress control", () => {
  const acs = { capability: 0x1d, control: 0 };
  const registers = registersOf({ type: PortType.DownstreamPort, acs });
  const at = offsetOf(registers, ExtendedCapabilityId.Acs);
  registers.write(at + 6, 2, 0xffff);
  assert.equal(registers.read(at + 6, 2), 0x1d);
  registers.write(at + 8, 4, 0xffff_ffff);
  assert.equal(registers.read(at + 8, 4), 0);

  const full = { capability: 0x0a00 | 0xff, control: 0, egressVector: [0] };
  const wide = registersOf({ type: PortType.DownstreamPort, acs: full });
  wide.write(at + 6, 2, 0xffff);
  assert.equal(wide.read(at + 6, 2), 0x1fff);
  wide.write(at + 8, 4, 0xffff_ffff);
  assert.equal(wide.read(at + 8, 4), 0x3ff);
});

test("ATS keeps its translation unit while it is on", () => {
  const registers = registersOf({ ats: {} });
  const at = offsetOf(registers, ExtendedCapabilityId.Ats);
  registers.write(at + 6, 2, 0x8003);
  assert.equal(registers.read(at + 6, 2), 0x8003);
  registers.write(at + 6, 2, 0x8004);
  assert.equal(registers.read(at + 6, 2), 0x8003);
  registers.write(at + 6, 2, 0x0003);
  registers.write(at + 6, 2, 0x0004);
  assert.equal(registers.read(at + 6, 2), 0x0004);
});

test("PASID control has the bits of its capability", () => {
  for (const [execute, privileged, mask] of [
    [true, true, 7],
    [true, false, 3],
    [false, true, 5],
    [false, false, 1],
  ] as const) {
    const registers = registersOf({ pasid: { width: 16, execute, privileged } });
    const at = offsetOf(registers, ExtendedCapabilityId.Pasid);
    registers.write(at + 6, 2, 0xffff);
    assert.equal(registers.read(at + 6, 2), mask);
    assert.equal(registers.writableMask(at + 6, 2), mask);
  }
});

test("page requests: reset acts only while off, and stopped follows enable", () => {
  const registers = registersOf({ pri: {} });
  const at = offsetOf(registers, ExtendedCapabilityId.Pri);
  registers.write(at + 4, 2, 1);
  assert.equal(registers.read(at + 6, 2), 0);
  registers.poke(at + 6, 2, 3);
  assert.deepEqual(registers.write(at + 4, 2, 3), []);
  assert.equal(registers.read(at + 6, 2), 3);
  registers.write(at + 4, 2, 0);
  assert.equal(registers.read(at + 6, 2), 0x103);
  assert.deepEqual(registers.write(at + 4, 2, 2), ["page-request-reset"]);
  assert.equal(registers.read(at + 4, 2), 0);
  assert.equal(registers.read(at + 6, 2), 0x100);
  registers.write(at + 0x0c, 4, 64);
  assert.equal(registers.read(at + 0x0c, 4), 64);
});

test("SR-IOV: NumVFs and page size are fixed while VFs are on, VF BARs can be sized", () => {
  const sriov = {
    total: 8,
    enabled: 0,
    offset: 8,
    stride: 1,
    vfBars: [{ index: 0, kind: "memory64", prefetchable: true, size: 0x4000n, base: 0n }] as const,
  };
  const registers = registersOf({ sriov });
  const at = offsetOf(registers, ExtendedCapabilityId.SrIov);
  registers.write(at + 0x10, 2, 9);
  assert.equal(registers.read(at + 0x10, 2), 0, "more than TotalVFs");
  registers.write(at + 0x10, 2, 4);
  registers.write(at + 0x20, 4, 3);
  assert.equal(registers.read(at + 0x20, 4), 1, "two page sizes");
  registers.write(at + 0x20, 4, 2);
  assert.equal(registers.read(at + 0x20, 4), 2);
  assert.deepEqual(registers.write(at + 8, 2, 9), ["vf-enable"]);
  registers.write(at + 0x10, 2, 5);
  registers.write(at + 0x20, 4, 1);
  assert.equal(registers.read(at + 0x10, 2), 4);
  assert.equal(registers.read(at + 0x20, 4), 2);
  registers.write(at + 0x24, 4, 0xffff_ffff);
  registers.write(at + 0x28, 4, 0xffff_ffff);
  assert.equal(registers.read(at + 0x24, 4), 0xffff_c00c);
  assert.equal(registers.read(at + 0x28, 4), 0xffff_ffff);
  assert.deepEqual(registers.write(at + 8, 2, 0), ["vf-disable"]);
});

test("a function-level reset returns enables to zero and keeps the payload size", () => {
  const registers = registersOf({
    flr: true,
    ats: { enabled: true },
    pasid: { width: 20, enabled: true },
    pri: { enabled: true },
    acs: { capability: 0x5f, control: 0x5f },
    msixVectors: 8,
    bars: [{ index: 0, kind: "memory32", size: 0x1000n, base: 0x9000_0000n }],
  });
  const express = offsetOf(registers, CapabilityId.PciExpress, false);
  registers.write(express + 8, 2, 0x0020);
  assert.deepEqual(registers.write(express + 8, 2, 0x8020), ["function-level-reset"]);
  assert.equal(registers.read(express + 8, 2), 0x2830, "reset value with the payload size kept");
  assert.equal(registers.read(0x04, 2), 0);
  assert.equal(registers.read(0x10, 4), 0);
  for (const [id, word] of [
    [ExtendedCapabilityId.Ats, 6],
    [ExtendedCapabilityId.Pasid, 6],
    [ExtendedCapabilityId.Pri, 4],
    [ExtendedCapabilityId.Acs, 6],
  ] as const) {
    assert.equal(registers.read(offsetOf(registers, id) + word, 2), 0);
  }
  const pri = offsetOf(registers, ExtendedCapabilityId.Pri);
  assert.equal(registers.read(pri + 6, 2) & 0x100, 0x100, "stopped");
});

test("a function without FLR ignores the bit", () => {
  const registers = registersOf({ ats: { enabled: true } });
  const express = offsetOf(registers, CapabilityId.PciExpress, false);
  assert.deepEqual(registers.write(express + 8, 2, 0x8000), []);
  assert.equal(registers.read(offsetOf(registers, ExtendedCapabilityId.Ats) + 6, 2), 0x8000);
});

/** A function with the given standard capability at 0x40, by bytes. */
function withStandard(bytes: readonly number[], extent = 256): ConfigRegisters {
  const all = new Uint8Array(extent);
  all[0x06] = 0x10;
  all[0x34] = 0x40;
  all.set(bytes, 0x40);
  return new ConfigRegisters(ConfigSpace.fromDump(all));
}

test("power states that are not implemented are not entered; leaving D3hot may reset", () => {
  const soft = withStandard([1, 0, 0x03, 0x00, 0, 0, 0, 0]);
  soft.write(0x44, 2, 1);
  assert.equal(soft.read(0x44, 2), 0, "no D1");
  soft.write(0x04, 2, 0x0004);
  assert.deepEqual(soft.write(0x44, 2, 3), ["power-state"]);
  assert.deepEqual(soft.write(0x44, 2, 0), ["power-reset"]);
  assert.equal(soft.read(0x04, 2), 0);

  const kept = withStandard([1, 0, 0x03, 0x06, 8, 0, 0, 0]);
  kept.write(0x44, 2, 1);
  assert.equal(kept.read(0x44, 2), 9);
  kept.write(0x04, 2, 0x0004);
  kept.write(0x44, 2, 3);
  assert.deepEqual(kept.write(0x44, 2, 0), ["power-state"]);
  assert.equal(kept.read(0x04, 2), 4);
});

test("a conventional function is reset through its Advanced Features", () => {
  const registers = withStandard([0x13, 0, 6, 3, 0, 0]);
  registers.write(0x04, 2, 4);
  assert.deepEqual(registers.write(0x44, 1, 1), ["function-level-reset"]);
  assert.equal(registers.read(0x44, 1), 0);
  assert.equal(registers.read(0x04, 2), 0);
  const without = withStandard([0x13, 0, 6, 1, 0, 0]);
  assert.deepEqual(without.write(0x44, 1, 1), []);
});

test("MSI: no more vectors than it can send, masks for those it has", () => {
  // 64-bit, maskable, 4 vectors.
  const registers = withStandard([5, 0, 0x84, 0x01]);
  registers.write(0x42, 2, 0x0051);
  assert.equal(registers.read(0x42, 2), 0x01a5, "5 asked, 2 (four vectors) given");
  registers.write(0x44, 4, 0xffff_ffff);
  assert.equal(registers.read(0x44, 4), 0xffff_fffc);
  registers.write(0x50, 4, 0xffff_ffff);
  assert.equal(registers.read(0x50, 4), 0xf);
  registers.write(0x54, 4, 0xffff_ffff);
  assert.equal(registers.read(0x54, 4), 0, "pending bits are read-only");
});

test("slot control: a command completes, indicators exist as announced", () => {
  const registers = registersOf({ type: PortType.RootPort, hotPlug: true, buses: [0, 1, 1] });
  const at = offsetOf(registers, CapabilityId.PciExpress, false);
  registers.write(at + 0x18, 2, 0xffff);
  assert.equal(registers.read(at + 0x18, 2), 0x1038);
  assert.equal(registers.read(at + 0x1a, 2), 0x10);
  registers.write(at + 0x1a, 2, 0x10);
  assert.equal(registers.read(at + 0x1a, 2), 0);
});

test("a virtual function has bus master enable and hardly more", () => {
  const registers = registersOf({
    physfn: makeBdf(0, 1, 0, 1),
    ats: {},
    flr: true,
    pasid: { width: 20 },
  });
  registers.write(0x04, 2, 0xffff);
  assert.equal(registers.read(0x04, 2), 0x0004);
  const ats = offsetOf(registers, ExtendedCapabilityId.Ats);
  registers.write(ats + 6, 2, 0xffff);
  assert.equal(registers.read(ats + 6, 2), 0x8000);
  const pasid = offsetOf(registers, ExtendedCapabilityId.Pasid);
  registers.write(pasid + 6, 2, 7);
  assert.equal(registers.read(pasid + 6, 2), 0);
});

test("a resizable BAR takes the sizes it announces and sizes accordingly", () => {
  const bytes = new Uint8Array(4096);
  bytes.set([0x10], 0x06);
  bytes.set([0x0c], 0x10);
  bytes.set([0x40], 0x34);
  bytes.set([CapabilityId.PciExpress, 0, 2, 0], 0x40);
  bytes.set([0x15, 0, 1, 0], 0x100);
  // 1 MiB and 256 MiB; one BAR, index 0, now 1 MiB.
  bytes.set([0x10, 0x10, 0, 0], 0x104);
  bytes.set([0x20, 0, 0, 0], 0x108);
  const size = 1n << 20n;
  const registers = new ConfigRegisters(ConfigSpace.fromDump(bytes), {
    bars: [{ index: 0, size }],
  });
  registers.write(0x108, 4, 0x0400);
  assert.equal(registers.read(0x108, 4), 0x20, "16 MiB is not offered");
  registers.write(0x108, 4, 0x0800);
  assert.equal(registers.read(0x108, 4), 0x820);
  registers.write(0x10, 4, 0xffff_ffff);
  assert.equal(registers.read(0x10, 4), 0xf000_000c);
});

test("accesses outside 4 KiB are refused, those beyond the extent are dropped", () => {
  const registers = new ConfigRegisters(ConfigSpace.fromDump(new Uint8Array(256)));
  assert.throws(() => registers.read(4095, 2), RangeError);
  assert.throws(() => registers.write(-1, 1, 0), RangeError);
  registers.write(0x200, 4, 0xffff_ffff);
  assert.equal(registers.read(0x200, 4), 0);
});

test("random writes never change a bit that no mask names", () => {
  console.log("seed", SEED);
  const specs = sampleFabrics(SEED, 40).flat();
  const access = fc.record({
    offset: fc.oneof(fc.integer({ min: 0, max: 0x17f }), fc.integer({ min: 0, max: 4092 })),
    length: fc.constantFrom(1, 2, 4),
    value: fc.integer({ min: 0, max: 0xffff_ffff }),
  });
  fc.assert(
    fc.property(fc.constantFrom(...specs), fc.array(access, { maxLength: 40 }), (spec, writes) => {
      const { config, bars } = describeFunction(spec);
      const registers = new ConfigRegisters(config, { bars, virtual: spec.physfn !== undefined });
      const w1cOrHardware = new Set(hardwareBytes(registers));
      for (const { offset, length, value } of writes) {
        registers.write(offset, length as 1 | 2 | 4, value);
      }
      for (let at = 0; at < 4096; at++) {
        if (w1cOrHardware.has(at)) continue;
        const changed = registers.read(at, 1) ^ config.u8(at);
        assert.equal(changed & ~registers.writableMask(at, 1), 0, `byte 0x${at.toString(16)}`);
      }
    }),
    { seed: SEED, numRuns: 200 },
  );
});

/** Bytes that hardware itself changes: slot status, page request status. */
function hardwareBytes(registers: ConfigRegisters): number[] {
  return listCapabilityEntries(registers.snapshot()).flatMap((e) => {
    if (e.extended && e.id === ExtendedCapabilityId.Pri) return [e.offset + 6, e.offset + 7];
    if (!e.extended && e.id === CapabilityId.PciExpress) return [e.offset + 0x1a, e.offset + 0x1b];
    return [];
  });
}

test("a dword write without side effects equals its four byte writes", () => {
  const specs = sampleFabrics(SEED, 20).flat();
  fc.assert(
    fc.property(
      fc.constantFrom(...specs),
      fc.integer({ min: 0x00, max: 0x3c }),
      fc.integer({ min: 0, max: 0xffff_ffff }),
      (spec, offset, value) => {
        const { config, bars } = describeFunction(spec);
        const virtual = spec.physfn !== undefined;
        const one = new ConfigRegisters(config, { bars, virtual });
        const four = new ConfigRegisters(config, { bars, virtual });
        one.write(offset, 4, value);
        for (let i = 0; i < 4; i++) four.write(offset + i, 1, (value >>> (8 * i)) & 0xff);
        assert.deepEqual(one.snapshot().bytes, four.snapshot().bytes);
      },
    ),
    { seed: SEED, numRuns: 300 },
  );
});

test("registers of a function know its sizes and whether it is virtual", () => {
  const specs = sampleFabrics(SEED, 30).flat();
  const { functions } = buildFabric({ functions: specs.map(describeFunction) });
  for (const fn of functions) {
    const registers = ConfigRegisters.of(fn);
    assert.deepEqual(registers.unsized, []);
    assert.equal(registers.writableMask(0x04, 2) === 0x0004, fn.isVirtual);
    const kept = registers.snapshot().bytes;
    assert.deepEqual(kept, fn.config.bytes.subarray(0, kept.length));
  }
});

test("garbage bytes make registers that answer", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4096, maxLength: 4096 }), (bytes) => {
      const registers = new ConfigRegisters(ConfigSpace.fromDump(bytes));
      for (let at = 0; at < 4096; at += 4) registers.write(at, 4, 0xffff_ffff);
      registers.reset("power");
      registers.snapshot();
    }),
    { seed: SEED, numRuns: 30 },
  );
});
