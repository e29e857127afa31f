/**
 * Configuration space of one function as bytes, with what is known of it.
 *
 * The same class serves a hex dump, decoded text and a platform description: the reader of text
 * writes the bytes that the text implies and marks them known. Vocabulary used everywhere above
 * this file:
 *
 *   undefined   not known (the capture does not say)
 *   null        known to be absent
 *
 * `extent` says how far the capture reached, and with it which capability lists are complete:
 *   0     header not (fully) known             256   header and standard capabilities
 *   64    header only ("access denied")        4096  everything, extended capabilities included
 * Bytes beyond `bytes.length` but inside the extent are zero; trailing zeros need not be stored.
 * Of a dump that was cut short the extent is the next larger one and the bytes not shown are not
 * known; a chain that leaves the known bytes is known up to there (see capability/list.ts).
 */
export type ConfigExtent = 0 | 64 | 256 | 4096;

export const CONFIG_SIZE = 4096;

/** What was seen of one function's configuration space; read only. */
export class ConfigSpace {
  readonly bytes: Uint8Array;
  readonly extent: ConfigExtent;
  /** One bit per byte; absent when all bytes of the extent are known (a hex dump). */
  readonly #known: Uint8Array | undefined;

  constructor(bytes: Uint8Array, extent: ConfigExtent, known?: Uint8Array) {
    this.bytes = bytes;
    this.extent = extent;
    this.#known = known;
  }

  /**
   * A dump of 64, 256 or 4096 bytes (other lengths are cut down to the extent they fill; see
   * shown-dump.ts for dumps cut short). The bytes are copied; trailing zeros, most of a 4 KiB dump,
   * are not kept.
   */
  static fromDump(bytes: Uint8Array): ConfigSpace {
    const n = bytes.length;
    const extent = n >= CONFIG_SIZE ? CONFIG_SIZE : n >= 256 ? 256 : n >= 64 ? 64 : 0;
    let used = extent as number;
    while (used > 0 && bytes[used - 1] === 0) used--;
    return new ConfigSpace(bytes.slice(0, used), extent);
  }

  /** Other bytes, the same extent and the same knowledge. */
  withBytes(bytes: Uint8Array): ConfigSpace {
    return new ConfigSpace(bytes, this.extent, this.#known);
  }

  /** The same, claimed to reach no further than `extent`. */
  cutTo(extent: ConfigExtent): ConfigSpace {
    const known = this.#known?.slice(0, extent / 8);
    return new ConfigSpace(this.bytes.slice(0, extent), extent, known);
  }

  u8(offset: number): number {
    return this.bytes[offset] ?? 0;
  }

  u16(offset: number): number {
    return this.u8(offset) | (this.u8(offset + 1) << 8);
  }

  u32(offset: number): number {
    return (this.u16(offset) | (this.u16(offset + 2) << 16)) >>> 0;
  }

  /** All `length` bytes from `offset` are known. */
  isKnown(offset: number, length: number): boolean {
    if (this.#known === undefined) return offset + length <= this.extent;
    for (let i = offset; i < offset + length; i++) {
      if (((this.#known[i >>> 3] ?? 0) & (1 << (i & 7))) === 0) return false;
    }
    return true;
  }

  /** The value when known. */
  knownU8(offset: number): number | undefined {
    return this.isKnown(offset, 1) ? this.u8(offset) : undefined;
  }

  knownU16(offset: number): number | undefined {
    return this.isKnown(offset, 2) ? this.u16(offset) : undefined;
  }

  knownU32(offset: number): number | undefined {
    return this.isKnown(offset, 4) ? this.u32(offset) : undefined;
  }
}

/** Writes bytes and marks them known; what decoded text and platform descriptions use. */
export class ConfigSpaceBuilder {
  readonly #bytes = new Uint8Array(CONFIG_SIZE);
  readonly #known = new Uint8Array(CONFIG_SIZE / 8);
  #used = 0;

  set8(offset: number, value: number): this {
    return this.#set(offset, value, 1);
  }

  set16(offset: number, value: number): this {
    return this.#set(offset, value, 2);
  }

  set32(offset: number, value: number): this {
    return this.#set(offset, value, 4);
  }

  /** Sets bits without claiming that the whole field is known. */
  orBits8(offset: number, bits: number): this {
    this.#bytes[offset] = (this.#bytes[offset] ?? 0) | bits;
    this.#used = Math.max(this.#used, offset + 1);
    return this;
  }

  u8(offset: number): number {
    return this.#bytes[offset] ?? 0;
  }

  build(extent: ConfigExtent): ConfigSpace {
    return new ConfigSpace(this.#bytes.slice(0, this.#used), extent, this.#known.slice());
  }

  /** As {@link build}, but every byte of the extent counts as known: what was not set is zero. */
  buildComplete(extent: ConfigExtent): ConfigSpace {
    return new ConfigSpace(this.#bytes.slice(0, Math.min(this.#used, extent)), extent);
  }

  #set(offset: number, value: number, length: 1 | 2 | 4): this {
    for (let i = 0; i < length; i++) {
      const at = offset + i;
      if (at >= CONFIG_SIZE)
        throw new RangeError(`configuration offset 0x${at.toString(16)} is beyond 4 KiB`);
      this.#bytes[at] = (value >>> (8 * i)) & 0xff;
      this.#known[at >>> 3] = (this.#known[at >>> 3] ?? 0) | (1 << (at & 7));
    }
    this.#used = Math.max(this.#used, offset + length);
    return this;
  }
}
