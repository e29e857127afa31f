/** Hands out aligned addresses in growing order from one pool. */
import type { BarKind } from "../pcie/index.js";
import { mergeSpans, type Span } from "../units/index.js";

/** The window of a bridge that carries an address, and the pool it is taken from. */
export type AddressPool = "io" | "memory" | "prefetchable";

export type Pools = Readonly<Record<AddressPool, AddressCursor>>;

/** Addresses of one pool, handed out in growing order around those that are fixed. */
export class AddressCursor {
  #next: bigint;
  readonly #last: bigint;
  /** Spans that are not handed out, sorted and apart; `#skip` is the first that may lie ahead. */
  readonly #taken: readonly Span[];
  #skip = 0;

  constructor(pool: Span, taken: readonly Span[] = []) {
    this.#next = pool.first;
    this.#last = pool.last;
    this.#taken = mergeSpans(taken);
  }

  align(granule: bigint): void {
    this.#next = alignUp(this.#next, granule);
  }

  /** Base of `size` bytes, or undefined when the pool is used up. */
  take(size: bigint, alignment: bigint): bigint | undefined {
    let base = alignUp(this.#next, alignment);
    for (;;) {
      const span = this.#taken[this.#skip];
      if (span === undefined || base + size - 1n < span.first) break;
      if (span.last >= base) base = alignUp(span.last + 1n, alignment);
      this.#skip++;
    }
    if (base + size - 1n > this.#last) return undefined;
    this.#next = base + size;
    return base;
  }
}

/** The least multiple of `alignment` that is not below `value`. */
export function alignUp(value: bigint, alignment: bigint): bigint {
  const rest = value % alignment;
  return rest === 0n ? value : value + alignment - rest;
}

/** A 64-bit BAR may use the prefetchable window only when it is prefetchable itself. */
export function poolOf(kind: BarKind, prefetchable: boolean): AddressPool {
  if (kind === "io") return "io";
  return kind === "memory64" && prefetchable ? "prefetchable" : "memory";
}
