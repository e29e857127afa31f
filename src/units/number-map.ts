/**
 * NumberMap: whole numbers to small numbers, for tables with an entry for every function of a host.
 *
 * Open addressing in typed arrays, at most half full. Beside a `Map` of 50,000 entries it has no
 * objects for the garbage collector to follow, does not grow by copying when the size is known
 * beforehand, and touches one or two cache lines for a look-up.
 *
 * Keys are 0 to 2^53 - 1, values 0 to 2^31 - 1.
 */

const EMPTY = -1;
const GOLDEN = 0x9e3779b1;
const SECOND = 0x85ebca6b;

/** Insertion order is not kept. Look-ups and insertions cost constant time on average. */
export class NumberMap {
  #keys: Float64Array;
  #values: Int32Array;
  #shift: number;
  #size = 0;

  /** Room for `expected` entries; more make it grow. */
  constructor(expected = 0) {
    const bits = Math.max(3, Math.ceil(Math.log2(2 * expected + 1)));
    this.#shift = 32 - bits;
    this.#keys = new Float64Array(2 ** bits).fill(EMPTY);
    this.#values = new Int32Array(2 ** bits);
  }

  get size(): number {
    return this.#size;
  }

  /** The value, or -1 when the key has none. */
  get(key: number): number {
    const at = this.#find(key);
    return this.#keys[at] === key ? (this.#values[at] as number) : EMPTY;
  }

  has(key: number): boolean {
    return this.#keys[this.#find(key)] === key;
  }

  set(key: number, value: number): void {
    if (2 * this.#size >= this.#keys.length) this.#grow();
    const at = this.#find(key);
    if (this.#keys[at] !== key) {
      this.#keys[at] = key;
      this.#size++;
    }
    this.#values[at] = value;
  }

  /** Sets the value unless the key has one already; returns the value that it had, or -1. */
  add(key: number, value: number): number {
    const at = this.#find(key);
    if (this.#keys[at] === key) return this.#values[at] as number;
    if (2 * this.#size >= this.#keys.length) this.set(key, value);
    else {
      this.#keys[at] = key;
      this.#values[at] = value;
      this.#size++;
    }
    return EMPTY;
  }

  /** Where the key is, or the empty place where it belongs. */
  #find(key: number): number {
    const keys = this.#keys;
    const mask = keys.length - 1;
    const mixed = (key | 0) ^ Math.imul((key / 0x1_0000_0000) | 0, SECOND);
    let at = Math.imul(mixed, GOLDEN) >>> this.#shift;
    for (let here = keys[at]; here !== key && here !== EMPTY; here = keys[at]) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#keys = new Float64Array(keys.length * 2).fill(EMPTY);
    this.#values = new Int32Array(keys.length * 2);
    this.#shift--;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as number;
      if (key === EMPTY) continue;
      const at = this.#find(key);
      this.#keys[at] = key;
      this.#values[at] = values[i] as number;
    }
  }
}
