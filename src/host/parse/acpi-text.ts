/**
 * ACPI tables written as text: base64, `acpidump` hex, and `iasl -d` listings.
 *
 * All three become the table's bytes, which the binary parsers then read and verify. A listing that
 * ends with a raw dump is taken from there; otherwise its fields are written back at their offsets.
 */
import { InputError, type InputPlace } from "../../units/index.js";
import { ascii, looksLikeAcpiTable } from "./acpi-reader.js";
import type { TextLines } from "./text.js";

export interface TableText {
  readonly signature: string;
  readonly bytes: Uint8Array;
  /** Line where it starts, from 1. */
  readonly line: number;
}

const TEXT_TABLE_LIMIT = 4 * 1024 * 1024;

/** Whether the text is nothing but base64 of an ACPI table. Cheap: looks at the first line. */
export function looksLikeBase64Table(text: string): boolean {
  const first = /^\s*([A-Za-z0-9+/=]{16,})\s/.exec(`${text.slice(0, 512)}\n`)?.[1];
  if (first === undefined) return false;
  const head = decodeBase64(first.slice(0, 16)) ?? new Uint8Array();
  return /^[A-Z][A-Z0-9]{3}$/.test(ascii(head, 0, 4));
}

/** @throws InputError when a character is not base64 or the bytes are no ACPI table. */
export function parseBase64Table(text: string, place: InputPlace): TableText {
  const compact = text.replace(/\s+/g, "");
  if (compact.length > TEXT_TABLE_LIMIT)
    throw new InputError("too long for one ACPI table", place, `at most ${TEXT_TABLE_LIMIT} bytes`);
  const bytes = decodeBase64(compact);
  if (bytes === undefined) {
    const line = 1 + text.split("\n").findIndex((l) => /[^A-Za-z0-9+/=\s]/.test(l));
    throw new InputError("not base64", { ...place, line: line || 1 }, "A-Z a-z 0-9 + / =");
  }
  if (!looksLikeAcpiTable(bytes))
    throw new InputError("the base64 text holds no whole ACPI table", place, "a table from byte 0");
  return { signature: ascii(bytes, 0, 4), bytes, line: 1 };
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Undefined when a character is outside the alphabet or the padding is wrong. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const body = text.replace(/=+$/, "");
  if (text.length - body.length > 2 || body.length % 4 === 1) return undefined;
  const out = new Uint8Array(Math.floor((body.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < body.length; i++) {
    const value = BASE64_VALUE[body.charCodeAt(i)] ?? -1;
    if (value < 0) return undefined;
    held = ((held << 6) | value) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (held >>> bits) & 0xff;
    }
  }
  return out;
}

const BASE64_VALUE = new Int8Array(128).fill(-1);
for (let i = 0; i < ALPHABET.length; i++) BASE64_VALUE[ALPHABET.charCodeAt(i)] = i;

/** With padding. */
export function encodeBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const a = bytes[i] ?? 0;
    const b = bytes[i + 1];
    const c = bytes[i + 2];
    out += ALPHABET.charAt(a >>> 2) + ALPHABET.charAt(((a & 3) << 4) | ((b ?? 0) >>> 4));
    out += b === undefined ? "=" : ALPHABET.charAt(((b & 15) << 2) | ((c ?? 0) >>> 6));
    out += c === undefined ? "=" : ALPHABET.charAt(c & 63);
    if (out.length > 4096) {
      parts.push(out);
      out = "";
    }
  }
  parts.push(out);
  return parts.join("");
}

const DUMP_HEAD = /^([A-Z][A-Z0-9]{3}) @ 0x[0-9a-fA-F]+\s*$/;
const DUMP_LINE = /^\s+([0-9A-Fa-f]{4,8}):((?: [0-9A-Fa-f]{2}){1,16})(?:\s|$)/;
const FIELD = /^\[([0-9A-Fa-f]{3,8})h [0-9A-Fa-f]{4,8}\s+(\d+|[0-9A-Fa-f]+h)\s*\]([^:]*):(.*)$/;
/** Heads the exact bytes at the end of a listing. */
const RAW_HEAD = /^Raw Table Data: Length (\d+)/;

/** Whether a line starts an `acpidump` table or an `iasl` listing. */
export function looksLikeAcpiText(text: string): boolean {
  return (
    /^[A-Z][A-Z0-9]{3} @ 0x[0-9a-fA-F]+\s*$/m.test(text) ||
    /^\[000h 0000\s+(?:4|004h)\s*\]\s*Signature : "[A-Z0-9]{4}"/m.test(text)
  );
}

/** Every table of an `acpidump` file or an `iasl` listing. */
export function parseAcpiText(text: TextLines): TableText[] {
  const place: InputPlace = { file: text.file };
  const tables: TableText[] = [];
  let open: TableDraft | undefined;
  const close = (): void => {
    if (open !== undefined) tables.push(open.finish());
    open = undefined;
  };
  text.lines.forEach((line, index) => {
    const number = text.numbers[index] ?? index + 1;
    const head = DUMP_HEAD.exec(line);
    const field = head === null ? FIELD.exec(line) : null;
    if (head !== null || (field !== null && isSignature(field))) {
      close();
      open = new TableDraft(number, place);
    }
    if (open === undefined) return;
    if (field !== null) open.field(field, number);
    else if (RAW_HEAD.test(line)) open.restart();
    else {
      const dump = DUMP_LINE.exec(line);
      if (dump !== null) open.dump(dump, number);
    }
  });
  close();
  return tables;
}

function isSignature(field: RegExpExecArray): boolean {
  return Number.parseInt(field[1] ?? "", 16) === 0 && field[3]?.trim() === "Signature";
}

class TableDraft {
  readonly #line: number;
  readonly #place: InputPlace;
  #bytes: number[] = [];

  constructor(line: number, place: InputPlace) {
    this.#line = line;
    this.#place = place;
  }

  /** The raw dump at the end of a listing replaces what the fields gave. */
  restart(): void {
    this.#bytes = [];
  }

  dump(match: RegExpExecArray, line: number): void {
    const at = Number.parseInt(match[1] ?? "", 16);
    if (at !== this.#bytes.length)
      throw this.#error(
        line,
        `the dump jumps to offset 0x${at.toString(16)}`,
        "lines without gaps",
      );
    for (const pair of (match[2] ?? "").trim().split(" "))
      this.#bytes.push(Number.parseInt(pair, 16));
    this.#limit(line);
  }

  /**
   * `[offset index size] Name : value`; the size is decimal, or hex with an h in newer listings.
   */
  field(match: RegExpExecArray, line: number): void {
    const at = Number.parseInt(match[1] ?? "", 16);
    const sizeText = match[2] ?? "";
    const size = Number.parseInt(sizeText, sizeText.endsWith("h") ? 16 : 10);
    if (at + size > TEXT_TABLE_LIMIT) throw this.#error(line, "a field far outside any table");
    const value = fieldBytes((match[4] ?? "").trim(), size);
    if (value === undefined)
      throw this.#error(
        line,
        `"${(match[4] ?? "").trim().slice(0, 40)}" is no value of ${size} bytes`,
      );
    while (this.#bytes.length < at + size) this.#bytes.push(0);
    value.forEach((byte, i) => {
      this.#bytes[at + i] = byte;
    });
  }

  finish(): TableText {
    const bytes = Uint8Array.from(this.#bytes);
    return { signature: ascii(bytes, 0, 4), bytes, line: this.#line };
  }

  #limit(line: number): void {
    if (this.#bytes.length > TEXT_TABLE_LIMIT) throw this.#error(line, "too long for one table");
  }

  #error(line: number, problem: string, expected?: string): InputError {
    return new InputError(problem, { ...this.#place, line }, expected);
  }
}

/**
 * `"TEXT"`, `0A0B` (a number, most significant digit first), `05,04` or `00 00 00` (bytes in
 * order).
 */
function fieldBytes(text: string, size: number): number[] | undefined {
  const quoted = /^"([^"]*)"/.exec(text);
  if (quoted !== null) {
    const out = [...(quoted[1] ?? "")].map((c) => c.charCodeAt(0) & 0xff).slice(0, size);
    while (out.length < size) out.push(0);
    return out;
  }
  const list = /^[0-9A-Fa-f]{2}(?:[ ,][0-9A-Fa-f]{2})+(?=\s|$)/.exec(text)?.[0];
  if (list !== undefined && list.length === 3 * size - 1)
    return list.split(/[ ,]/).map((pair) => Number.parseInt(pair, 16));
  const digits = /^(?:0x)?([0-9A-Fa-f]+)(?=\s|$)/.exec(text)?.[1];
  if (digits === undefined || size > 8) return undefined;
  let value = BigInt(`0x${digits}`);
  if (value >= 1n << BigInt(8 * size)) return undefined;
  const out: number[] = [];
  for (let i = 0; i < size; i++) {
    out.push(Number(value & 0xffn));
    value >>= 8n;
  }
  return out;
}
