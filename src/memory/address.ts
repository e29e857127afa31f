/**
 * Physical addresses in their two forms.
 *
 * Control code names a place by page frame number (a Number below 2^40) and byte in the page. Code
 * that translates carries the 64-bit address as two 32-bit halves, `lo` and `hi`, as signed
 * integers: those never become heap objects when they cross a call.
 */

export const PAGE_SIZE = 4096;
/** Physical addresses have at most 52 bits. */
export const FRAME_LIMIT = 2 ** 40;

/** Low 32 bits of the address, signed. */
export function addressLow(pfn: number, offset: number): number {
  // A remainder of doubles would be a call.
  const low = pfn - Math.floor(pfn / 0x10_0000) * 0x10_0000;
  return (low * PAGE_SIZE + offset) | 0;
}

/** High 32 bits of the address, signed. */
export function addressHigh(pfn: number): number {
  return Math.floor(pfn / 0x10_0000) | 0;
}

/** The frame of an address given by halves; all 52 bits of a 64-bit address's frame. */
export function frameOf(lo: number, hi: number): number {
  return (hi >>> 0) * 0x10_0000 + (lo >>> 12);
}
