/** Bytes of accesses. */

/** Exactly `length` bytes. */
export function fitted(data: Uint8Array | undefined, length: number): Uint8Array {
  if (data !== undefined && data.length === length) return data;
  const out = new Uint8Array(length);
  out.set((data ?? out).subarray(0, length));
  return out;
}

/** Fetch-and-add on little-endian bytes (PCIe 6 § 6.15). */
export function added(old: Uint8Array, data: Uint8Array | undefined): Uint8Array {
  const out = new Uint8Array(old.length);
  let carry = 0;
  for (let i = 0; i < out.length; i++) {
    const sum = (old[i] ?? 0) + (data?.[i] ?? 0) + carry;
    out[i] = sum & 0xff;
    carry = sum >>> 8;
  }
  return out;
}

/** The first four bytes, little-endian. */
export function wordOf(data: Uint8Array | undefined): number {
  let word = 0;
  for (let i = 3; i >= 0; i--) word = word * 256 + (data?.[i] ?? 0);
  return word;
}

/** 64 bits from two signed halves. */
export function wide(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}
