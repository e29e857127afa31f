/**
 * The line that begins a function in lspci's output, in its spellings:
 *
 *   00:1c.0 PCI bridge: Intel Corporation … Root Port #1 (rev d5) (prog-if 00 [Normal decode])
 *   0000:00:1c.0 PCI bridge [0604]: Intel Corporation … [8086:8d10] (rev d5)
 *   00:1c.0 0604: 8086:8d10 (rev d5)           also `Class 0604: …`
 *   00:01.0/01:00.0 …                          `-PP`: the last address counts
 *   00:1c.0 "PCI bridge" "Intel Corporation" "…" -rd5 -p00 "…" "…"      `-mm`
 */
import { type Bdf, parseBdf } from "../../../units/index.js";

export interface HeaderLine {
  readonly bdf: Bdf;
  /** Class name as shown; empty when only a number is. */
  readonly className: string;
  /** Base class and sub-class, 16 bits. */
  readonly classId: number | undefined;
  readonly vendor: number | undefined;
  readonly device: number | undefined;
  readonly subVendor: number | undefined;
  readonly subDevice: number | undefined;
  /** Vendor and device in words, as shown. */
  readonly name: string;
  readonly revision: number | undefined;
  readonly progIf: number | undefined;
}

const ADDRESS = "[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]";
const FULL = `(?:[0-9a-f]{4,8}:)?${ADDRESS}`;
const START = new RegExp(`^\\s{0,16}(?:${FULL}/){0,16}(${FULL}) +(\\S.*)$`, "i");

const CLASS = /^(.{0,80}?)(?: ?\[([0-9a-f]{4})\])?$/i;
const CLASS_NUMBER = /^(?:Class )?([0-9a-f]{4})$/i;
const IDS = /(?:^| )\[?([0-9a-f]{4}):([0-9a-f]{4})\]?$/i;
/** Names are short; a longer line is no header. */
const LENGTH_LIMIT = 600;

/** Undefined when the line does not begin a function. */
export function readHeaderLine(line: string): HeaderLine | undefined {
  if (!mayBeHeader(line)) return undefined;
  const m = START.exec(line);
  if (m === null) return undefined;
  const bdf = parseBdf(m[1] as string);
  const rest = m[2] as string;
  if (bdf === undefined) return undefined;
  if (rest.startsWith('"')) return readQuoted(bdf, rest);
  const colon = rest.indexOf(":");
  const next = rest.charCodeAt(colon + 1);
  if (colon < 0 || !(Number.isNaN(next) || next === 0x20)) return undefined;
  const title = rest.slice(0, colon);
  const number = CLASS_NUMBER.exec(title);
  const named = number === null ? CLASS.exec(title) : null;
  if (number === null && (named === null || !/^(?:[A-Z]|3D )/.test(title))) return undefined;
  const classId = number?.[1] ?? named?.[2];
  const tail = splitTail(rest.slice(colon + 1).trim());
  const ids = IDS.exec(tail.name);
  return {
    bdf,
    className: named?.[1] ?? "",
    classId: classId === undefined ? undefined : Number.parseInt(classId, 16),
    vendor: ids === null ? undefined : Number.parseInt(ids[1] as string, 16),
    device: ids === null ? undefined : Number.parseInt(ids[2] as string, 16),
    subVendor: undefined,
    subDevice: undefined,
    name: ids === null ? tail.name : tail.name.slice(0, ids.index).trim(),
    revision: tail.revision,
    progIf: tail.progIf,
  };
}

/** A cheap test before the pattern: hex digits and a colon within the first characters. */
function mayBeHeader(line: string): boolean {
  if (line.length > LENGTH_LIMIT || line.length < 9) return false;
  let i = 0;
  while (i < 16 && (line.charCodeAt(i) === 0x20 || line.charCodeAt(i) === 9)) i++;
  for (let k = 0; k < 9; k++) {
    const code = line.charCodeAt(i + k);
    if (code === 0x3a) return k === 2 || (k >= 4 && k <= 8);
    const lower = code | 0x20;
    if (!((code >= 0x30 && code <= 0x39) || (lower >= 0x61 && lower <= 0x66))) return false;
  }
  return false;
}

/** Numbers of `[8086:9d10]`, `8086:9d10`; undefined when the text ends otherwise. */
export function readIds(text: string): readonly [number, number] | undefined {
  const m = IDS.exec(text);
  if (m === null) return undefined;
  return [Number.parseInt(m[1] as string, 16), Number.parseInt(m[2] as string, 16)];
}

interface Tail {
  readonly name: string;
  readonly revision: number | undefined;
  readonly progIf: number | undefined;
}

function splitTail(text: string): Tail {
  let name = text;
  let revision: number | undefined;
  let progIf: number | undefined;
  const p = name.lastIndexOf("(prog-if ");
  if (p >= 0) {
    const digits = /^[0-9a-f]{2}/i.exec(name.slice(p + 9))?.[0];
    if (digits !== undefined) {
      progIf = Number.parseInt(digits, 16);
      name = name.slice(0, p).trimEnd();
    }
  }
  const r = name.lastIndexOf("(rev ");
  if (r >= 0) {
    const digits = /^[0-9a-f]{2}/i.exec(name.slice(r + 5))?.[0];
    if (digits !== undefined) {
      revision = Number.parseInt(digits, 16);
      name = name.slice(0, r).trimEnd();
    }
  }
  return { name, revision, progIf };
}

const WORD = /"([^"]{0,300})"|-r([0-9a-f]{2})|-p([0-9a-f]{2})/gi;

function readQuoted(bdf: Bdf, rest: string): HeaderLine | undefined {
  const words: string[] = [];
  let revision: number | undefined;
  let progIf: number | undefined;
  for (const m of rest.matchAll(WORD)) {
    if (m[1] !== undefined) words.push(m[1]);
    else if (m[2] !== undefined) revision = Number.parseInt(m[2], 16);
    else if (m[3] !== undefined) progIf = Number.parseInt(m[3], 16);
  }
  if (words.length < 3) return undefined;
  const number = words.map(numberIn);
  const plain = words.map((word) => word.replace(/ ?\[?[0-9a-f]{4}\]?$/i, ""));
  const device = number[2] === undefined ? words[2] : plain[2];
  const vendor = number[1] === undefined ? words[1] : plain[1];
  return {
    bdf,
    className: number[0] === undefined ? (words[0] ?? "") : (plain[0] ?? ""),
    classId: number[0],
    vendor: number[1],
    device: number[2],
    subVendor: number[3],
    subDevice: number[4],
    name: `${vendor} ${device}`.trim(),
    revision: revision ?? 0,
    progIf,
  };
}

/** The id in `Intel Corporation [8086]` or `8086`. */
export function numberIn(word: string): number | undefined {
  const m = /(?:^|\[)([0-9a-f]{4})\]?$/i.exec(word.trim());
  return m === null ? undefined : Number.parseInt(m[1] as string, 16);
}
