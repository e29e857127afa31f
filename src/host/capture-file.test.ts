import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { sharedFolder, skipWithoutShared } from "../../test/support/shared.js";
import { ConfigSpace, ConfigSpaceBuilder } from "../pcie/index.js";
import { InputError, makeBdf } from "../units/index.js";
import type { Capture } from "./capture.js";
import { readCaptureFile, writeCaptureFile } from "./capture-file.js";
import { fromCapture } from "./from-capture.js";
import { loadCapture } from "./io/index.js";

const skip = skipWithoutShared();
const INFO = { toolVersion: "0.0.0-test", redacted: false };
const root = resolve(fileURLToPath(import.meta.url), "../../../..");

const schema = JSON.parse(readFileSync(join(root, "schemas/capture.schema.json"), "utf8"));
const validate = new Ajv2020({ strict: false, allErrors: true }).compile(schema);

function checkSchema(text: string): void {
  assert.ok(validate(JSON.parse(text)), JSON.stringify(validate.errors?.slice(0, 3)));
}

function sample(): Capture {
  const partly = new ConfigSpaceBuilder().set32(0, 0x29c08086).set8(0x19, 3).build(4096);
  return {
    parts: [{ kind: "lspci-text", place: { file: "a.txt" } }],
    functions: [
      {
        bdf: makeBdf(0x10000, 0xe0, 6, 0),
        config: partly,
        place: { file: "a.txt", line: 1 },
        idsFrom: "ambiguous-name",
        candidates: [{ vendor: 0x8086, device: 1 }],
        parent: null,
        driver: null,
        bars: [{ index: 0, size: 0x100000000n, kind: "memory64" }],
        shown: { numa: "0" },
      },
      {
        bdf: makeBdf(0, 0, 0, 0),
        config: new ConfigSpace(Uint8Array.of(0x86, 0x80), 256),
        place: { file: "a.txt", line: 9 },
        idsFrom: "hex",
      },
    ],
    facts: {
      kernel: "6.1.0",
      iommus: [{ kind: "amd-vi", at: makeBdf(0, 0, 0, 2), efr: 1n << 63n }],
    },
    recorded: {
      from: "lspci",
      place: { file: "a.txt" },
      groups: [{ id: 4, devices: [makeBdf(0, 0, 0, 0)], type: "DMA" }],
    },
    notes: [{ severity: "info", text: "x" }],
  };
}

test("what is written is read back, bit by bit, and fits the published schema", () => {
  const capture = sample();
  const text = writeCaptureFile(capture, INFO);
  checkSchema(text);
  const again = readCaptureFile(text, "capture.json");
  assert.equal(writeCaptureFile(again, INFO), text);
  for (const [i, fn] of capture.functions.entries()) {
    const other = again.functions[i];
    assert.ok(other !== undefined);
    for (let at = 0; at < 4096; at++) {
      assert.equal(other.config.u8(at), fn.config.u8(at));
      assert.equal(other.config.isKnown(at, 1), fn.config.isKnown(at, 1));
    }
    const { config: _, ...a } = fn;
    const { config: __, ...b } = other;
    assert.deepEqual(b, a);
  }
  assert.deepEqual(again.facts, capture.facts);
  assert.deepEqual(again.recorded, capture.recorded);
});

test("captures of real and booted hosts survive the file", { skip }, async () => {
  const shared = sharedFolder() ?? "";
  const samples = [
    ...readdirSync(join(shared, "groundtruth")).map((s) => join(shared, "groundtruth", s)),
    ...["01-cm238-pex8748-switches", "18-titanridge-aer-partial", "31-4gamers1pc-dual-xeon-e5"]
      .concat(["acpi-dmar-poweredge-r820-e5985ccba349", "acpi-ivrs-h8dgu-57ed146f2c3c"])
      .map((s) => join(shared, "hosts", s)),
  ].filter((s) => !s.endsWith(".md"));
  for (const [i, path] of samples.entries()) {
    if (path.includes("groundtruth") && i % 6 !== 0) continue;
    const capture = await loadCapture([path]);
    const text = writeCaptureFile(capture, INFO);
    checkSchema(text);
    const again = readCaptureFile(text, path);
    assert.deepEqual(again.facts, capture.facts, path);
    assert.equal(writeCaptureFile(again, INFO), text, path);
    assert.equal(fromCapture(again).fabric.functions.length, capture.functions.length);
  }
});

function refused(text: string): InputError {
  try {
    readCaptureFile(text, "capture.json");
  } catch (error) {
    assert.ok(InputError.is(error), String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "the file was accepted" });
}

test("a wrong field is refused with its line and name", () => {
  const good = writeCaptureFile(sample(), INFO);
  const cases: [from: string, to: string, line: RegExp][] = [
    ['"extent":256', '"extent":300', /functions\.1\.config\.extent: found 300; expected 0, 64/],
    [
      '"0000:00:00.2"',
      '"0000:00:00.9"',
      /host\.iommus\.0\.at: found "0000:00:00\.9"; expected an address/,
    ],
    ['"ioasis/capture/1"', '"ioasis/capture/9"', /schema: found "ioasis\/capture\/9"/],
    ['"driver":null', '"drivr":null', /functions\.0\.drivr: unknown field; expected device/],
    ['"idsFrom":"hex"', '"idsFrom":7', /functions\.1\.idsFrom: found 7; expected numeric/],
  ];
  for (const [from, to, message] of cases) {
    assert.ok(good.includes(from), from);
    const error = refused(good.replace(from, to));
    assert.match(error.message, message);
    const line = good.slice(0, good.indexOf(from)).split("\n").length;
    assert.equal(error.place.line, line, from);
    assert.ok(!validate(JSON.parse(good.replace(from, to))), `the schema accepts ${to}`);
  }
});

test("text that is no JSON is refused with a line where the engine tells it", () => {
  const error = refused('{\n  "schema": "ioasis/capture/1",\n  oops\n}');
  assert.match(error.message, /this is not JSON; expected a capture file/);
  assert.equal(error.place.line, 3);
});

test("cut and mutated files are refused or read, never anything else", () => {
  const good = writeCaptureFile(sample(), INFO);
  fc.assert(
    fc.property(
      fc.nat(good.length),
      fc.nat(good.length),
      fc.string({ maxLength: 3 }),
      (a, b, add) => {
        const text = good.slice(0, a) + add + good.slice(b);
        try {
          readCaptureFile(text, "capture.json");
        } catch (error) {
          assert.ok(InputError.is(error), String(error));
          assert.equal(error.place.file, "capture.json");
        }
      },
    ),
    { seed: 9, numRuns: 1000 },
  );
});
