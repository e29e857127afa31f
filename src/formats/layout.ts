/**
 * Layouts of hardware structures as data: a field is a range of bits, counted from bit 0 of the
 * whole structure as the figures of the specifications count them.
 *
 * A structure in memory is a run of 32-bit little-endian words. The functions here serve code that
 * builds, checks and shows structures; code that translates uses masks of its own on the same words
 * and is tested against these layouts.
 */

/** `width` bits from bit `low` of the structure on; at most 53 bits, so that a value is exact. */
export interface BitField {
  readonly low: number;
  readonly width: number;
}

export type Layout = Readonly<Record<string, BitField>>;

/** What {@link readLayout} gives: the value of each field. */
export type FieldValues<L extends Layout> = { readonly [Name in keyof L]: number };

/** Bits `high` to `low`, both included, as `[high:low]` in the figures. */
export function bits(high: number, low: number): BitField {
  const width = high - low + 1;
  if (!(low >= 0 && width >= 1 && width <= 53)) throw new RangeError(`bits ${high}:${low}`);
  return { low, width };
}

/** Bit `n` alone. */
export function bit(n: number): BitField {
  return bits(n, n);
}

/** The field's value in the structure that begins at `words[base]`; absent words count as zero. */
export function getField(words: ArrayLike<number>, base: number, field: BitField): number {
  let value = 0;
  let scale = 1;
  let at = field.low;
  let left = field.width;
  while (left > 0) {
    const shift = at & 31;
    const take = Math.min(32 - shift, left);
    const word = (words[base + (at >>> 5)] ?? 0) >>> shift;
    value += (take === 32 ? word : word & (2 ** take - 1)) * scale;
    scale *= 2 ** take;
    at += take;
    left -= take;
  }
  return value;
}

/**
 * Writes the field and leaves all other bits.
 * @throws RangeError when the value is not an integer that fits the field.
 */
export function setField(
  words: Uint32Array | number[],
  base: number,
  field: BitField,
  value: number,
): void {
  if (!(Number.isInteger(value) && value >= 0 && value < 2 ** field.width)) {
    throw new RangeError(`value ${value} does not fit ${field.width} bits`);
  }
  let rest = value;
  let at = field.low;
  let left = field.width;
  while (left > 0) {
    const shift = at & 31;
    const take = Math.min(32 - shift, left);
    const part = rest % 2 ** take;
    const mask = take === 32 ? 0xffff_ffff : (2 ** take - 1) << shift;
    const index = base + (at >>> 5);
    words[index] = (((words[index] ?? 0) & ~mask) | ((part << shift) & mask)) >>> 0;
    rest = (rest - part) / 2 ** take;
    at += take;
    left -= take;
  }
}

/** Every field of the structure at `words[base]`, by name: for traces and tests. */
export function readLayout<L extends Layout>(
  layout: L,
  words: ArrayLike<number>,
  base = 0,
): FieldValues<L> {
  const out: Record<string, number> = {};
  for (const [name, field] of Object.entries(layout)) out[name] = getField(words, base, field);
  return out as FieldValues<L>;
}

/**
 * A new structure of `wordCount` 32-bit words with the given fields, all other bits zero.
 * @throws RangeError when a value does not fit its field.
 */
export function buildWords<L extends Layout>(
  layout: L,
  wordCount: number,
  values: Partial<Record<keyof L, number | boolean>>,
): Uint32Array {
  const words = new Uint32Array(wordCount);
  for (const [name, value] of Object.entries(values)) {
    const field = layout[name];
    if (field === undefined) throw new RangeError(`no field ${name}`);
    setField(words, 0, field, Number(value ?? 0));
  }
  return words;
}

/** For each word the bits that no field of the layout covers: the reserved and ignored ones. */
export function uncoveredBits(layout: Layout, wordCount: number): Uint32Array {
  const covered = new Uint32Array(wordCount);
  for (const { low, width } of Object.values(layout)) {
    for (let at = low; at < low + width; at++) {
      const index = at >>> 5;
      covered[index] = ((covered[index] ?? 0) | (1 << (at & 31))) >>> 0;
    }
  }
  return covered.map((word) => ~word);
}
