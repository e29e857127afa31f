/** Addresses as pairs of page number and offset, and back. */
import { UapiError } from "../abi/index.js";
import { U64_MAX } from "./limits.js";

/** The address of a byte. */
export function addressOf(page: number, offset: number): bigint {
  return (BigInt(page) << 12n) | BigInt(offset);
}

export const pageOf = (address: bigint): number => Number(address >> 12n);
export const offsetOf = (address: bigint): number => Number(address & 0xfffn);

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
