/**
 * The payload of `ioasis p2p` (`ioasis/p2p/1`): for each ordered pair of devices, whether a request
 * of one reaches the other directly below the root complex, through it, or not at all without the
 * IOMMU.
 */
import type { Analysis, Reach, TurnKind } from "../isolation/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { type SpanJson, spanJson } from "./evidence-json.js";

export type HowReached = "below-root-complex" | "through-root-complex" | "no";

export interface PairJson {
  readonly from: string;
  readonly to: string;
  readonly how: HowReached;
  readonly via: string | null;
  readonly certainty: string | null;
  readonly windows: readonly SpanJson[];
}

export interface P2pPayload {
  readonly schema: "ioasis/p2p/1";
  readonly edges: { readonly certain: number; readonly implementationDefined: number };
  readonly pairs: readonly PairJson[];
}

/** With devices named: every ordered pair of them. Without: every pair that is reached. */
export function p2pPayload(analysis: Analysis, only?: readonly Bdf[]): P2pPayload {
  return {
    schema: "ioasis/p2p/1",
    edges: analysis.p2p.edges,
    pairs: [...eachPair(analysis, only)],
  };
}

/** The pairs of {@link P2pPayload} one by one: their number may be quadratic in devices. */
export function* eachPair(analysis: Analysis, only?: readonly Bdf[]): Generator<PairJson> {
  const wanted = only ?? analysis.fabric.functions.map((fn) => fn.bdf);
  const others = only === undefined ? undefined : new Set<Bdf>(only);
  for (const from of [...wanted].sort((a, b) => a - b)) {
    const best = bestReaches(analysis.deviceReport(from)?.reaches ?? []);
    if (others === undefined) {
      for (const reach of best.values()) yield pair(from, reach.device, reach);
      continue;
    }
    for (const to of [...others].sort((a, b) => a - b)) {
      if (to !== from) yield pair(from, to, best.get(to));
    }
  }
}

/**
 * A certain path says more than a possible one; a path below the root complex more than one through
 * it.
 */
export function bestReaches(reaches: readonly Reach[]): Map<Bdf, Reach> {
  const best = new Map<Bdf, Reach>();
  for (const reach of reaches) {
    const known = best.get(reach.device);
    if (known === undefined || rank(reach) < rank(known)) best.set(reach.device, reach);
  }
  return new Map([...best].sort((a, b) => a[0] - b[0]));
}

function rank(reach: Reach): number {
  return (reach.certainty === "certain" ? 0 : 2) + (reach.via === "root" ? 1 : 0);
}

/**
 * The contract's three ways: a shared conventional bus counts as the switch that it stands in for.
 */
export function contractVia(via: TurnKind): "switch" | "function" | "root" {
  return via === "bus" ? "switch" : via;
}

function pair(from: Bdf, to: Bdf, reach: Reach | undefined): PairJson {
  return {
    from: formatBdf(from),
    to: formatBdf(to),
    how: howReached(reach),
    via: reach === undefined ? null : contractVia(reach.via),
    certainty: reach?.certainty ?? null,
    windows: reach?.windows.map(spanJson) ?? [],
  };
}

/** Through the root complex, directly below it, or not. */
export function howReached(reach: Reach | undefined): HowReached {
  if (reach === undefined) return "no";
  return reach.via === "root" ? "through-root-complex" : "below-root-complex";
}
