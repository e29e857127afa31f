/** Text after mail programs, web pages, terminals and editors: the same functions as before. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { formatBdf, InputError } from "../../units/index.js";
import type { CapturedFunction } from "../capture.js";
import { parseLspciFile } from "./lspci-file.js";

const SEED = 20260719;
const FIXTURES = fileURLToPath(new URL("../../../../test/fixtures/ground-truth/", import.meta.url));

/** Decoded text of the shipped captures, hex rows taken out. */
const texts = readdirSync(FIXTURES)
  .filter((name) => !name.endsWith(".md"))
  .sort()
  .slice(0, 6)
  .map((name) => readFileSync(join(FIXTURES, name, "lspci.txt"), "utf8"))
  .map((text) => text.replace(/^[0-9a-f]{2,3}:(?: [0-9a-f]{2})+\n/gm, ""));

const readBytes = (bytes: Uint8Array): readonly CapturedFunction[] =>
  parseLspciFile(bytes, "f").flatMap((p) => p.functions ?? []);
const readText = (text: string): readonly CapturedFunction[] => readBytes(Buffer.from(text));

/** What must not change: everything but the place in the file. */
const essence = (functions: readonly CapturedFunction[]): unknown =>
  functions.map(({ place: _place, shown: _shown, ...rest }) => ({
    ...rest,
    name: rest.name?.replace(/\s+/g, " "),
    known: Array.from({ length: 4096 }, (_, at) => rest.config.isKnown(at, 1)),
  }));

/** Breaks lines as mailers do: at a blank, before the column. */
function wrap(text: string, columns: number, flowed: boolean): string {
  const out: string[] = [];
  for (const line of text.split("\n")) {
    let rest = line.replaceAll("\t", "        ");
    while (rest.length > columns) {
      const at = rest.lastIndexOf(" ", columns);
      if (at <= 0 || rest.slice(0, at).trim() === "") break;
      out.push(rest.slice(0, at) + (flowed ? " " : ""));
      rest = rest.slice(at + 1);
    }
    out.push(rest);
  }
  return out.join("\n");
}

const flat = (text: string): string => text.replace(/^[ \t]+/gm, "");

const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function quotedPrintable(text: string): string {
  const lines = text.replaceAll("=", "=3D").replaceAll("\t", "=09").split("\n");
  return lines
    .map((line) => line.match(/(?:=[0-9A-F]{2}|[^=]){1,72}/g)?.join("=\n") ?? "")
    .join("\n");
}

const base64 = (text: string): string =>
  (
    Buffer.from(text)
      .toString("base64")
      .match(/.{1,76}/g) ?? []
  ).join("\r\n");

const MAIL = "From: a@example.invalid\nSubject: groups\n";

const MANGLED: Readonly<Record<string, (text: string) => string | Uint8Array>> = {
  CRLF: (text) => text.replaceAll("\n", "\r\n"),
  "byte order mark": (text) => `\ufeff${text}`,
  "UTF-16": (text) => Buffer.from(`\ufeff${text}`, "utf16le"),
  "tabs as blanks": (text) => text.replaceAll("\t", "        "),
  "indented by four": (text) => text.replace(/^(?=.)/gm, "    "),
  "quoted in mail": (text) => `Hi,\n\n${text.replace(/^/gm, "> ")}\n\nRegards`,
  "quoted three deep": (text) => text.replace(/^/gm, ">> > "),
  "wrapped at 76, format=flowed": (text) => wrap(text, 76, true),
  "wrapped at 72": (text) => wrap(text, 72, false),
  "wrapped and quoted": (text) => wrap(text, 70, true).replace(/^/gm, "> "),
  "in a web page": (text) => `<html><body><pre>${escapeHtml(text)}</pre></body></html>`,
  "with <br>": (text) =>
    text
      .split("\n")
      .map((line) => `${escapeHtml(line)}<br>\n`)
      .join(""),
  "quoted-printable": (text) => quotedPrintable(text),
  "quoted-printable mail": (text) =>
    `${MAIL}Content-Transfer-Encoding: quoted-printable\n\n${quotedPrintable(text)}`,
  "base64 mail": (text) => `${MAIL}Content-Transfer-Encoding: base64\n\n${base64(text)}\n`,
  "fenced in an issue": (text) => `### lspci\n\`\`\`text\n${text}\n\`\`\`\nthanks`,
  "in a kernel log": (text) => text.replace(/^(?=.)/gm, "[   12.345678] "),
  "in colours": (text) =>
    text.replace(/^(?=[0-9a-f])/gm, "\u001b[1m").replace(/\n/g, "\u001b[0m\n"),
  "blank line after each": (text) => text.replaceAll("\n", "\n\n"),
  "no-break blanks": (text) =>
    text.replaceAll("        ", "\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0\u00a0"),
  "after a shell prompt": (text) => `root@host:~# lspci -vvv\n${text}root@host:~# exit\n`,
  "indentation lost": (text) => flat(text),
  "first tab lost": (text) => text.replace(/^\t/gm, ""),
  "indentation lost, blank line after each": (text) => flat(text).replaceAll("\n", "\n\n"),
  "indentation lost, then wrapped": (text) => wrap(flat(text), 76, false),
  "wrapped, then indentation lost": (text) => flat(wrap(text, 72, false)),
  "wrapped and flowed, then indentation lost": (text) => flat(wrap(text, 76, true)),
  "indentation lost, quoted in mail": (text) => `Hi,\n\n${flat(text).replace(/^/gm, "> ")}\n\nBye`,
  "warnings in between": (text) =>
    text.replace(/^(?=\tCapabilities)/gm, "pcilib: sysfs_read_vpd: read failed: No such device\n"),
  "listing first": (text) =>
    `${text.match(/^[0-9a-f]{2}:[0-9a-f.:]+ .*$/gm)?.join("\n")}\n\n${text}`,
};

for (const [name, mangle] of Object.entries(MANGLED)) {
  test(`${name}: nothing is lost`, () => {
    for (const text of texts) {
      const mangled = mangle(text);
      const found = typeof mangled === "string" ? readText(mangled) : readBytes(mangled);
      const wanted = readText(text);
      assert.deepEqual(
        found.map((f) => formatBdf(f.bdf)),
        wanted.map((f) => formatBdf(f.bdf)),
      );
      assert.deepEqual(essence(found), essence(wanted));
    }
  });
}

test(`cut and damaged text gives an answer or a typed error (seed ${SEED})`, () => {
  const text = fc.constantFrom(...texts);
  const damage = fc.record({ from: fc.nat(20_000), length: fc.nat(300), junk: fc.string() });
  const property = fc.property(
    text,
    fc.array(damage, { maxLength: 5 }),
    fc.nat(40_000),
    (t, list, end) => {
      let damaged = t.slice(0, end);
      for (const { from, length, junk } of list) {
        damaged = damaged.slice(0, from) + junk + damaged.slice(from + length);
      }
      try {
        readText(damaged);
      } catch (error) {
        assert.ok(InputError.is(error) && error.place.file === "f", String(error));
      }
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 300 });
});
