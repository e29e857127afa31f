/** Hex rows: `40: 10 00 42 01 …`, up to 16 bytes, offset in 2 or 3 digits. */
import { CONFIG_SIZE } from "../../../pcie/index.js";
import type { FunctionBlock } from "./block.js";

/** The offset of a hex row; -1 when the line is none. Offsets are multiples of 16 below 4096. */
export function readHexOffset(line: string): number {
  let at = 0;
  while (at < 24 && (line.charCodeAt(at) === 0x20 || line.charCodeAt(at) === 9)) at++;
  let offset = 0;
  let digits = 0;
  for (; digits < 4; digits++) {
    const d = hexDigit(line.charCodeAt(at + digits));
    if (d < 0) break;
    offset = offset * 16 + d;
  }
  if (digits < 2 || digits > 3 || line.charCodeAt(at + digits) !== 0x3a) return -1;
  if (line.charCodeAt(at + digits + 1) !== 0x20 || offset % 16 !== 0) return -1;
  if (hexDigit(line.charCodeAt(at + digits + 2)) < 0) return -1;
  if (hexDigit(line.charCodeAt(at + digits + 3)) < 0) return -1;
  const after = line.charCodeAt(at + digits + 4);
  return Number.isNaN(after) || after === 0x20 ? offset : -1;
}

/** Copies a row's bytes; rows must follow each other from 0 on, so a gap ends what is known. */
export function putHexRow(block: FunctionBlock, line: string, offset: number, index: number): void {
  block.hex ??= new Uint8Array(CONFIG_SIZE);
  if (block.hexIndex < 0) block.hexIndex = index;
  block.last = index;
  if (offset !== block.hexLength) return;
  let at = line.indexOf(":") + 1;
  let n = 0;
  for (; n < 16; n++) {
    while (line.charCodeAt(at) === 0x20) at++;
    const high = hexDigit(line.charCodeAt(at));
    const low = hexDigit(line.charCodeAt(at + 1));
    if (high < 0 || low < 0) break;
    block.hex[offset + n] = high * 16 + low;
    at += 2;
  }
  block.hexLength = offset + n;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
