/**
 * Codecs against vectors that were made by reading layouts byte by byte, and round trips of random
 * values. Every struct and union member of the schema has its codec.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { CHAPTERS } from "../schema/index.js";
import * as abi from "../src/abi/index.js";
import { FileKind } from "../src/files/index.js";
import { layoutsOf, parseField, typeName } from "../tools/abi/layout.js";
import { ROOT } from "../tools/root.js";

type Decode = (view: DataView, at?: number) => object;
type Encode = (value: object, view: DataView, at?: number) => void;

const functions = abi as unknown as Readonly<Record<string, Decode | Encode | undefined>>;

function codec(type: string): { decode: Decode; encode: Encode } {
  const decode = functions[`decode${type}`] as Decode | undefined;
  const encode = functions[`encode${type}`] as Encode | undefined;
  assert.ok(decode !== undefined && encode !== undefined, `no codec for ${type}`);
  return { decode, encode };
}

interface Vector {
  readonly struct: string;
  readonly member?: string;
  readonly bytes: string;
  readonly fields: object;
}

const vectors = readFileSync(join(ROOT, "test/vectors/abi.jsonl"), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as Vector);

/** Numbers as decimal text, as the vectors have them. */
const asText = (value: object): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, v) => (typeof v === "bigint" || typeof v === "number" ? `${v}` : v)),
  );

test("codecs read what the vectors say, at any offset, and write the same bytes", () => {
  for (const { struct, member, bytes, fields } of vectors) {
    const { decode, encode } = codec(typeName(struct) + (member ? typeName(member) : ""));
    const given = Buffer.from(bytes, "hex");
    const shifted = new Uint8Array(given.length + 24);
    shifted.set(given, 8);
    const found = decode(new DataView(shifted.buffer), 8);
    assert.deepEqual(asText(found), fields, `${struct} ${member ?? ""}`);
    const written = new Uint8Array(given.length + 24);
    encode(found, new DataView(written.buffer), 8);
    assert.deepEqual(asText(decode(new DataView(written.buffer), 8)), fields);
    assert.ok(written.subarray(0, 8).every((byte) => byte === 0));
    assert.ok(written.subarray(8 + given.length).every((byte) => byte === 0));
  }
});

test("every struct and union member of the schema has a vector", () => {
  const have = new Set(vectors.map((v) => `${v.struct} ${v.member ?? ""}`));
  for (const { structs } of CHAPTERS) {
    for (const { name, union = [] } of structs) {
      for (const member of ["", ...union.map((u) => u.name)]) {
        assert.ok(have.has(`${name} ${member}`), `${name} ${member}`);
      }
    }
  }
});

test("what is decoded encodes to the same fields, for random bytes", () => {
  const seed = 20_260_709;
  for (const { structs } of CHAPTERS) {
    for (const { name, size } of structs) {
      const { decode, encode } = codec(typeName(name));
      fc.assert(
        fc.property(fc.uint8Array({ minLength: size, maxLength: size }), (bytes) => {
          const value = decode(new DataView(bytes.buffer, bytes.byteOffset));
          const written = new DataView(new ArrayBuffer(size));
          encode(value, written);
          assert.deepEqual(decode(written), value);
        }),
        { numRuns: 20, seed },
      );
    }
  }
});

test("a struct that does not fit in the view is a RangeError, and nothing is read beyond", () => {
  const view = new DataView(new ArrayBuffer(39));
  assert.throws(() => abi.decodeIommuIoasMap(view), RangeError);
});

test("the tables of calls have the numbers of iommufd and the sizes of the kernel's own", () => {
  const all = { ...abi.IOMMUFD_IOCTLS, ...abi.SELFTEST_IOCTLS };
  const rows = Object.values(all).map((row) => [row.command & 0xff, row.size, row.minSize]);
  rows.sort(([a = 0], [b = 0]) => a - b);
  assert.deepEqual(rows, [
    [0x80, 8, 8],
    [0x81, 12, 12],
    [0x82, 24, 24],
    [0x83, 40, 40],
    [0x84, 32, 32],
    [0x85, 40, 40],
    [0x86, 24, 24],
    [0x87, 24, 24],
    [0x88, 12, 12],
    [0x89, 48, 24],
    [0x8a, 40, 32],
    [0x8b, 16, 16],
    [0x8c, 48, 48],
    [0x8d, 32, 32],
    [0x8e, 16, 16],
    [0x8f, 40, 40],
    [0x90, 40, 24],
    [0x91, 24, 24],
    [0x92, 8, 8],
    [0x93, 32, 28],
    [0x94, 40, 40],
    [0xa0, 72, 68],
  ]);
});

test("the schema refuses lines that do not parse and layouts that do not hold", () => {
  const make = (fields: readonly string[], size: number) => () =>
    layoutsOf([
      {
        title: "t",
        header: "ioasis.h",
        intro: "",
        constants: [],
        ioctls: [],
        structs: [{ name: "s", size, since: "1", meaning: "m", fields }],
      },
    ]);
  assert.throws(make(["u32 a"], 4), /s: cannot read "u32 a"/);
  assert.throws(make(["u31 a @0"], 4), /s\.a: no type u31/);
  assert.throws(make(["u64 a @4"], 16), /s\.a: not aligned to 8/);
  assert.throws(make(["u32 a @0", "u32 b @0"], 8), /s\.b: overlaps the field before/);
  assert.throws(make(["u64 a @0", "u32 b @8"], 12), /s: 16 bytes by its fields, not 12/);
  assert.deepEqual(make(["u64 a @0", "u8[] b @8"], 8)().size, 1);
  assert.equal(parseField("u32 a=b @8 | words", "s", new Map()).alias, "b");
});

test("parts of the support table are names of the interface", () => {
  for (const { constants, parts = [] } of CHAPTERS) {
    const names = new Set(constants.flatMap(({ values }) => Object.keys(values)));
    for (const { name } of parts) assert.ok(names.has(name), name);
  }
});

test("the client's table has a place for each file that answers calls", () => {
  const header = readFileSync(join(ROOT, "client/abi.gen.h"), "utf8");
  const row = (command: number, files: number): RegExp =>
    new RegExp(`\\{ 0x${command.toString(16)}u, 0x${files.toString(16)}u, IOASIS_ARGUMENT_`);
  const { iommufd, vfioContainer, vfioGroup, vfioDevice, migration } = FileKind;
  assert.match(header, row(abi.IOMMU_IOAS_MAP, 1 << iommufd));
  assert.match(header, row(abi.VFIO_IOMMU_MAP_DMA, (1 << iommufd) | (1 << vfioContainer)));
  assert.match(header, row(abi.VFIO_GROUP_SET_CONTAINER, 1 << vfioGroup));
  assert.match(header, row(abi.VFIO_DEVICE_PCI_HOT_RESET, 1 << vfioDevice));
  assert.match(header, row(abi.VFIO_MIG_GET_PRECOPY_INFO, 1 << migration));
});
