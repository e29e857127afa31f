/**
 * Which addresses of a space may be used: reserved ranges (each with the object that needs them),
 * and the list that the user allows.
 *
 * Reserved ranges may overlap each other, never an area or an allowed range. The allowed list binds
 * the automatic choice and later reservations, not fixed maps. Linux iopt_reserve_iova(),
 * iopt_set_allow_iova().
 */
import { mergeSpans, type Span, spansOverlap, subtractSpan } from "../units/index.js";
import type { FreeWindow } from "./free-search.js";
import { PAGE_SHIFT, U64_MAX } from "./limits.js";

export interface ReservedRange {
  readonly span: Span;
  /** The device or domain that needs it; undefined for a lasting one. */
  readonly owner: object | undefined;
}

/** The automatic choice keeps a page free at both ends. */
const AUTO_SPAN: Span = { first: 4096n, last: U64_MAX - 4096n };

export class ReservedSet {
  #ranges: ReservedRange[] = [];
  #allowed: readonly Span[] = [];
  #merged: readonly FreeWindow[] = [];
  #windows: readonly FreeWindow[] | undefined;

  get ranges(): readonly ReservedRange[] {
    return this.#ranges;
  }

  get allowed(): readonly Span[] {
    return this.#allowed;
  }

  add(span: Span, owner: object | undefined): void {
    this.#ranges.push({ span, owner });
    this.#changed();
  }

  removeOwner(owner: object): void {
    const kept = this.#ranges.filter((r) => r.owner !== owner);
    if (kept.length === this.#ranges.length) return;
    this.#ranges = kept;
    this.#changed();
  }

  /** The list replaces the one before. */
  setAllowed(spans: readonly Span[]): void {
    this.#allowed = mergeSpans(spans);
    this.#windows = undefined;
  }

  /** A reserved range that overlaps the span. */
  reservedIn(span: Span): ReservedRange | undefined {
    return this.#ranges.find((r) => spansOverlap(r.span, span));
  }

  allowedIn(span: Span): Span | undefined {
    return this.#allowed.find((a) => spansOverlap(a, span));
  }

  /** Some address from first to last is reserved. O(log n). */
  isReserved(
    firstPage: number,
    firstOffset: number,
    lastPage: number,
    lastOffset: number,
  ): boolean {
    const merged = this.#merged;
    let low = 0;
    let high = merged.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const r = merged[middle] as FreeWindow;
      const isBefore =
        r.lastPage < firstPage || (r.lastPage === firstPage && r.lastOffset < firstOffset);
      if (isBefore) low = middle + 1;
      else high = middle;
    }
    const r = merged[low];
    if (r === undefined) return false;
    return r.firstPage < lastPage || (r.firstPage === lastPage && r.firstOffset <= lastOffset);
  }

  /** Everything that is not reserved, ascending. */
  usable(): Span[] {
    return complement([{ first: 0n, last: U64_MAX }], this.#spans());
  }

  /** Where the automatic choice may look. */
  windows(): readonly FreeWindow[] {
    this.#windows ??= this.#makeWindows();
    return this.#windows;
  }

  #makeWindows(): readonly FreeWindow[] {
    const allowed = this.#allowed.length === 0 ? [AUTO_SPAN] : this.#allowed;
    const within: Span[] = [];
    for (const { first, last } of allowed) {
      const low = first > AUTO_SPAN.first ? first : AUTO_SPAN.first;
      const high = last < AUTO_SPAN.last ? last : AUTO_SPAN.last;
      if (low <= high) within.push({ first: low, last: high });
    }
    return complement(within, this.#spans()).map(windowOf);
  }

  #spans(): Span[] {
    return mergeSpans(this.#ranges.map((r) => r.span));
  }

  #changed(): void {
    this.#merged = this.#spans().map(windowOf);
    this.#windows = undefined;
  }
}

/** `from` without `without`; both ascending and disjoint. */
function complement(from: readonly Span[], without: readonly Span[]): Span[] {
  const out: Span[] = [];
  let next = 0;
  for (const span of from) {
    let rest: Span | undefined = span;
    while (next > 0 && (without[next - 1] as Span).last >= span.first) next--;
    for (; rest !== undefined && next < without.length; next++) {
      const hole = without[next] as Span;
      if (hole.first > rest.last) break;
      const parts: Span[] = subtractSpan(rest, hole);
      const tail: Span | undefined = parts[parts.length - 1];
      const head = parts.length === 2 ? parts[0] : undefined;
      if (head !== undefined) out.push(head);
      if (tail !== undefined && tail.last < hole.first) {
        out.push(tail);
        rest = undefined;
      } else rest = tail;
    }
    if (rest !== undefined) out.push(rest);
  }
  return out;
}

function windowOf({ first, last }: Span): FreeWindow {
  return {
    firstPage: Number(first >> BigInt(PAGE_SHIFT)),
    firstOffset: Number(first & 0xfffn),
    lastPage: Number(last >> BigInt(PAGE_SHIFT)),
    lastOffset: Number(last & 0xfffn),
  };
}
