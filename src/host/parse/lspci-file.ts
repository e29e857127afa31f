/**
 * One file of lspci output, whatever it holds: a pure hex dump, text of any verbosity, a bus tree,
 * several of them.
 */
import type { CapturePart } from "../capture.js";
import { parsePureHexDump } from "./hex-dump.js";
import { readHeaderLine } from "./lspci/header-line.js";
import { readHexOffset } from "./lspci/hex-row.js";
import { type LspciOptions, parseLspci } from "./lspci/parse.js";
import { readLines, stripTimestamp, type TextLines } from "./text.js";
import { isTreeLine, parseTree } from "./tree.js";

/**
 * The parts of a file; empty when nothing of lspci is in it.
 *
 * @throws InputError when the file is no pure hex dump and larger than the limit for text.
 */
export function parseLspciFile(
  bytes: Uint8Array,
  file: string,
  options: LspciOptions = {},
): CapturePart[] {
  const dump = looksLikeHexDump(bytes) ? parsePureHexDump(bytes, file, options) : undefined;
  if (dump !== undefined) return [dump];
  return parseLspciText(readLines(bytes, file), options);
}

/** The same for text that was read already. */
export function parseLspciText(text: TextLines, options: LspciOptions = {}): CapturePart[] {
  const tree = parseTree(text);
  return [...parseLspci(text, options), ...(tree === undefined ? [] : [tree])];
}

/**
 * Looks at the first 4 KiB: a header line first, a hex row second. Costs nothing on other files.
 */
export function looksLikeHexDump(bytes: Uint8Array): boolean {
  const head = String.fromCharCode(...bytes.subarray(0, 4096));
  const [first, second] = head.split("\n").filter((line) => line.trim() !== "");
  return (
    first !== undefined &&
    second !== undefined &&
    readHeaderLine(first.trimEnd()) !== undefined &&
    readHexOffset(second.trimEnd()) === 0
  );
}

const MACHINE_SLOT = /^(?:Slot|Device):\s+(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;

/**
 * Whether lines of a function's description or listing are among these (give it the beginning of a
 * file).
 */
export function looksLikeLspci(text: TextLines): boolean {
  return text.lines.some(
    (line) => readHeaderLine(stripTimestamp(line)) !== undefined || MACHINE_SLOT.test(line),
  );
}

/** Whether a bus tree is among these lines: one with a root bus, or two others. */
export function looksLikeTree(text: TextLines): boolean {
  let seen = 0;
  for (const line of text.lines) {
    if (!isTreeLine(line)) continue;
    seen++;
    if (seen >= 2 || line.includes("[0000:")) return true;
  }
  return false;
}
