import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CONFIG_SIZE, ConfigSpace, ConfigSpaceBuilder } from "./config-space.js";
import { listCapabilityEntries, readCapabilities } from "./index.js";

const SEED = 4;

test("a dump fills the extent that its length reaches", () => {
  for (const [length, extent] of [
    [0, 0],
    [63, 0],
    [64, 64],
    [255, 64],
    [256, 256],
    [4095, 256],
    [4096, 4096],
    [5000, 4096],
  ] as const) {
    const config = ConfigSpace.fromDump(new Uint8Array(length).fill(1));
    assert.equal(config.extent, extent);
    assert.equal(config.isKnown(0, Math.max(extent, 1)), extent > 0);
    assert.equal(config.knownU8(extent), undefined);
  }
});

test("zeros at the end of a dump are known although they are not kept", () => {
  const bytes = new Uint8Array(4096);
  bytes[5] = 7;
  const config = ConfigSpace.fromDump(bytes);
  assert.equal(config.bytes.length, 6);
  assert.equal(config.knownU32(4092), 0);
  bytes[5] = 9;
  assert.equal(config.u8(5), 7, "the dump was copied");
});

test("words are little-endian", () => {
  const config = ConfigSpace.fromDump(Uint8Array.from({ length: 64 }, (_, i) => 0xf0 + i));
  assert.equal(config.u16(0), 0xf1f0);
  assert.equal(config.u32(0), 0xf3f2f1f0);
});

test("only what was set is known, and it reads back", () => {
  const write = fc.record({
    offset: fc.integer({ min: 0, max: CONFIG_SIZE - 4 }),
    value: fc.integer({ min: 0, max: 0xffff_ffff }),
  });
  fc.assert(
    fc.property(
      fc.array(write, { maxLength: 10 }),
      fc.integer({ min: 0, max: 4095 }),
      (list, at) => {
        const builder = new ConfigSpaceBuilder();
        const model = new Map<number, number>();
        for (const { offset, value } of list) {
          builder.set32(offset, value);
          for (let i = 0; i < 4; i++) model.set(offset + i, (value >>> (8 * i)) & 0xff);
        }
        const config = builder.build(4096);
        assert.equal(config.knownU8(at), model.get(at));
        assert.equal(builder.buildComplete(4096).knownU8(at), model.get(at) ?? 0);
        for (const [offset, byte] of model) assert.equal(config.knownU8(offset), byte);
      },
    ),
    { seed: SEED },
  );
});

test("setting beyond 4 KiB is refused", () => {
  assert.throws(() => new ConfigSpaceBuilder().set32(4094, 0), RangeError);
});

test("bits may be set without claiming the field", () => {
  const config = new ConfigSpaceBuilder().orBits8(6, 0x10).build(256);
  assert.equal(config.u8(6), 0x10);
  assert.equal(config.knownU8(6), undefined);
});

test("a chain is unknown when the capture does not reach it, and empty when there is none", () => {
  const header = new Uint8Array(64);
  assert.equal(readCapabilities(ConfigSpace.fromDump(header)).standard?.size, 0);
  header[6] = 0x10;
  header[0x34] = 0x40;
  assert.equal(readCapabilities(ConfigSpace.fromDump(header)).standard, undefined);
  assert.equal(readCapabilities(ConfigSpace.fromDump(header.slice(0, 63))).standard, undefined);
});

test("without PCI Express there are no extended capabilities, whatever the bytes say", () => {
  const bytes = new Uint8Array(4096);
  bytes[0x100] = 0x0d;
  assert.equal(readCapabilities(ConfigSpace.fromDump(bytes)).extended?.size, 0);
});

test("chains that loop or leave their space are cut and said to be broken", () => {
  const bytes = new Uint8Array(4096);
  bytes.set([0x10], 6);
  bytes[0x34] = 0x40;
  bytes.set([0x10, 0x50], 0x40);
  bytes.set([0x05, 0x40], 0x50);
  // Extended: 100h → 200h → 100h.
  bytes.set([0x0d, 0, 1, 0x20], 0x100);
  bytes.set([0x0f, 0, 1, 0x10], 0x200);
  const list = readCapabilities(ConfigSpace.fromDump(bytes));
  assert.equal(list.broken, true);
  assert.equal(list.standard?.get(0x10), 0x40);
  assert.equal(list.extended?.get(0x0f), 0x200);
  bytes.set([0x05, 0x20], 0x50);
  assert.equal(readCapabilities(ConfigSpace.fromDump(bytes)).broken, true);
});

test("arbitrary bytes end in an answer, and both walks agree", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4096, maxLength: 4096 }), (bytes) => {
      bytes[6] = 0x10;
      const config = ConfigSpace.fromDump(bytes);
      const list = readCapabilities(config);
      for (const entry of listCapabilityEntries(config)) {
        const chain = entry.extended ? list.extended : list.standard;
        assert.ok(chain?.has(entry.id), entry.name);
      }
    }),
    { seed: SEED, numRuns: 100 },
  );
});

test("a capability without a reader has a name", () => {
  const bytes = new Uint8Array(256);
  bytes.set([0x10], 6);
  bytes[0x34] = 0x40;
  bytes.set([0x42, 0x50], 0x40);
  bytes.set([0x03, 0], 0x50);
  const [entry, vpd] = listCapabilityEntries(ConfigSpace.fromDump(bytes));
  assert.equal(entry?.implemented, false);
  assert.equal(vpd?.name, "Vital Product Data");
  assert.equal(entry?.name, "capability 0x42");
});
