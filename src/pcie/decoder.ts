/**
 * Address decoders: which function on a bus claims an address.
 *
 * Built from claims (a BAR, or a window of a bridge) once per fabric, read by every routed request.
 * A table is a slice of sorted, disjoint entries in typed arrays, searched by bisection; nothing is
 * allocated on a look-up. Addresses are two 32-bit halves kept in a Uint32Array of [high, low],
 * because a number above 2^31 that crosses a call may become a heap object.
 *
 * Claims of one bus should be disjoint. Where they are not (a broken capture), hardware behaviour
 * is undefined; here the claim that was given first wins at each address, so every address still
 * has one owner.
 */
import type { Span } from "../units/index.js";

export interface Claim extends Span {
  /** Index of the claiming function. */
  readonly owner: number;
  /** BAR index 0 to 5, or {@link WINDOW}: forwarded to the bus below. */
  readonly bar: number;
}

/** In place of a BAR index: the claim is a bridge window. */
export const WINDOW = -1;
/** No entry claims the address. */
export const UNCLAIMED = -1;

const TOP = (1n << 64n) - 1n;

/**
 * Who claims an address, for several tables of disjoint spans; a binary search on typed arrays.
 */
export class AddressDecoder {
  /** Entries of table t are [start[t], start[t + 1]). */
  readonly #start: Int32Array;
  readonly #firstHigh: Uint32Array;
  readonly #firstLow: Uint32Array;
  readonly #lastHigh: Uint32Array;
  readonly #lastLow: Uint32Array;
  /** By entry. */
  readonly owner: Int32Array;
  readonly bar: Int8Array;

  /** One table per list of claims, numbered in order. O(n log n). */
  constructor(tables: Iterable<readonly Claim[]>) {
    const entries: Claim[] = [];
    const start = [0];
    for (const claims of tables) {
      for (const entry of makeDisjoint(claims)) entries.push(entry);
      start.push(entries.length);
    }
    const n = entries.length;
    this.#start = Int32Array.from(start);
    this.#firstHigh = new Uint32Array(n);
    this.#firstLow = new Uint32Array(n);
    this.#lastHigh = new Uint32Array(n);
    this.#lastLow = new Uint32Array(n);
    this.owner = new Int32Array(n);
    this.bar = new Int8Array(n);
    for (let i = 0; i < n; i++) {
      const entry = entries[i] as Claim;
      this.#firstHigh[i] = Number(entry.first >> 32n);
      this.#firstLow[i] = Number(entry.first & 0xffffffffn);
      this.#lastHigh[i] = Number(entry.last >> 32n);
      this.#lastLow[i] = Number(entry.last & 0xffffffffn);
      this.owner[i] = entry.owner;
      this.bar[i] = entry.bar;
    }
  }

  /** The entry of `table` that holds `address` ([high, low]), or {@link UNCLAIMED}. */
  find(table: number, address: Uint32Array): number {
    const high = address[0] as number;
    const low = address[1] as number;
    let from = this.#start[table] as number;
    let to = this.#start[table + 1] as number;
    // Invariant: entries before `from` begin at or below the address, entries from `to` on above
    // it.
    while (from < to) {
      const middle = (from + to) >>> 1;
      const h = this.#firstHigh[middle] as number;
      if (h < high || (h === high && (this.#firstLow[middle] as number) <= low)) from = middle + 1;
      else to = middle;
    }
    const entry = from - 1;
    if (entry < (this.#start[table] as number)) return UNCLAIMED;
    const h = this.#lastHigh[entry] as number;
    return high < h || (high === h && low <= (this.#lastLow[entry] as number)) ? entry : UNCLAIMED;
  }

  /** The entries of a table, in address order. */
  *entries(table: number): IterableIterator<Claim> {
    const end = this.#start[table + 1] as number;
    for (let i = this.#start[table] as number; i < end; i++) {
      yield {
        first: join(this.#firstHigh[i] as number, this.#firstLow[i] as number),
        last: join(this.#lastHigh[i] as number, this.#lastLow[i] as number),
        owner: this.owner[i] as number,
        bar: this.bar[i] as number,
      };
    }
  }
}

function join(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

/**
 * Sorted and disjoint; where claims overlap the one that comes first in the input keeps the
 * addresses.
 */
export function makeDisjoint(claims: readonly Claim[]): readonly Claim[] {
  if (isDisjoint(claims)) return claims;
  const usable = claims
    .map(({ first, last, owner, bar }, order) => ({
      first,
      last: last > TOP ? TOP : last,
      owner,
      bar,
      order,
    }))
    .filter((claim) => claim.first >= 0n && claim.first <= claim.last);
  usable.sort((a, b) => compare(a.first, b.first) || a.order - b.order);
  const overlaps = usable.some((claim, i) => i > 0 && claim.first <= (usable[i - 1]?.last ?? -1n));
  return overlaps ? sweep(usable) : usable;
}

/** Sorted and disjoint as given: the case of nearly every bus of a working host. */
function isDisjoint(claims: readonly Claim[]): boolean {
  let end = -1n;
  for (const { first, last } of claims) {
    if (first <= end || last < first || last > TOP) return false;
    end = last;
  }
  return true;
}

interface OrderedClaim extends Claim {
  readonly order: number;
}

/** Walks all boundaries upwards with a heap of the open claims, lowest order on top. O(n log n). */
function sweep(sorted: readonly OrderedClaim[]): Claim[] {
  const points = [...sorted.map((c) => c.first), ...sorted.map((c) => c.last + 1n)].sort(compare);
  const out: Claim[] = [];
  const open = new ClaimHeap();
  let next = 0;
  for (let i = 0; i + 1 < points.length; i++) {
    const first = points[i] as bigint;
    const end = points[i + 1] as bigint;
    if (first === end) continue;
    for (let c = sorted[next]; c !== undefined && c.first <= first; c = sorted[++next])
      open.push(c);
    const claim = open.topOver(first);
    if (claim === undefined) continue;
    const before = out[out.length - 1];
    const joins =
      before?.owner === claim.owner && before.bar === claim.bar && before.last + 1n === first;
    if (before !== undefined && joins) out[out.length - 1] = { ...before, last: end - 1n };
    else out.push({ first, last: end - 1n, owner: claim.owner, bar: claim.bar });
  }
  return out;
}

class ClaimHeap {
  readonly #items: OrderedClaim[] = [];

  push(claim: OrderedClaim): void {
    const items = this.#items;
    let i = items.push(claim) - 1;
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      const above = items[parent] as OrderedClaim;
      if (above.order <= claim.order) break;
      items[i] = above;
      items[parent] = claim;
      i = parent;
    }
  }

  /** The first claim still open at `address`; closed ones are dropped on the way. */
  topOver(address: bigint): OrderedClaim | undefined {
    let top = this.#items[0];
    while (top !== undefined && top.last < address) {
      this.#pop();
      top = this.#items[0];
    }
    return top;
  }

  #pop(): void {
    const items = this.#items;
    const moved = items.pop();
    if (moved === undefined || items.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      const right = items[child + 1];
      if (right !== undefined && right.order < (items[child] as OrderedClaim).order) child++;
      if ((items[child] as OrderedClaim).order >= moved.order) break;
      items[i] = items[child] as OrderedClaim;
      i = child;
    }
    items[i] = moved;
  }
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
