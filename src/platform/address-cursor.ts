/** Hands out aligned addresses in growing order from one pool. */
import type { BarKind } from "../pcie/index.js";

/** The window of a bridge that carries an address, and the pool it is taken from. */
export type AddressPool = "io" | "memory" | "prefetchable";

export type Pools = Readonly<Record<AddressPool, AddressCursor>>;

export class AddressCursor {
  #next: bigint;
  readonly #last: bigint;

  constructor(first: bigint, last: bigint) {
    this.#next = first;
    this.#last = last;
  }

  align(granule: bigint): void {
    this.#next = alignUp(this.#next, granule);
  }

  /** Base of `size` bytes, or undefined when the pool is used up. */
  take(size: bigint, alignment: bigint): bigint | undefined {
    const base = alignUp(this.#next, alignment);
    if (base + size - 1n > this.#last) return undefined;
    this.#next = base + size;
    return base;
  }
}

export function alignUp(value: bigint, alignment: bigint): bigint {
  const rest = value % alignment;
  return rest === 0n ? value : value + alignment - rest;
}

/** A 64-bit BAR may use the prefetchable window only when it is prefetchable itself. */
export function poolOf(kind: BarKind, prefetchable: boolean): AddressPool {
  if (kind === "io") return "io";
  return kind === "memory64" && prefetchable ? "prefetchable" : "memory";
}
