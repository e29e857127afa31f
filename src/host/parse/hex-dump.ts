/**
 * The quick way through `lspci -x`, `-xxx`, `-xxxx`: a file of header lines, hex rows and blank
 * lines only.
 *
 * Works on bytes, makes no string except for header lines, and keeps per function only the bytes up
 * to the last one that is not zero: a dump of 5,000 functions is 68 MB of text. Whatever has
 * another shape (decoded text in between, mail quoting, rows out of order, an address twice) makes
 * it give up, and the general reader takes over; the result is the same.
 */
import { CONFIG_SIZE, ConfigSpace, configFromShown } from "../../pcie/index.js";
import type { Bdf } from "../../units/index.js";
import type { CapturedFunction, CapturePart } from "../capture.js";
import { FunctionBlock } from "./lspci/block.js";
import { draftFunction } from "./lspci/function-from-block.js";
import { type HeaderLine, readHeaderLine } from "./lspci/header-line.js";
import type { LspciOptions } from "./lspci/parse.js";
import { RegisterWriter } from "./lspci/registers.js";
import { NameResolver } from "./names.js";
import { builtInNames } from "./names-built-in.js";
import { decodeUtf8 } from "./text-encoding.js";

const NEW_LINE = 10;
const RETURN = 13;
const BLANK = 32;
const COLON = 58;
const ROW_BYTES = 16;
const HEADER_LIMIT = 600;
const NOT_HEX = 0x100;

/** Value of a hex digit, NOT_HEX for other characters. */
const DIGIT = new Uint16Array(256).fill(NOT_HEX);
for (let i = 0; i < 10; i++) DIGIT[0x30 + i] = i;
for (let i = 0; i < 6; i++) {
  DIGIT[0x41 + i] = 10 + i;
  DIGIT[0x61 + i] = 10 + i;
}

/** Undefined when the bytes are not a pure dump. */
export function parsePureHexDump(
  bytes: Uint8Array,
  file: string,
  options: LspciOptions = {},
): CapturePart | undefined {
  const dump = new Dump(bytes, file, options);
  return dump.read() ? dump.part() : undefined;
}

class Dump {
  readonly #bytes: Uint8Array;
  readonly #file: string;
  readonly #options: LspciOptions;
  readonly #functions: CapturedFunction[] = [];
  readonly #seen = new Set<Bdf>();
  readonly #row = new Uint8Array(CONFIG_SIZE);
  #writer: RegisterWriter | undefined;
  #names: NameResolver | undefined;
  #header: HeaderLine | undefined;
  #headerLine = 0;
  /** Bytes of the open function read so far, and up to its last byte that is not zero. */
  #length = 0;
  #used = 0;

  constructor(bytes: Uint8Array, file: string, options: LspciOptions) {
    this.#bytes = bytes;
    this.#file = file;
    this.#options = options;
  }

  part(): CapturePart {
    return { kind: "lspci-hex", place: { file: this.#file }, functions: this.#functions };
  }

  /** False when the shape is not that of a pure dump. */
  read(): boolean {
    const bytes = this.#bytes;
    const n = bytes.length;
    let line = 0;
    for (let at = 0; at < n; ) {
      line++;
      const first = bytes[at] ?? 0;
      if (first === NEW_LINE) {
        at++;
        continue;
      }
      const next = this.#hexRow(at);
      if (next > 0) {
        at = next;
        continue;
      }
      if (first === RETURN && bytes[at + 1] === NEW_LINE) {
        at += 2;
        continue;
      }
      const end = this.#endOfLine(at);
      if (end < 0 || !this.#open(at, end, line)) return false;
      at = end + 1;
    }
    return this.#close() && this.#functions.length > 0;
  }

  /**
   * Reads `hh: ` or `hhh: ` and 16 bytes; returns the start of the next line, 0 when it is no such
   * row.
   */
  #hexRow(start: number): number {
    const bytes = this.#bytes;
    const a = DIGIT[bytes[start] ?? 0] ?? NOT_HEX;
    const b = DIGIT[bytes[start + 1] ?? 0] ?? NOT_HEX;
    let offset = a * 16 + b;
    let at = start + 2;
    if (bytes[at] !== COLON) {
      const c = DIGIT[bytes[at] ?? 0] ?? NOT_HEX;
      if (c >= NOT_HEX) return 0;
      offset = offset * 16 + c;
      at++;
    }
    if (a >= NOT_HEX || b >= NOT_HEX || bytes[at] !== COLON) return 0;
    if (this.#header === undefined || offset !== this.#length) return 0;
    if (at + 3 * ROW_BYTES >= bytes.length + 1 || offset > CONFIG_SIZE - ROW_BYTES) return 0;
    at++;
    const row = this.#row;
    let bad = 0;
    let any = 0;
    for (let i = 0; i < ROW_BYTES; i++, at += 3) {
      const high = DIGIT[bytes[at + 1] ?? 0] ?? NOT_HEX;
      const low = DIGIT[bytes[at + 2] ?? 0] ?? NOT_HEX;
      const value = (high << 4) | low;
      bad |= (bytes[at] ?? 0) ^ BLANK;
      bad |= value & ~0xff;
      any |= value;
      row[offset + i] = value;
    }
    if (bad !== 0) return 0;
    if (bytes[at] === RETURN) at++;
    else if (bytes[at] === BLANK) at++;
    if (at < bytes.length && bytes[at] !== NEW_LINE) return 0;
    this.#length = offset + ROW_BYTES;
    if (any !== 0) this.#used = this.#length;
    return at + 1;
  }

  #endOfLine(at: number): number {
    const limit = Math.min(at + HEADER_LIMIT, this.#bytes.length);
    for (let i = at; i < limit; i++) if (this.#bytes[i] === NEW_LINE) return i;
    return -1;
  }

  /** Begins the next function; false when the line is no header line. */
  #open(at: number, end: number, line: number): boolean {
    const header = readHeaderLine(decodeUtf8(this.#bytes.subarray(at, end)).trimEnd());
    if (header === undefined || !this.#close() || this.#seen.has(header.bdf)) return false;
    this.#seen.add(header.bdf);
    this.#header = header;
    this.#headerLine = line;
    this.#length = 0;
    this.#used = 0;
    return true;
  }

  /** Ends the open function; false when it has less than a header of bytes. */
  #close(): boolean {
    const header = this.#header;
    if (header === undefined) return true;
    const length = this.#length;
    if (length < 64) return false;
    const place = { file: this.#file, line: this.#headerLine };
    const row = this.#row;
    if ((row[0] === 0xff && row[1] === 0xff) || header.className === "") {
      const block = new FunctionBlock(header, this.#headerLine);
      block.hex = row;
      block.hexLength = length;
      block.hexIndex = this.#headerLine;
      this.#writer ??= new RegisterWriter();
      this.#names ??= new NameResolver([...(this.#options.names ?? []), builtInNames()]);
      this.#functions.push(draftFunction(block, this.#writer, place, this.#names).captured);
      return true;
    }
    this.#functions.push({
      bdf: header.bdf,
      config: this.#config(length),
      headerType: (row[0x0e] ?? 0) & 0x7f,
      ids: {},
      idsFrom: "hex",
      ...(header.name.includes("Virtual Function") ? { virtual: true } : {}),
      ...(header.name === "" ? {} : { name: header.name }),
      place,
      shown: { class: header.className },
    });
    return true;
  }

  #config(length: number): ConfigSpace {
    const row = this.#row;
    if (length !== 64 && length !== 256 && length !== CONFIG_SIZE) {
      return configFromShown(row.subarray(0, length));
    }
    let used = this.#used;
    while (used > 0 && row[used - 1] === 0) used--;
    return new ConfigSpace(row.slice(0, used), length);
  }
}
