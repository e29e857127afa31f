/** Addresses that a plan fixes, and whether what is used on one bus fits together. */
import { formatSpan, type Span, spanContains } from "../units/index.js";
import { type AddressPool, alignUp, poolOf } from "./address-cursor.js";
import type { LayoutProblem } from "./layout-problem.js";
import type { PlannedBar, PlannedFunction } from "./plan.js";

/** Spans decoded by the functions of one bus: BARs, and the windows of bridges. */
export type Use = Record<AddressPool, { readonly span: Span; readonly plan: PlannedFunction }[]>;

/** No address used yet. */
export function emptyUse(): Use {
  return { io: [], memory: [], prefetchable: [] };
}

/** Fixed BARs and windows in a tree, each widened to the granularity of bridge windows. */
export function fixedSpans(
  functions: readonly PlannedFunction[],
): Readonly<Record<AddressPool, Span[]>> {
  const out: Record<AddressPool, Span[]> = { io: [], memory: [], prefetchable: [] };
  const stack = [...functions];
  for (let fn = stack.pop(); fn !== undefined; fn = stack.pop()) {
    for (const pool of ["io", "memory", "prefetchable"] as const) {
      const window = fn.windows?.[pool];
      if (window) out[pool].push(widen(window, pool));
    }
    addBars(out, fn.bars, 1n);
    addBars(out, fn.sriov?.vfBars, BigInt(fn.sriov?.total ?? 0));
    if (fn.below !== undefined) for (const child of fn.below) stack.push(child);
  }
  return out;
}

function addBars(
  out: Record<AddressPool, Span[]>,
  bars: readonly PlannedBar[] | undefined,
  count: bigint,
): void {
  for (const { base, size, kind, prefetchable } of bars ?? []) {
    if (base === undefined || base === null) continue;
    const pool = poolOf(kind, prefetchable === true);
    out[pool].push(widen({ first: base, last: base + size * count - 1n }, pool));
  }
}

function widen(span: Span, pool: AddressPool): Span {
  const granule = pool === "io" ? 0x1000n : 0x10_0000n;
  const first = span.first - (span.first % granule);
  return { first, last: alignUp(span.last + 1n, granule) - 1n };
}

/** Cost: n log n in the functions of the bus. */
export function checkUse(use: Use, bridge: PlannedFunction | undefined): LayoutProblem[] {
  const out: LayoutProblem[] = [];
  overlaps(use.io, out);
  overlaps([...use.memory, ...use.prefetchable], out);
  for (const pool of ["io", "memory", "prefetchable"] as const) {
    const window = bridge?.windows?.[pool];
    if (window === undefined) continue;
    for (const { span, plan } of use[pool]) {
      if (window !== null && spanContains(window, span)) continue;
      const where = window === null ? "closed" : formatSpan(window);
      const text = `${formatSpan(span)} is outside the ${pool} window above it (${where})`;
      out.push({ origin: plan.origin, field: undefined, text, expected: "addresses inside it" });
    }
  }
  return out;
}

function overlaps(list: Use[AddressPool], out: LayoutProblem[]): void {
  const sorted = [...list].sort((a, b) => (a.span.first < b.span.first ? -1 : 1));
  let top: Use[AddressPool][number] | undefined;
  for (const here of sorted) {
    if (top !== undefined && here.span.first <= top.span.last) {
      const text = `${formatSpan(here.span)} overlaps ${formatSpan(top.span)}`;
      const expected = "addresses of its own";
      out.push({ origin: here.plan.origin, field: undefined, text, expected });
    }
    if (top === undefined || here.span.last > top.span.last) top = here;
  }
}
