/** Where in a radix table an address leads: 9 bits per level above the 12 bits of a page. */

/** Byte offset of the entry of a level (1 the lowest) for an address, bits 11:3. */
export function entryOffset(lo: number, hi: number, level: number): number {
  switch (level) {
    case 1:
      return (lo >>> 9) & 0xff8;
    case 2:
      return (lo >>> 18) & 0xff8;
    case 3:
      return ((hi << 5) | (lo >>> 27)) & 0xff8;
    case 4:
      return (hi >>> 4) & 0xff8;
    default:
      return (hi >>> 13) & 0xff8;
  }
}

/** Bits of the low half that lie inside a page of 2^shift bytes, for 12, 21 and 30. */
export function offsetMask(shift: number): number {
  return (1 << shift) - 1;
}

/** The bits of an address's high half that a unit of `width` address bits must find zero. */
export function highBitsFrom(width: number): number {
  return width >= 64 ? 0 : width <= 32 ? -1 : -1 << (width - 32);
}

/** Bits 51 to `width` in the high half: reserved in entries that carry an address. */
export function reservedHigh(width: number): number {
  return highBitsFrom(width) & 0xf_ffff;
}
