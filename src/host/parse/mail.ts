/**
 * Transfer encodings of mail: quoted-printable (RFC 2045 § 6.7) and base64 (§ 6.8) parts inside one
 * text.
 *
 * Works on lines with their numbers, so that a later error still names the line of the original
 * file. A part is decoded only when a `Content-Transfer-Encoding` header says so, or when the text
 * cannot be anything else: `[size=64]` in plain text must not turn into `[sized]`.
 */
import { decodeUtf8 } from "./text-encoding.js";

export interface RawLine {
  readonly text: string;
  /** Line of the original file, from 1. */
  readonly number: number;
}

export interface DecodedMail {
  readonly lines: readonly RawLine[];
  readonly quotedPrintable: boolean;
  readonly base64: boolean;
}

type Mode = "plain" | "quoted-printable" | "base64";

const ENCODING = /^content-transfer-encoding:\s*([\w-]+)/i;
const BOUNDARY = /^--[\w'()+,./:=?-]{6,}/;
const BASE64_LINE = /^[A-Za-z0-9+/]{4,}={0,2}$/;
/** An equals sign that quoted-printable cannot hold. */
const NOT_QUOTED = /=(?![0-9A-F]{2}|[ \t]*$)/;

export function decodeMail(lines: readonly RawLine[]): DecodedMail {
  let announced = false;
  for (const line of lines) {
    const first = line.text.charCodeAt(0) | 0x20;
    if (first === 0x63 && ENCODING.test(line.text)) announced = true;
  }
  if (!announced) {
    if (!looksQuotedPrintable(lines)) return { lines, quotedPrintable: false, base64: false };
    return { lines: unquoteAll(lines), quotedPrintable: true, base64: false };
  }
  return decodeParts(lines);
}

/** At least two `=3D`, and no equals sign that the encoding would have replaced. */
function looksQuotedPrintable(lines: readonly RawLine[]): boolean {
  let seen = 0;
  for (const { text } of lines) {
    if (!text.includes("=")) continue;
    if (NOT_QUOTED.test(text)) return false;
    if (text.includes("=3D")) seen++;
  }
  return seen >= 2;
}

function decodeParts(lines: readonly RawLine[]): DecodedMail {
  const out: RawLine[] = [];
  let next: Mode = "plain";
  let mode: Mode = "plain";
  let inHeader = true;
  let block: RawLine[] = [];
  const used = { "quoted-printable": false, base64: false, plain: false };
  const flush = (): void => {
    if (block.length === 0) return;
    for (const line of mode === "base64" ? unbase64(block) : unquoteAll(block)) out.push(line);
    used[mode] = true;
    block = [];
  };
  for (const line of lines) {
    if (BOUNDARY.test(line.text)) {
      flush();
      inHeader = true;
      mode = "plain";
      next = "plain";
    } else if (inHeader) {
      const m = ENCODING.exec(line.text);
      const name = m?.[1]?.toLowerCase();
      if (name === "base64" || name === "quoted-printable") next = name;
      if (line.text.trim() === "" && next !== "plain") {
        inHeader = false;
        mode = next;
      } else if (line.text.trim() === "") inHeader = false;
    } else if (mode !== "plain") {
      block.push(line);
      continue;
    }
    out.push(line);
  }
  flush();
  return { lines: out, quotedPrintable: used["quoted-printable"], base64: used.base64 };
}

/** Longer than any line that makes sense; ends endless joining. */
const JOINED_LIMIT = 1 << 16;

function unquoteAll(lines: readonly RawLine[]): RawLine[] {
  const out: RawLine[] = [];
  let pending = "";
  let number = 0;
  for (const line of lines) {
    if (pending === "") number = line.number;
    const text = line.text.trimEnd();
    if (text.endsWith("=") && pending.length < JOINED_LIMIT) {
      pending += text.slice(0, -1) || " ";
      continue;
    }
    out.push({ text: unquote(pending + text), number });
    pending = "";
  }
  if (pending !== "") out.push({ text: unquote(pending), number });
  return out;
}

function unquote(text: string): string {
  if (!text.includes("=")) return text;
  return text.replace(/(?:=[0-9A-Fa-f]{2})+/g, (run) => {
    const bytes = new Uint8Array(run.length / 3);
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = Number.parseInt(run.slice(3 * i + 1, 3 * i + 3), 16);
    }
    return decodeUtf8(bytes);
  });
}

/** Decoded lines all carry the number of the encoded line their first byte came from. */
function unbase64(block: readonly RawLine[]): RawLine[] {
  const encoded = block.filter((line) => BASE64_LINE.test(line.text.trim()));
  const rest = block.filter((line) => !BASE64_LINE.test(line.text.trim()));
  if (encoded.length === 0) return [...block];
  const starts: number[] = [];
  const bytes: number[] = [];
  let word = 0;
  let bits = 0;
  for (const line of encoded) {
    starts.push(bytes.length);
    for (const ch of line.text.trim()) {
      const digit = BASE64.indexOf(ch);
      if (digit < 0) continue;
      word = ((word << 6) | digit) & 0xffffff;
      bits += 6;
      if (bits >= 8) {
        bits -= 8;
        bytes.push((word >>> bits) & 0xff);
      }
    }
  }
  const all = Uint8Array.from(bytes);
  const out: RawLine[] = [];
  let from = 0;
  let row = 0;
  for (let i = 0; i <= all.length; i++) {
    if (i < all.length && all[i] !== 10) continue;
    while (row + 1 < starts.length && (starts[row + 1] ?? 0) <= from) row++;
    const text = decodeUtf8(all.subarray(from, i)).replace(/\r$/, "");
    out.push({ text, number: encoded[row]?.number ?? 0 });
    from = i + 1;
  }
  return [...out, ...rest];
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
