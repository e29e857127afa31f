/**
 * A direct-mapped cache of decoded table entries, by two keys.
 *
 * A line is sixteen words: the keys (the first with `VALID`), then what its user keeps there. A
 * line leaves when it is invalidated or when another takes its place.
 */

const LINE_WORDS = 16;
const LINE_SHIFT = 4;
const VALID = 1 << 31;

export class EntryCache {
  readonly data: Int32Array;
  readonly #first: number;
  readonly #end: number;
  readonly #shift: number;
  /** Told before a line comes or goes; a finder's memory of lines ends there. */
  onChange: (() => void) | undefined = undefined;

  /**
   * @param lines a power of two, at least 2.
   * @param storage where the lines lie, from word `first` on: two caches that share it have lines
   *   that differ by their index alone.
   */
  constructor(lines: number, storage: Int32Array = new Int32Array(cacheWords(lines)), first = 0) {
    this.data = storage;
    this.#first = first;
    this.#end = first + cacheWords(lines);
    this.#shift = 32 - Math.log2(lines);
  }

  /** Index in `data` of the line, or -1. */
  find(key0: number, key1: number): number {
    const first = key0 | 0;
    const second = key1 | 0;
    const line = this.#lineOf(first, second);
    const { data } = this;
    // Lines are aligned: OR is the addition without its overflow.
    return data[line] === (first | VALID) && data[line | 1] === second ? line : -1;
  }

  /** The line that these keys take, its other words unset. */
  claim(key0: number, key1: number): number {
    const line = this.#lineOf(key0, key1);
    this.onChange?.();
    this.data.fill(0, line, line + LINE_WORDS);
    this.data[line] = key0 | VALID;
    this.data[line + 1] = key1;
    return line;
  }

  /** Forgets the lines that `isGone` names by their index in `data`; all without it. */
  drop(isGone?: (line: number) => boolean): void {
    this.onChange?.();
    for (let line = this.#first; line < this.#end; line += LINE_WORDS) {
      if (((this.data[line] as number) & VALID) === 0) continue;
      if (isGone === undefined || isGone(line)) this.data[line] = 0;
    }
  }

  /** Indexes in `data` of the lines held. */
  *lines(): IterableIterator<number> {
    for (let line = this.#first; line < this.#end; line += LINE_WORDS) {
      if (((this.data[line] as number) & VALID) !== 0) yield line;
    }
  }

  /** The first key of a line. */
  key(line: number): number {
    return (this.data[line] as number) & ~VALID;
  }

  #lineOf(key0: number, key1: number): number {
    const mixed = key0 ^ Math.imul(key1, 0x85eb_ca6b);
    return (((Math.imul(mixed, 0x9e37_79b1) >>> this.#shift) << LINE_SHIFT) + this.#first) | 0;
  }
}

/** Words that so many lines take. */
export function cacheWords(lines: number): number {
  return lines * LINE_WORDS;
}
