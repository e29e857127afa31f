import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../../units/index.js";
import {
  continuesPrevious,
  joinWrapped,
  LINE_COUNT_LIMIT,
  linesOf,
  readLines,
  stripTimestamp,
} from "./text.js";
import { decodeText } from "./text-encoding.js";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

test("UTF-8 is decoded as the platform does, with Latin-1 for what is none", () => {
  for (const text of ["plain", "é – 漢 🙂", "", "a\u07ff\u0800\uffff"]) {
    assert.equal(decodeText(bytesOf(text)).text, text);
  }
  const long = "x🙂".repeat(9000);
  assert.equal(decodeText(bytesOf(long)).text, long);
  assert.equal(decodeText(Uint8Array.of(0x41, 0xe9, 0x42, 0xc3)).text, "AéBÃ");
});

test("byte order marks and UTF-16 in both orders", () => {
  const text = "00:00.0 Host bridge: Intel Corporation Device 09a2\nnext";
  const units = Array.from(text, (ch) => ch.charCodeAt(0));
  const little = Uint8Array.from(units.flatMap((u) => [u & 0xff, u >>> 8]));
  const big = Uint8Array.from(units.flatMap((u) => [u >>> 8, u & 0xff]));
  for (const bytes of [little, big, Uint8Array.of(0xff, 0xfe, ...little)]) {
    const lines = readLines(bytes, "f");
    assert.deepEqual(lines.lines, text.split("\n"));
    assert.ok(lines.repairs.has("utf-16"));
  }
  assert.deepEqual(readLines(bytesOf(`\ufeff${text}`), "f").lines, text.split("\n"));
});

test("line ends of all systems; numbers count original lines", () => {
  assert.deepEqual(linesOf("a\r\nb\r\n\r\nc", "f").lines, ["a", "b", "", "c"]);
  assert.deepEqual(linesOf("a\rb\rc", "f").lines, ["a", "b", "c"]);
  assert.deepEqual(linesOf("a\n\nb\n", "f").numbers, [1, 2, 3]);
  assert.deepEqual(linesOf("a\n\nb", "f").place(2), { file: "f", line: 3 });
});

test("mail quoting of any depth goes, indentation stays", () => {
  const text = linesOf("> > 00:1c.0 x\n>>>> \tSubsystem: y\n > z\n|  tree\n  plain", "f");
  assert.deepEqual(text.lines, ["00:1c.0 x", "\tSubsystem: y", "z", "|  tree", "  plain"]);
  assert.ok(text.repairs.has("mail-quoting"));
});

test("quoted-printable by header, and by evidence; plain sizes are left alone", () => {
  const body = "primary=3D00, secondary=3D01\nRegion 0: Memory at f0 [size=3D64=\nK]\nB=C3=A9";
  const wanted = ["primary=00, secondary=01", "Region 0: Memory at f0 [size=64K]", "Bé"];
  const header = "Content-Transfer-Encoding: quoted-printable\n\n";
  assert.deepEqual(linesOf(header + body, "f").lines.slice(2), wanted);
  const bare = linesOf(body, "f");
  assert.deepEqual(bare.lines, wanted);
  assert.deepEqual(bare.numbers, [1, 2, 4]);
  const plain = "primary=00 [size=64]\n[size=16K] x=3D y=3D";
  assert.deepEqual(linesOf(plain, "f").lines, plain.split("\n"));
});

test("a quoted-printable part ends at the boundary of the mail", () => {
  const mail = [
    "--0123456789abcdef",
    "Content-Transfer-Encoding: quoted-printable",
    "",
    "a=3Db",
    "--0123456789abcdef",
    "Content-Transfer-Encoding: 7bit",
    "",
    "[size=64]",
  ];
  const { lines } = linesOf(mail.join("\n"), "f");
  assert.equal(lines[3], "a=b");
  assert.equal(lines[7], "[size=64]");
});

test("base64 parts are decoded and keep the number of their encoded line", () => {
  const payload = "00:00.0 Host bridge: x\n\tControl: I/O+\n";
  const encoded =
    Buffer.from(payload)
      .toString("base64")
      .match(/.{1,20}/g) ?? [];
  const mail = ["Content-Transfer-Encoding: base64", "", ...encoded, "--boundary-0123"];
  const text = linesOf(mail.join("\n"), "f");
  assert.deepEqual(text.lines.slice(2, 4), ["00:00.0 Host bridge: x", "\tControl: I/O+"]);
  assert.equal(text.numbers[2], 3);
  assert.ok(text.repairs.has("base64"));
});

test("HTML: tags of layout and entities go, lspci's own angle brackets stay", () => {
  const text = linesOf(
    "<pre>\n&gt;TAbort- &lt;MAbort-&nbsp;x<br>\nCapabilities: <access denied></pre>",
    "f",
  );
  assert.deepEqual(text.lines, ["", ">TAbort- <MAbort- x", "Capabilities: <access denied>"]);
});

test("colours, fences, odd blanks and trailing blanks", () => {
  const text = linesOf("```\n\u001b[1;32mgreen\u001b[0m  \na\u00a0b\u200b\n```", "f");
  assert.deepEqual(text.lines, ["", "green", "a b", ""]);
});

test("wrapped lines are joined only where a mailer would have broken them", () => {
  const wide = `${"x".repeat(60)} end`;
  const text = linesOf(
    `${wide}\nPending word\nshort\nother\nflowed text that ends so: \nrest`,
    "f",
  );
  assert.equal(continuesPrevious(text, 1), true);
  assert.equal(continuesPrevious(text, 3), false);
  const joined = joinWrapped(text, () => false);
  assert.deepEqual(joined.lines, [
    `${wide} Pending word`,
    "short",
    "other",
    "flowed text that ends so: rest",
  ]);
  assert.deepEqual(joined.numbers, [1, 3, 4, 5]);
});

test("time stamps of kernel log, ISO 8601 and syslog", () => {
  assert.equal(stripTimestamp("[    1.234567] pci x"), "pci x");
  assert.equal(stripTimestamp("2024-01-02T03:04:05.678+01:00 host kernel: pci x"), "pci x");
  assert.equal(stripTimestamp("Jan  2 03:04:05 host lspci[12]: 00:00.0 Host"), "00:00.0 Host");
  assert.equal(stripTimestamp("00:00.0 Host bridge"), "00:00.0 Host bridge");
});

test("more lines than the limit are refused by file and line", () => {
  const blank = new Uint8Array(LINE_COUNT_LIMIT + 1).fill(10);
  assert.throws(
    () => readLines(blank, "blank.txt"),
    (error) => InputError.is(error) && error.place.line === LINE_COUNT_LIMIT + 1,
  );
});

test("a file beyond the limit is refused by name", () => {
  const huge = { length: 300 * 1024 * 1024 } as Uint8Array;
  assert.throws(
    () => readLines(huge, "huge.txt"),
    (error) => InputError.is(error) && error.place.file === "huge.txt",
  );
});

test("text without a broken line is not copied", () => {
  const text = linesOf("one\ntwo\n\nthree\n", "x");
  assert.equal(
    joinWrapped(text, () => true),
    text,
  );
  assert.equal(
    joinWrapped(text, () => false),
    text,
    "no line of it is long enough to have been broken",
  );
});
