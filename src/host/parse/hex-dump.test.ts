import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parsePureHexDump } from "./hex-dump.js";
import { parseLspci } from "./lspci/parse.js";
import { looksLikeHexDump, parseLspciFile } from "./lspci-file.js";
import { readLines } from "./text.js";

const SEED = 20260718;

/** Rows as lspci prints them, written in another way than the reader reads them. */
function rows(bytes: Uint8Array): string {
  let out = "";
  for (let at = 0; at < bytes.length; at += 16) {
    const row = Array.from(bytes.subarray(at, at + 16), (b) => b.toString(16).padStart(2, "0"));
    out += `${at.toString(16).padStart(2, "0")}: ${row.join(" ")}\n`;
  }
  return out;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

test(`any bytes come back, by the quick and by the general way (seed ${SEED})`, () => {
  const size = fc.constantFrom(64, 256, 4096);
  const config = size.chain((n) => fc.uint8Array({ minLength: n, maxLength: n }));
  const property = fc.property(fc.array(config, { minLength: 1, maxLength: 4 }), (configs) => {
    for (const c of configs) c[0x0e] = 0;
    const text = configs.map((c, i) => `0${i}:00.0 Class: x\n${rows(c)}`).join("\n");
    const bytes = encode(text);
    const quick = parsePureHexDump(bytes, "f");
    const general = parseLspci(readLines(bytes, "f"))[0];
    for (const part of [quick, general]) {
      assert.equal(part?.kind, "lspci-hex");
      configs.forEach((c, i) => {
        const read = part?.functions?.[i]?.config;
        assert.equal(read?.extent, c.length);
        for (let at = 0; at < c.length; at++) assert.equal(read?.u8(at), c[at]);
        assert.equal(read?.isKnown(0, c.length), true);
      });
    }
    assert.deepEqual(
      quick?.functions?.map((f) => [f.bdf, f.ids, f.idsFrom, f.place]),
      general?.functions?.map((f) => [f.bdf, f.ids, f.idsFrom, f.place]),
    );
  });
  fc.assert(property, { seed: SEED, numRuns: 40 });
});

test("what is no pure dump is left to the general reader", () => {
  const one = rows(new Uint8Array(64).fill(1));
  const shapes = [
    `00:00.0 Host bridge: x\n\tControl: I/O+\n${one}`,
    `> 00:00.0 Host bridge: x\n${one}`,
    `00:00.0 Host bridge: x\n${one.replace("20:", "30:")}`,
    `00:00.0 Host bridge: x\n${one}\n00:00.0 Host bridge: x\n${one}`,
    `00:00.0 Host bridge: x\n${one.slice(0, -30)}`,
    `00:00.0 Host bridge: x\n${one.replace("01 01", "01 0g")}`,
    `prose first\n00:00.0 Host bridge: x\n${one}`,
    "",
  ];
  for (const text of shapes) assert.equal(parsePureHexDump(encode(text), "f"), undefined, text);
  const crlf = `00:00.0 Host bridge: x\r\n${one.replaceAll("\n", "\r\n")}`;
  assert.equal(parsePureHexDump(encode(crlf), "f")?.functions?.length, 1);
});

test("a function reading ff is silent, a VF only hides its ids", () => {
  const silent = `00:01.0 PCI bridge: x (rev ff)\n${rows(new Uint8Array(256).fill(0xff))}`;
  const bytes = new Uint8Array(256);
  bytes.fill(0xff, 0, 4);
  const vf = `00:02.0 Ethernet controller: y [8086:10ca]\n${rows(bytes)}`;
  const [part] = parseLspciFile(encode(`${silent}\n${vf}`), "f");
  assert.equal(part?.functions?.[0]?.config.extent, 0);
  assert.equal(part?.functions?.[1]?.config.extent, 256);
  assert.deepEqual(part?.functions?.[1]?.ids, {
    vendor: 0x8086,
    device: 0x10ca,
  });
});

test("the sniffer looks at the beginning only", () => {
  assert.equal(
    looksLikeHexDump(encode(`00:00.0 Host bridge: x\n${rows(new Uint8Array(64))}`)),
    true,
  );
  assert.equal(looksLikeHexDump(encode("00:00.0 Host bridge: x\n\tControl: I/O+")), false);
  assert.equal(looksLikeHexDump(new Uint8Array(100_000)), false);
});
