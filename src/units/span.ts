/**
 * Addresses first..last, both included, so that a span may end at 2^64 - 1. Control plane only:
 * bigints.
 */
export interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

/** Some address is in both. */
export function spansOverlap(a: Span, b: Span): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/** Every address of `inner` is in `outer`. */
export function spanContains(outer: Span, inner: Span): boolean {
  return outer.first <= inner.first && inner.last <= outer.last;
}

/** The common part, or undefined. */
export function intersectSpans(a: Span, b: Span): Span | undefined {
  const first = a.first > b.first ? a.first : b.first;
  const last = a.last < b.last ? a.last : b.last;
  return first <= last ? { first, last } : undefined;
}

/** Sorts and merges overlapping and adjacent spans; the input is not changed. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const sorted = [...spans].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const out: Span[] = [];
  for (const span of sorted) {
    const top = out[out.length - 1];
    if (top !== undefined && span.first <= top.last + 1n) {
      if (span.last > top.last) out[out.length - 1] = { first: top.first, last: span.last };
    } else out.push(span);
  }
  return out;
}

/** `a` without `b`: 0, 1 or 2 spans. */
export function subtractSpan(a: Span, b: Span): Span[] {
  if (!spansOverlap(a, b)) return [a];
  const out: Span[] = [];
  if (a.first < b.first) out.push({ first: a.first, last: b.first - 1n });
  if (a.last > b.last) out.push({ first: b.last + 1n, last: a.last });
  return out;
}

/** `0xfde00000-0xfe3fffff` */
export function formatSpan(span: Span): string {
  return `0x${span.first.toString(16)}-0x${span.last.toString(16)}`;
}
