/**
 * Addresses as pairs of page number and offset, and back. A length is kept as its last byte's
 * distance (length - 1), so that 2^64 bytes and all sums stay exact.
 */
import { UapiError } from "../abi/index.js";
import { U64_MAX } from "./limits.js";

/** The address of a byte. */
export function addressOf(page: number, offset: number): bigint {
  return (BigInt(page) << 12n) | BigInt(offset);
}

const scratch = new BigUint64Array(1);
/** Low and high half of `scratch`, whatever the byte order of the machine. */
const halves = new Uint32Array(scratch.buffer);
scratch[0] = 1n;
const LOW = halves[0] === 1 ? 0 : 1;

/** 0 to 2^52 - 1, of an address of 64 bits. */
export function pageOf(address: bigint): number {
  scratch[0] = address;
  return (halves[1 - LOW] as number) * 0x100000 + ((halves[LOW] as number) >>> 12);
}

/** 0 to 4095, of an address of 64 bits. */
export function offsetOf(address: bigint): number {
  scratch[0] = address;
  return (halves[LOW] as number) & 0xfff;
}

/**
 * Below 2^62: sums of three such numbers stay in 64 bits. Comparing large bigints costs more than
 * all else in a map; the usual case leaves it out.
 */
export function isSmall(value: bigint): boolean {
  scratch[0] = value;
  return (halves[1 - LOW] as number) < 0x40000000;
}

/** One more than the highest page. */
export const PAGE_LIMIT = 2 ** 52;

/**
 * Last byte of a range.
 * @throws UapiError EOVERFLOW when it lies above 2^64 - 1.
 */
export function lastOf(first: bigint, length: bigint): bigint {
  const last = first + length - 1n;
  if (last > U64_MAX || last < 0n || first < 0n || length < 0n) {
    throw new UapiError("EOVERFLOW", "the range ends above 2^64 - 1");
  }
  return last;
}
