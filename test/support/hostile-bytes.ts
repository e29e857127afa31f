/** Bytes as they are and as they must be. */
import type { Random } from "./random.js";

export function fill(bytes: Uint8Array, random: Random): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
  for (let i = 0; i < words.length; i++) words[i] = random.next();
}

export function differ(what: string, is: Uint8Array, should: Uint8Array): string | undefined {
  if (Buffer.compare(is, should) === 0) return undefined;
  const at = is.findIndex((byte, i) => byte !== should[i]);
  return `${what}: byte ${at.toString(16)}h is ${is[at]}, should be ${should[at]}`;
}

/** Accessed and dirty, bits 5 and 6 of an entry: VT-d 5.0 § 9.7. */
const MARKS = 0x60;

/** Takes marks that hardware has set in `is` over into `should`. */
export function hideMarks(is: Uint32Array, should: Uint8Array): void {
  const words = new Uint32Array(should.buffer, should.byteOffset, should.byteLength >>> 2);
  for (let i = 0; i < is.length; i++) {
    const added = (is[i] as number) & ~(words[i] as number);
    if (added === 0 || (added & ~MARKS) !== 0) continue;
    if (((is[i] as number) & ~added) === ((words[i] as number) | 0)) words[i] = is[i] as number;
  }
}
