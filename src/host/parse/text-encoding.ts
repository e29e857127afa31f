/**
 * Bytes to text without the platform's decoder (the core uses no runtime globals).
 *
 * UTF-8 by default; a byte that is not UTF-8 becomes the Latin-1 character of the same number, so
 * that no input is refused for its encoding. UTF-16 is recognised by its byte order mark, or by
 * zero high bytes.
 */

/** How the bytes were read. */
export type TextEncodingName = "utf-8" | "utf-16le" | "utf-16be";

export interface DecodedText {
  readonly text: string;
  readonly encoding: TextEncodingName;
  readonly byteOrderMark: boolean;
}

const CHUNK = 8192;

/**
 * Text of any bytes, without its byte order mark; see the head of this file for how the encoding is
 * found. Never throws.
 */
export function decodeText(bytes: Uint8Array): DecodedText {
  const [b0, b1, b2] = [bytes[0], bytes[1], bytes[2]];
  if (b0 === 0xef && b1 === 0xbb && b2 === 0xbf) {
    return { text: decodeUtf8(bytes.subarray(3)), encoding: "utf-8", byteOrderMark: true };
  }
  if (b0 === 0xff && b1 === 0xfe) {
    return { text: decodeUtf16(bytes, 2, 0), encoding: "utf-16le", byteOrderMark: true };
  }
  if (b0 === 0xfe && b1 === 0xff) {
    return { text: decodeUtf16(bytes, 2, 1), encoding: "utf-16be", byteOrderMark: true };
  }
  const wide = guessUtf16(bytes);
  if (wide !== undefined) {
    const text = decodeUtf16(bytes, 0, wide === "utf-16be" ? 1 : 0);
    return { text, encoding: wide, byteOrderMark: false };
  }
  return { text: decodeUtf8(bytes), encoding: "utf-8", byteOrderMark: false };
}

/** Text whose every second byte is zero, over at least 32 bytes. */
function guessUtf16(bytes: Uint8Array): TextEncodingName | undefined {
  const n = Math.min(bytes.length & ~1, 512);
  if (n < 32) return undefined;
  let even = 0;
  let odd = 0;
  for (let i = 0; i < n; i += 2) {
    if (bytes[i] === 0) even++;
    if (bytes[i + 1] === 0) odd++;
  }
  const half = n / 2;
  if (odd > half * 0.9 && even < half * 0.1) return "utf-16le";
  if (even > half * 0.9 && odd < half * 0.1) return "utf-16be";
  return undefined;
}

function decodeUtf16(bytes: Uint8Array, from: number, high: 0 | 1): string {
  const out: string[] = [];
  const units = new Uint16Array(CHUNK);
  let n = 0;
  for (let i = from; i + 1 < bytes.length; i += 2) {
    const a = bytes[i] ?? 0;
    const b = bytes[i + 1] ?? 0;
    units[n++] = high === 1 ? a * 256 + b : b * 256 + a;
    if (n === CHUNK) {
      out.push(fromUnits(units.subarray(0, n)));
      n = 0;
    }
  }
  out.push(fromUnits(units.subarray(0, n)));
  return out.join("");
}

/** Bytes that are no UTF-8 become Latin-1 characters. */
export function decodeUtf8(bytes: Uint8Array): string {
  const out: string[] = [];
  const ascii = asciiPrefix(bytes);
  for (let i = 0; i < ascii; i += CHUNK) {
    out.push(fromUnits(bytes.subarray(i, Math.min(ascii, i + CHUNK))));
  }
  const units = new Uint16Array(Math.min(CHUNK, bytes.length - ascii) + 2);
  let n = 0;
  for (let i = ascii; i < bytes.length; ) {
    if (n >= CHUNK) {
      out.push(fromUnits(units.subarray(0, n)));
      n = 0;
    }
    const lead = bytes[i] ?? 0;
    if (lead < 0x80) {
      units[n++] = lead;
      i++;
      continue;
    }
    const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    const point = lead < 0xc2 || lead > 0xf4 ? -1 : codePoint(bytes, i, length);
    if (point < 0) {
      units[n++] = lead;
      i++;
    } else {
      if (point > 0xffff) {
        units[n++] = 0xd800 + ((point - 0x10000) >>> 10);
        units[n++] = 0xdc00 + (point & 0x3ff);
      } else units[n++] = point;
      i += length;
    }
  }
  out.push(fromUnits(units.subarray(0, n)));
  return out.join("");
}

/**
 * How many bytes at the beginning are surely ASCII; looks at four at a time, since captures are
 * ASCII nearly always and the first look at a file is what a user waits for.
 */
function asciiPrefix(bytes: Uint8Array): number {
  let at = 0;
  for (; (bytes.byteOffset + at) % 4 !== 0; at++) if ((bytes[at] ?? 0x80) >= 0x80) return at;
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, (bytes.length - at) >>> 2);
  let i = 0;
  while (i < words.length && ((words[i] ?? 0) & 0x80808080) === 0) i++;
  return at + 4 * i;
}

/** -1 when the bytes are no UTF-8 sequence of that length. */
function codePoint(bytes: Uint8Array, at: number, length: number): number {
  let point = (bytes[at] ?? 0) & (0xff >> (length + 1));
  for (let k = 1; k < length; k++) {
    const b = bytes[at + k] ?? 0;
    if ((b & 0xc0) !== 0x80) return -1;
    point = point * 64 + (b & 0x3f);
  }
  return point;
}

function fromUnits(units: Uint16Array | Uint8Array): string {
  return String.fromCharCode.apply(null, units as unknown as number[]);
}
