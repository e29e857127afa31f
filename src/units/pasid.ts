import type { Brand } from "./brand.js";

/**
 * Process address space ID on a TLP prefix; 20 bits. Absent is `undefined`, never a number. PCIe 6
 * § 6.20.
 */
export type Pasid = Brand<number, "Pasid">;

export const PASID_LIMIT = 1 << 20;

/** @throws RangeError when the value is not 20 bits. */
export function makePasid(value: number): Pasid {
  if (!Number.isInteger(value) || value < 0 || value >= PASID_LIMIT) {
    throw new RangeError(`PASID ${value} is not 0..0xfffff`);
  }
  return value as Pasid;
}
