import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { sharedFiles, sharedFolder, skipWithoutShared } from "../../../test/support/shared.js";
import { formatBdf, InputError } from "../../units/index.js";
import { parseAcpiTable } from "./acpi.js";
import { decodeBase64, encodeBase64, parseAcpiText, parseBase64Table } from "./acpi-text.js";
import { linesOf } from "./text.js";

const skip = skipWithoutShared();
const place = { file: "table" };

/** A table around `body` with right length and checksum. */
function table(signature: string, body: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(36 + body.length);
  bytes.set([...signature].map((c) => c.charCodeAt(0)));
  bytes.set(le(bytes.length, 4), 4);
  bytes.set(body, 36);
  return summed(bytes);
}

function summed(bytes: Uint8Array): Uint8Array {
  bytes[9] = 0;
  bytes[9] = -bytes.reduce((sum, b) => sum + b, 0) & 0xff;
  return bytes;
}

function le(value: number | bigint, width: number): number[] {
  return Array.from({ length: width }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
}

const DMAR_HEAD = [38, 5, ...new Array<number>(10).fill(0)];
const scope = (type: number, bus: number, ...path: number[]): number[] => [
  type,
  6 + path.length,
  0,
  0,
  0,
  bus,
  ...path,
];

test("DMAR: units, reserved memory, ATS ports, and what is skipped", () => {
  const unit = [0, 0, 24, 0, 0, 0, ...le(2, 2), ...le(0xfed90000n, 8), ...scope(1, 0, 2, 0)];
  const all = [0, 0, 16, 0, 1, 0, ...le(0, 2), ...le(0xfed91000n, 8)];
  const rmrrHead = [1, 0, 34, 0, 0, 0, ...le(0, 2), ...le(0x7b000000n, 8), ...le(0x7f7fffffn, 8)];
  const rmrr = [...rmrrHead, ...scope(2, 0, 1, 0, 3, 1)];
  const atsr = [2, 0, 16, 0, 0, 0, ...le(0, 2), ...scope(2, 0, 28, 4)];
  const satc = [5, 0, 16, 0, 0, 0, ...le(0, 2), ...scope(1, 0, 30, 0)];
  const andd = [4, 0, 12, 0, 0, 0, 0, 1, 0x49, 0x32, 0x43, 0];
  const sidp = [6, 0, 8, 0, 0, 0, 0, 0];
  const later = [9, 0, 6, 0, 0xaa, 0xbb];
  const bytes = table("DMAR", [DMAR_HEAD, unit, all, rmrr, atsr, satc, andd, sidp, later].flat());
  const part = parseAcpiTable(bytes, place);
  assert.deepEqual(part.facts?.dmar, {
    addressWidth: 39,
    interruptRemapping: true,
    platformOptIn: true,
    units: [
      {
        segment: 2,
        includeAll: false,
        registerBase: 0xfed90000n,
        scopes: [{ kind: "endpoint", bus: 0, path: [{ device: 2, fn: 0 }] }],
      },
      { segment: 0, includeAll: true, registerBase: 0xfed91000n, scopes: [] },
    ],
    reserved: [
      {
        segment: 0,
        span: { first: 0x7b000000n, last: 0x7f7fffffn },
        scopes: [
          {
            kind: "sub-hierarchy",
            bus: 0,
            path: [
              { device: 1, fn: 0 },
              { device: 3, fn: 1 },
            ],
          },
        ],
      },
    ],
    ats: [
      {
        segment: 0,
        allPorts: false,
        scopes: [{ kind: "sub-hierarchy", bus: 0, path: [{ device: 28, fn: 4 }] }],
      },
    ],
    integratedAts: [
      {
        segment: 0,
        allPorts: false,
        scopes: [{ kind: "endpoint", bus: 0, path: [{ device: 30, fn: 0 }] }],
      },
    ],
    namespaceDevices: [{ id: 1, name: "I2C" }],
  });
  assert.match(part.notes?.[0]?.text ?? "", /unknown type 9/);
  assert.match(part.notes?.[0]?.place?.field ?? "", /offset 0x0/);
});

test("IVRS: ranges, aliases, highest block type, memory", () => {
  const entries = [
    [0x02, ...le(0x0008, 2), 0],
    [0x42, ...le(0x0100, 2), 0, 0, ...le(0x00a4, 2), 0],
    [0x43, ...le(0x0200, 2), 0, 0, ...le(0x0200, 2), 0],
    [0x04, ...le(0x02ff, 2), 0],
    [0x48, 0, 0, 0, 1, ...le(0x00a0, 2), 1],
    [0xf0, ...le(0x0098, 2), 0, ...new Array<number>(16).fill(0x41), 0, 0],
  ].flat();
  const block = (type: number, devices: readonly number[]): number[] => {
    const extended = type === 0x10 ? [] : [...le(0x4f77ef22294adan, 8), ...le(1, 8)];
    const body = [
      ...le(0x0002, 2),
      ...le(0x40, 2),
      ...le(0xfeb80000n, 8),
      ...le(0, 2),
      0,
      0,
      ...le(type === 0x10 ? 0 : 1, 4),
      ...extended,
      ...devices,
    ];
    return [type, 0, ...le(4 + body.length, 2), ...body];
  };
  const memory = [
    0x22,
    9,
    ...le(32, 2),
    ...le(0x10, 2),
    ...le(0x17, 2),
    ...new Array<number>(8).fill(0),
  ];
  const bytes = table("IVRS", [
    ...new Array<number>(12).fill(0),
    ...block(0x10, [0x01, 0, 0, 0]),
    ...block(0x11, entries),
    ...memory,
    ...le(0x1000n, 8),
    ...le(0x2000n, 8),
  ]);
  const { ivrs } = parseAcpiTable(bytes, place).facts ?? {};
  assert.equal(ivrs?.units.length, 1);
  const unit = ivrs?.units[0];
  assert.equal(formatBdf(unit?.iommu ?? (0 as never)), "0000:00:00.2");
  assert.deepEqual(unit?.aliases, [
    { first: 0x100, last: 0x100, alias: 0xa4 },
    { first: 0x200, last: 0x2ff, alias: 0x200 },
  ]);
  assert.deepEqual(unit?.covered, [
    { first: 8, last: 8 },
    { first: 0x100, last: 0x100 },
    { first: 0xa4, last: 0xa4 },
    { first: 0x200, last: 0x2ff },
    { first: 0xa0, last: 0xa0 },
    { first: 0x98, last: 0x98 },
  ]);
  assert.equal(unit?.efr, 0x4f77ef22294adan);
  assert.equal(unit?.hostTablesDisabled, true);
  assert.deepEqual(ivrs?.memory, [
    {
      segment: 0,
      kind: "range",
      first: 0x10,
      last: 0x17,
      span: { first: 0x1000n, last: 0x2fffn },
      unity: true,
      exclusion: true,
    },
  ]);
});

test("IORT: a root complex mapped to an SMMUv3, and a reserved range", () => {
  const node = (
    type: number,
    revision: number,
    data: readonly number[],
    maps: number[][],
  ): number[] => {
    const length = 16 + data.length + 20 * maps.length;
    const head = [type, ...le(length, 2), revision, ...le(0, 4), ...le(maps.length, 4)];
    return [...head, ...le(16 + data.length, 4), ...data, ...maps.flat()];
  };
  const map = (input: number, last: number, output: number, to: number, flags: number): number[] =>
    [input, last, output, to, flags].flatMap((v) => le(v, 4));
  const smmu = node(4, 4, new Array<number>(44).fill(0), []);
  const smmuAt = 48;
  const rc = node(
    2,
    4,
    [...le(1, 8), ...le(3, 4), ...le(1, 4), 48, ...le(16, 2), 0, ...le(0, 4)],
    [map(0, 0xfeff, 0x10000, smmuAt, 0), map(7, 0, 0x20000, smmuAt, 1)],
  );
  const ranges = [...le(0x8000n, 8), ...le(0x1000n, 8), ...le(0, 4)];
  const rmrData = [...le(0, 4), ...le(1, 4), ...le(28, 4), ...ranges];
  const rmr = node(6, 1, rmrData, [map(0, 0, 0x10100, smmuAt, 1)]);
  // Mappings of the reserved node stand behind its ranges.
  const bytes = table("IORT", [...le(3, 4), ...le(48, 4), ...le(0, 4), ...smmu, ...rc, ...rmr]);
  const { iort } = parseAcpiTable(bytes, place).facts ?? {};
  assert.deepEqual(iort?.rootComplexes, [
    {
      segment: 1,
      ats: true,
      pri: true,
      pasidBits: 16,
      mappings: [
        {
          firstRid: 0,
          lastRid: 0xfeff,
          to: "smmuv3",
          single: false,
          outputBase: 0x10000,
          target: smmuAt,
        },
        {
          firstRid: 0,
          lastRid: 0xffff,
          to: "smmuv3",
          single: true,
          outputBase: 0x20000,
          target: smmuAt,
        },
      ],
    },
  ]);
  assert.deepEqual(iort?.reserved, [
    {
      spans: [{ first: 0x8000n, last: 0x8fffn }],
      streams: [{ first: 0x10100, last: 0x10100, smmu: smmuAt }],
    },
  ]);
});

test("VIOT: ranges and units", () => {
  const range = [
    1,
    0,
    ...le(24, 2),
    ...le(0, 4),
    ...le(0, 2),
    ...le(0, 2),
    ...le(0, 2),
    ...le(0x3ff, 2),
  ];
  const unit = [3, 0, ...le(16, 2), ...le(0, 2), ...le(0xf0, 2), ...new Array<number>(8).fill(0)];
  const body = [...le(2, 2), ...le(48, 2), ...new Array<number>(8).fill(0), ...range];
  const bytes = table("VIOT", [...body, ...le(48, 2), ...new Array<number>(6).fill(0), ...unit]);
  assert.deepEqual(parseAcpiTable(bytes, place).facts?.viot, {
    ranges: [{ firstSegment: 0, lastSegment: 0, firstBdf: 0, lastBdf: 0x3ff }],
    iommus: [0xf0],
    hasMmioUnit: false,
  });
});

test("a damaged table is refused with its offset", () => {
  const good = table("DMAR", [...DMAR_HEAD, 0, 0, 16, 0, 1, 0, 0, 0, ...le(1n, 8)]);
  const flipped = good.slice();
  flipped[60] = 1;
  assert.throws(
    () => parseAcpiTable(flipped, place),
    /table: DMAR offset 0x009: the checksum is off/,
  );
  assert.throws(
    () => parseAcpiTable(good.slice(0, 50), place),
    /offset 0x004: the length field says 64/,
  );
  const long = summed(Uint8Array.from([...good.slice(0, 50), 200, ...good.slice(51)]));
  assert.throws(
    () => parseAcpiTable(long, place),
    /offset 0x030: a structure of 200 bytes runs past/,
  );
  const short = summed(Uint8Array.from([...good.slice(0, 50), 1, ...good.slice(51)]));
  assert.throws(
    () => parseAcpiTable(short, place),
    /offset 0x030: a structure of 1 bytes cannot be/,
  );
});

test("base64 of every length comes back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = encodeBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString("base64"));
      assert.deepEqual(decodeBase64(text), bytes);
    }),
    { seed: 7, numRuns: 200 },
  );
});

test("mutated tables give an answer or an InputError with file and offset", () => {
  const good = table("IVRS", [
    ...new Array<number>(12).fill(0),
    ...[0x11, 0, ...le(48, 2), ...new Array<number>(36).fill(2), 0x02, 8, 0, 0, 0x04, 9, 0, 0],
  ]);
  const signatures = ["DMAR", "IVRS", "IORT", "VIOT"];
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(95), fc.nat(255)), { maxLength: 8 }),
      fc.constantFrom(...signatures),
      (changes, signature) => {
        const bytes = good.slice();
        for (const [at, value] of changes) if (at >= 36) bytes[at] = value;
        bytes.set([...signature].map((c) => c.charCodeAt(0)));
        try {
          parseAcpiTable(summed(bytes), place);
        } catch (error) {
          assert.ok(InputError.is(error), String(error));
          assert.equal(error.place.file, "table");
          assert.match(error.place.field ?? "", /offset 0x/);
        }
      },
    ),
    { seed: 11, numRuns: 2000 },
  );
});

test("iasl listings give the bytes of the binary, from the dump and from the fields", {
  skip,
}, () => {
  const hosts = join(sharedFolder() ?? "", "hosts");
  const found = readdirSync(hosts).filter((d) => d.startsWith("acpi-"));
  assert.ok(found.length > 0);
  for (const directory of found) {
    const name = directory.startsWith("acpi-dmar") ? "DMAR" : "IVRS";
    const binary = readFileSync(join(hosts, directory, `${name}.bin`));
    const listing = readFileSync(join(hosts, directory, `${name}.dsl.txt`), "latin1");
    const fieldsOnly = listing.replace(/Raw Table Data[\s\S]*/, "");
    for (const text of [listing, fieldsOnly]) {
      const [first] = parseAcpiText(linesOf(text, "x"));
      assert.deepEqual(Buffer.from(first?.bytes ?? []), binary, directory);
    }
    const [parsed] = [parseAcpiTable(binary, place)];
    assert.deepEqual(parsed.notes, []);
  }
});

test("numbers of structures that the firmware captures are known to hold", { skip }, () => {
  const hosts = join(sharedFolder() ?? "", "hosts");
  const read = (d: string, n: string) =>
    parseAcpiTable(readFileSync(join(hosts, d, n)), place).facts;
  const dell = read("acpi-dmar-poweredge-r820-e5985ccba349", "DMAR.bin")?.dmar;
  assert.deepEqual([dell?.units.length, dell?.reserved.length, dell?.ats.length], [4, 3, 1]);
  const yoga = read("acpi-dmar-thinkpad-x1-yoga-gen-8-21hrs2kf00-b184fd76aceb", "DMAR.bin")?.dmar;
  assert.deepEqual([yoga?.units.length, yoga?.reserved.length, yoga?.ats.length], [3, 1, 0]);
  // Eight blocks: four units, each as type 10h and 11h.
  const rog = read("acpi-ivrs-rog-zenith-ii-extreme-alpha-bf6a37f4a7d0", "IVRS.bin")?.ivrs;
  assert.deepEqual(
    rog?.units.map((u) => u.efr),
    new Array(4).fill(0x58f77ef22294aden),
  );
});

test("every base64 table of the booted samples reads without a note", { skip }, () => {
  let count = 0;
  for (const name of ["dmar.b64", "ivrs.b64", "viot.b64", "mcfg.b64"]) {
    for (const { sample, text } of sharedFiles("groundtruth", name)) {
      const { bytes } = parseBase64Table(text, { file: sample });
      assert.deepEqual(parseAcpiTable(bytes, { file: sample }).notes, []);
      count++;
    }
  }
  assert.ok(count > 100);
});

test("IORT and VIOT: what cannot be is refused with its offset", () => {
  const iort = (body: readonly number[]) => (): unknown =>
    parseAcpiTable(table("IORT", body), place);
  const head = (count: number, at = 48): number[] => [...le(count, 4), ...le(at, 4), ...le(0, 4)];
  assert.throws(iort(head(1_000_000)), /IORT offset 0x024: 1000000 nodes/);
  assert.throws(iort(head(1, 8)), /offset 0x028: the nodes start inside the header/);
  assert.throws(iort(head(1)), /offset 0x031: the table ends here/);
  assert.throws(iort([...head(1), 2, 4, 0, 0]), /offset 0x030: a node of 4 bytes/);
  assert.throws(iort([...head(1), 2, 200, 0, 0]), /a node of 200 bytes runs past the end/);
  const rc = (maps: number): number[] => {
    const node = [2, ...le(56, 2), 1, ...le(0, 4), ...le(maps, 4), ...le(36, 4)];
    return [
      ...head(1),
      ...node,
      ...new Array<number>(20).fill(0),
      ...new Array<number>(20).fill(9),
    ];
  };
  assert.throws(iort(rc(2)), /2 ID mappings do not fit into the node/);
  assert.throws(iort(rc(1)), /no node starts at offset/);
  const viot = (count: number, at: number) => (): unknown =>
    parseAcpiTable(
      table("VIOT", [...le(count, 2), ...le(at, 2), ...new Array<number>(8).fill(0)]),
      place,
    );
  assert.throws(viot(2, 48), /VIOT offset 0x024: the header counts 2 nodes, the table has 0/);
  assert.throws(viot(2, 4), /offset 0x026: the nodes start inside the header/);
});

test("text that is nearly a table is refused with its line", () => {
  const base64 = encodeBase64(table("DMAR", DMAR_HEAD));
  assert.throws(() => parseBase64Table(`${base64.slice(0, 20)}\n!!`, place), /table:2: not base64/);
  const cut = base64.slice(0, 40);
  assert.throws(() => parseBase64Table(cut, place), /the base64 text holds no whole ACPI table/);
  const dump = "DMAR @ 0x0000000000000000\n    0000: 44 4D 41 52\n    0010: 00 00\n";
  assert.throws(
    () => parseAcpiText(linesOf(dump, "dump")),
    /dump:3: the dump jumps to offset 0x10/,
  );
  const listing = '[000h 0000   4]  Signature : "DMAR"\n[004h 0004   4]  Table Length : zzz\n';
  assert.throws(
    () => parseAcpiText(linesOf(listing, "dsl")),
    /dsl:2: "zzz" is no value of 4 bytes/,
  );
});
