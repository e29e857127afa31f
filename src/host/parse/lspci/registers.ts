/**
 * Registers written from decoded text.
 *
 * Three planes per byte: the value, whether the byte is known at all, and which of its bits the
 * text really states ("decided"). A field of which the text leaves reserved bits open is known
 * (they read as zero) but not fully decided; the comparison with a hex dump looks at decided bits
 * only.
 *
 * One writer serves a whole file: {@link RegisterWriter.reset} clears only what was touched.
 */
import { CONFIG_SIZE, type ConfigExtent, ConfigSpace } from "../../../pcie/index.js";

export interface TextConfig {
  readonly config: ConfigSpace;
  /** One byte per configuration byte: the bits the text states. */
  readonly decided: Uint8Array;
}

export class RegisterWriter {
  readonly #bytes = new Uint8Array(CONFIG_SIZE);
  readonly #decided = new Uint8Array(CONFIG_SIZE);
  readonly #known = new Uint8Array(CONFIG_SIZE / 8);
  #used = 0;

  reset(): void {
    this.#bytes.fill(0, 0, this.#used);
    this.#decided.fill(0, 0, this.#used);
    this.#known.fill(0, 0, (this.#used + 7) >>> 3);
    this.#used = 0;
  }

  /**
   * Writes a little-endian field of `width` bytes and makes it known. `decided` are the bits the
   * text states. Fields beyond 4 KiB are left out: text can hold any number.
   */
  put(offset: number, width: 1 | 2 | 4, value: number, decided = 0): this {
    if (!(offset >= 0 && offset + width <= CONFIG_SIZE)) return this;
    for (let i = 0; i < width; i++) {
      const at = offset + i;
      this.#bytes[at] = (value >>> (8 * i)) & 0xff;
      this.#decided[at] = (decided >>> (8 * i)) & 0xff;
      this.#known[at >>> 3] = (this.#known[at >>> 3] ?? 0) | (1 << (at & 7));
    }
    this.#used = Math.max(this.#used, offset + width);
    return this;
  }

  /** Writes a byte without making it known: its reader looks at some bits only. */
  putOpen(offset: number, value: number, decided = 0): this {
    this.#bytes[offset] = value & 0xff;
    this.#decided[offset] = decided & 0xff;
    this.#used = Math.max(this.#used, offset + 1);
    return this;
  }

  u8(offset: number): number {
    return this.#bytes[offset] ?? 0;
  }

  build(extent: ConfigExtent): TextConfig {
    const n = this.#used;
    const bytes = this.#bytes.slice(0, n);
    const known = this.#known.slice(0, (n + 7) >>> 3);
    return {
      config: new ConfigSpace(bytes, extent, known),
      decided: this.#decided.slice(0, n),
    };
  }

  /**
   * The dump laid over the text: its bytes win, and what it does not reach stays as the text has
   * it.
   */
  buildOver(dump: Uint8Array, extent: ConfigExtent): ConfigSpace {
    const n = Math.max(this.#used, dump.length);
    const bytes = this.#bytes.slice(0, n);
    bytes.set(dump);
    const known = this.#known.slice(0, (n + 7) >>> 3);
    for (let i = 0; i < dump.length; i++) known[i >>> 3] = (known[i >>> 3] ?? 0) | (1 << (i & 7));
    return new ConfigSpace(bytes, extent, known);
  }

  /** First offset where a decided bit differs from the dump; -1 when none does. */
  firstDifference(dump: Uint8Array): number {
    return firstDifference(this.#bytes, this.#decided, dump, this.#used);
  }
}

/**
 * First offset below `end` where a decided bit of `bytes` differs from the dump; -1 when none does.
 */
export function firstDifference(
  bytes: Uint8Array,
  decided: Uint8Array,
  dump: Uint8Array,
  end = decided.length,
): number {
  const n = Math.min(end, dump.length);
  for (let i = 0; i < n; i++) {
    if ((((bytes[i] ?? 0) ^ (dump[i] ?? 0)) & (decided[i] ?? 0)) !== 0) return i;
  }
  return -1;
}

/** `Name+` or `Name-` as a whole word; undefined when the text does not show it. */
export function flag(text: string, name: string): boolean | undefined {
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    const sign = text.charCodeAt(at + name.length);
    if (sign !== 0x2b && sign !== 0x2d) continue;
    const before = at === 0 ? 0x20 : text.charCodeAt(at - 1);
    if (isWordCharacter(before) || before === 0x3e || before === 0x3c) continue;
    return sign === 0x2b;
  }
  return undefined;
}

function isWordCharacter(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x61 && code <= 0x7a) ||
    code === 0x2f
  );
}

export type FlagTable = readonly (readonly [name: string, bit: number])[];

export interface Word {
  value: number;
  decided: number;
}

/** The bits of all flags of the table that the text shows. */
export function flagWord(text: string, table: FlagTable): Word {
  const word: Word = { value: 0, decided: 0 };
  for (const [name, bit] of table) {
    const on = flag(text, name);
    if (on === undefined) continue;
    word.decided |= 1 << bit;
    if (on) word.value |= 1 << bit;
  }
  return word;
}

/** Adds a multi-bit field; an undefined value leaves it open. */
export function addField(word: Word, value: number | undefined, shift: number, mask: number): void {
  if (value === undefined) return;
  word.value |= (value & mask) << shift;
  word.decided |= mask << shift;
}

/** The number after `label`, in the given base; undefined when it is not there. */
export function numberAfter(text: string, label: string, base: 10 | 16): number | undefined {
  const at = text.indexOf(label);
  if (at < 0) return undefined;
  const tail = text.slice(at + label.length, at + label.length + 20);
  const m = (base === 16 ? HEX : DECIMAL).exec(tail);
  return m === null ? undefined : Number.parseInt(m[1] as string, base);
}
const HEX = /^\s*(?:0x)?([0-9a-f]{1,8})/i;
const DECIMAL = /^\s*(\d{1,9})/;
