/**
 * What a file is, by its content, and its parts.
 *
 * A file may hold several things (a mail with lspci output and a log), and a file made of `==> NAME
 * <==` sections is read section by section. Names of files never decide. Work before the first
 * recognised line is bounded, so that large files of something else are refused quickly.
 */
import { InputError, type InputPlace } from "../units/index.js";
import type { CapturePart } from "./capture.js";
import { captureFilePart, looksLikeCaptureFile } from "./capture-file.js";
import { parseAcpiTable } from "./parse/acpi.js";
import { looksLikeTableList, parseTableList } from "./parse/acpi-list.js";
import { looksLikeAcpiTable } from "./parse/acpi-reader.js";
import {
  looksLikeAcpiText,
  looksLikeBase64Table,
  parseAcpiText,
  parseBase64Table,
} from "./parse/acpi-text.js";
import { looksLikeCommandLine, parseCommandLine } from "./parse/cmdline.js";
import { looksLikeDeviceList, parseDeviceList } from "./parse/device-list.js";
import { looksLikeDmesg, parseDmesg } from "./parse/dmesg.js";
import { looksLikeGroups, parseGroups } from "./parse/groups.js";
import { looksLikeReserved, parseReserved } from "./parse/groups-reserved.js";
import { parsePureHexDump } from "./parse/hex-dump.js";
import { looksLikeKernelRelease, parseKernelRelease } from "./parse/kernel.js";
import type { LspciOptions } from "./parse/lspci/parse.js";
import {
  looksLikeHexDump,
  looksLikeLspci,
  looksLikeTree,
  parseLspciText,
} from "./parse/lspci-file.js";
import { looksLikeSysfsListing, parseSysfsListing } from "./parse/sysfs-listing.js";
import { readLines, TEXT_LIMIT_BYTES, TextLines } from "./parse/text.js";
import { decodeText } from "./parse/text-encoding.js";

/** How much of a file is searched for the beginning of something known. */
const SNIFF_BYTES = 4 * 1024 * 1024;
const BINARY_SNIFF_BYTES = 8192;

/** For messages: everything that is looked for. */
export const KNOWN_FORMATS =
  "lspci output (-vvv, -xxxx, -t), a kernel log, a list of IOMMU groups, " +
  "a DMAR, IVRS, IORT or VIOT table (binary, base64, acpidump, iasl), sysfs listings, " +
  "a kernel command line or release, an ioasis capture file, a platform file, or a tar of these";

const LSPCI_LINE = /^[ \t>|]{0,40}(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7] \S/im;
const LSPCI_MACHINE =
  /^(?:Slot|Device):[ \t]{1,8}(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\r?$/im;
const TREE_LINE = /^[ \t>]{0,40}-(?:\[[0-9a-f]{4,8}:[0-9a-f]{2}\]|\+-\[)-/im;

/**
 * The parts of one file; empty when nothing in it is known. @throws InputError when a known thing
 * is damaged.
 */
export function detectParts(
  bytes: Uint8Array,
  file: string,
  options: LspciOptions = {},
): CapturePart[] {
  if (bytes.length === 0) return [];
  const place: InputPlace = { file };
  if (looksLikeAcpiTable(bytes)) return [parseAcpiTable(bytes, place)];
  // Before anything is decoded: a dump is known by its first two lines, and may be large.
  const dump = looksLikeHexDump(bytes) ? parsePureHexDump(bytes, file, options) : undefined;
  if (dump !== undefined) return [dump];
  const whole = bytes.length <= SNIFF_BYTES;
  const decoded = decodeText(bytes.subarray(0, SNIFF_BYTES));
  const head = decoded.text;
  if (looksBinary(bytes, head)) return [];
  if (looksLikeCaptureFile(head))
    return [captureFilePart(whole ? head : decodeText(bytes).text, file)];
  if (!whole && !isKnown(head)) return partsFarInside(bytes, file, options);
  if (bytes.length > TEXT_LIMIT_BYTES)
    throw new InputError("the file is too large for a text capture", place, "at most 256 MiB");
  const text = readLines(bytes, file, whole ? decoded : undefined);
  const sections = splitSections(text);
  if (sections.length > 1)
    return sections.flatMap((s) => textParts(s, s.lines.join("\n"), options));
  return textParts(text, whole ? text.lines.join("\n") : head, options, !whole);
}

/** Text has no NULs, except as UTF-16, which the decoder undid. */
function looksBinary(bytes: Uint8Array, head: string): boolean {
  const start = head.slice(0, BINARY_SNIFF_BYTES);
  let odd = 0;
  for (let i = 0; i < start.length; i++) {
    const code = start.charCodeAt(i);
    if (code === 0) return true;
    if (code < 32 && code !== 9 && code !== 10 && code !== 13 && code !== 12 && code !== 27) odd++;
  }
  return odd * 10 > Math.min(start.length, bytes.length);
}

function isKnown(head: string): boolean {
  return (
    LSPCI_LINE.test(head) ||
    LSPCI_MACHINE.test(head) ||
    TREE_LINE.test(head) ||
    looksLikeDmesg(head) ||
    looksLikeGroups(head) ||
    looksLikeDeviceList(head) ||
    looksLikeSysfsListing(head) ||
    looksLikeAcpiText(head) ||
    SECTION.test(head)
  );
}

/** How much is read around group lines far inside a large file of something else. */
const WINDOW_BYTES = 32 * 1024 * 1024;
const WINDOW_LEAD_BYTES = 1024 * 1024;

/** A large file whose beginning is not known: the stretch around its first group line, if any. */
function partsFarInside(bytes: Uint8Array, file: string, options: LspciOptions): CapturePart[] {
  const hit = findGroupLine(bytes);
  if (hit < 0) return [];
  let from = Math.max(0, hit - WINDOW_LEAD_BYTES);
  while (from > 0 && bytes[from - 1] !== NEW_LINE) from--;
  let before = 0;
  for (let i = 0; i < from; i++) if (bytes[i] === NEW_LINE) before++;
  const text = readLines(bytes.subarray(from, from + WINDOW_BYTES), file);
  const numbers = text.numbers.map((n) => n + before);
  const moved = new TextLines(file, text.lines, numbers, text.widths, text.repairs);
  const parts = textParts(moved, text.lines.join("\n"), options);
  const cut = from + WINDOW_BYTES < bytes.length;
  if (parts.length > 0 && (from > 0 || cut)) {
    const last = moved.numbers[moved.length - 1] ?? 0;
    const message = `of this large file lines ${before + 1} to ${last} were read`;
    parts.push({
      kind: "other",
      place: { file },
      notes: [{ severity: "info", text: message, place: { file } }],
    });
  }
  return parts;
}

const NEW_LINE = 10;
const GROUP_WORDS = [..."iommu group "].map((c) => c.charCodeAt(0));

/** Where "iommu group " and a digit first stand, in any case; -1 when nowhere. Linear. */
function findGroupLine(bytes: Uint8Array): number {
  const length = GROUP_WORDS.length;
  for (let at = 0; at + length < bytes.length; at++) {
    // "mm" is rare: look there first.
    if (((bytes[at + 2] ?? 0) | 32) !== 0x6d || ((bytes[at + 3] ?? 0) | 32) !== 0x6d) continue;
    const digit = bytes[at + length] ?? 0;
    if (digit < 0x30 || digit > 0x39) continue;
    if (GROUP_WORDS.every((code, i) => ((bytes[at + i] ?? 0) | 32) === code)) return at;
  }
  return -1;
}

/** `==> NAME <==`, as `tail -n +1 FILES` and the shell capture print it. */
const SECTION = /^==> .{1,500} <==$/m;
const SECTION_LINE = /^==> .{1,500} <==$/;

function splitSections(text: TextLines): TextLines[] {
  const starts: number[] = [];
  text.lines.forEach((line, i) => {
    if (SECTION_LINE.test(line)) starts.push(i);
  });
  if (starts.length === 0) return [text];
  const cut = (from: number, to: number): TextLines =>
    new TextLines(
      text.file,
      text.lines.slice(from, to),
      text.numbers.slice(from, to),
      text.widths.slice(from, to),
      text.repairs,
    );
  const out = [cut(0, starts[0] ?? 0)];
  starts.forEach((start, i) => {
    out.push(cut(start + 1, starts[i + 1] ?? text.length));
  });
  return out;
}

/** `head` is what is searched; `partial`: it is not the whole text. */
function textParts(
  text: TextLines,
  head: string,
  options: LspciOptions,
  partial = false,
): CapturePart[] {
  if (head.trim() === "") return [];
  const place: InputPlace = text.place(0);
  if (looksLikeBase64Table(head)) {
    const table = parseBase64Table(head.trim(), place);
    return [parseAcpiTable(table.bytes, place)];
  }
  if (looksLikeAcpiText(head)) {
    const tables = parseAcpiText(text).filter((t) => looksLikeAcpiTable(t.bytes));
    if (tables.length > 0)
      return tables.map((t) => parseAcpiTable(t.bytes, { file: text.file, line: t.line }));
  }
  const single =
    (looksLikeDeviceList(head) ? parseDeviceList(text) : undefined) ??
    (looksLikeTableList(head) ? parseTableList(text) : undefined) ??
    (looksLikeReserved(head) ? parseReserved(text) : undefined) ??
    (looksLikeKernelRelease(head) ? parseKernelRelease(text) : undefined) ??
    (looksLikeCommandLine(head) ? parseCommandLine(text) : undefined);
  if (single !== undefined) return [single];
  return mixedParts(text, head, options, partial);
}

function mixedParts(
  text: TextLines,
  head: string,
  options: LspciOptions,
  partial: boolean,
): CapturePart[] {
  const out: CapturePart[] = [];
  if (partial || looksLikeLspci(text) || looksLikeTree(text))
    out.push(...parseLspciText(text, options));
  if (partial || looksLikeDmesg(head)) out.push(...some(parseDmesg(text)));
  const listing = looksLikeSysfsListing(head) ? parseSysfsListing(text) : undefined;
  out.push(...some(listing));
  if (listing?.recorded === undefined && (partial || looksLikeGroups(head)))
    out.push(...some(parseGroups(text, options)));
  return out;
}

const some = <T>(value: T | undefined): T[] => (value === undefined ? [] : [value]);
