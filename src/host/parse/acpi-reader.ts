/**
 * Bounds-checked reading of one ACPI table: little-endian fields, header with length and checksum.
 * Every error is an InputError that names the file and the offset. ACPI 6.5 § 5.2.6.
 */
import { hex, InputError, type InputPlace } from "../../units/index.js";
import type { Note } from "../capture.js";

export const ACPI_HEADER_SIZE = 36;

/** A table of one host is far smaller; a longer one is not a table. */
const TABLE_LIMIT = 16 * 1024 * 1024;

export class AcpiReader {
  readonly bytes: Uint8Array;
  readonly place: InputPlace;
  readonly notes: Note[] = [];

  constructor(bytes: Uint8Array, place: InputPlace) {
    this.bytes = bytes;
    this.place = place;
  }

  get signature(): string {
    return ascii(this.bytes, 0, 4);
  }

  u8(at: number): number {
    const value = this.bytes[at];
    if (value === undefined) throw this.error(at, "the table ends here", "one more field");
    return value;
  }

  u16(at: number): number {
    return this.u8(at) | (this.u8(at + 1) << 8);
  }

  u32(at: number): number {
    return (this.u16(at) | (this.u16(at + 2) << 16)) >>> 0;
  }

  u64(at: number): bigint {
    return BigInt(this.u32(at)) | (BigInt(this.u32(at + 4)) << 32n);
  }

  /** ASCII up to a NUL or `end`. */
  text(at: number, end: number): string {
    let stop = at;
    while (stop < end && this.u8(stop) !== 0) stop++;
    return ascii(this.bytes, at, stop - at);
  }

  error(at: number, problem: string, expected?: string): InputError {
    const field = `${this.signature} offset 0x${hex(at, 3)}`;
    return new InputError(problem, { ...this.place, field }, expected);
  }

  warn(at: number, text: string): void {
    const place = { ...this.place, field: `${this.signature} offset 0x${hex(at, 3)}` };
    this.notes.push({ severity: "warning", text, place });
  }
}

export function ascii(bytes: Uint8Array, at: number, length: number): string {
  let out = "";
  for (let i = at; i < at + length && i < bytes.length; i++) {
    const code = bytes[i] ?? 0;
    out += code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "?";
  }
  return out;
}

/**
 * Starts like an ACPI table: a signature of capitals and digits and a length that the bytes have.
 */
export function looksLikeAcpiTable(bytes: Uint8Array): boolean {
  if (bytes.length < ACPI_HEADER_SIZE || !/^[A-Z][A-Z0-9]{3}$/.test(ascii(bytes, 0, 4)))
    return false;
  const length = lengthField(bytes);
  return length >= ACPI_HEADER_SIZE && length <= TABLE_LIMIT && (bytes[8] ?? 255) < 16;
}

function lengthField(bytes: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(4, 8);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/**
 * A reader over a table whose length and checksum hold.
 * @throws InputError when the table is cut, longer than its length field says, or its bytes do not
 * sum to 0.
 */
export function openTable(bytes: Uint8Array, signature: string, place: InputPlace): AcpiReader {
  const reader = new AcpiReader(bytes, place);
  if (bytes.length < ACPI_HEADER_SIZE)
    throw reader.error(bytes.length, "the table header is cut", `${ACPI_HEADER_SIZE} bytes`);
  if (reader.signature !== signature)
    throw reader.error(0, `the signature is "${reader.signature}"`, `"${signature}"`);
  const length = lengthField(bytes);
  if (length !== bytes.length) {
    const problem = `the length field says ${length} bytes, but there are ${bytes.length}`;
    throw reader.error(4, problem, "the whole table and nothing else");
  }
  let sum = 0;
  for (const byte of bytes) sum = (sum + byte) & 0xff;
  if (sum !== 0)
    throw reader.error(9, `the checksum is off by 0x${hex(sum, 2)}`, "bytes that sum to 0");
  return reader;
}

/**
 * Walks sub-tables. `size` reads the header of one and gives its length; `visit` sees its start and
 * end.
 * @throws InputError when a sub-table is shorter than its header or runs past the end.
 */
export function walkStructures(
  reader: AcpiReader,
  from: number,
  to: number,
  size: (at: number) => number,
  visit: (at: number, end: number) => void,
): void {
  for (let at = from; at < to; ) {
    const length = size(at);
    if (length < 2) throw reader.error(at, `a structure of ${length} bytes cannot be`);
    if (at + length > to)
      throw reader.error(at, `a structure of ${length} bytes runs past the end at 0x${hex(to, 3)}`);
    visit(at, at + length);
    at += length;
  }
}
