/**
 * Reading the P2P graph for one device: whom it reaches, and who reaches it.
 *
 * A request of a device may turn at the device itself and at every bridge above it; whatever a
 * target's windows cover below the target is reached. Cost: O(depth + functions reached); what a
 * target covers is worked out once for all who reach it. For all devices of a host use the turns
 * themselves: the number of pairs is quadratic.
 */
import {
  claimedSpans,
  hasUnknownBars,
  hasUnknownWindows,
  memoryWindows,
  type PciFunction,
} from "../pcie/index.js";
import { intersectSpans, mergeSpans, type Span } from "../units/index.js";
import type {
  Certainty,
  P2pGraph,
  P2pSource,
  P2pTarget,
  P2pTurn,
  TurnKind,
} from "./p2p-graph-types.js";

export interface P2pReach {
  /** The peer. */
  readonly device: PciFunction;
  readonly via: TurnKind;
  readonly certainty: Certainty;
  /** Addresses of the peer that are reached, sorted and disjoint. */
  readonly windows: readonly Span[];
  /** Some of its BARs, or a window on the way, is unassigned or not known: counted as reachable. */
  readonly unknown: boolean;
  /** Where the request turns: the port (or the device itself) that lets it. */
  readonly turnsAt: P2pSource;
  readonly turn: P2pTurn;
}

/**
 * Everything that decodes addresses and that a request of `fn` can reach untranslated. Sorted by
 * address of the peer.
 */
export function reachesOf(graph: P2pGraph, fn: PciFunction): readonly P2pReach[] {
  const out: P2pReach[] = [];
  for (const port of pathUp(fn)) {
    for (const { turn, source } of graph.sourcesAt.get(port) ?? []) {
      for (const target of turn.targets) {
        if (!turn.allows(source, target)) continue;
        for (const { device, windows, unknown } of coverOf(graph, turn, target)) {
          if (device === fn) continue;
          const { kind: via, certainty } = turn;
          out.push({ device, via, certainty, windows, unknown, turnsAt: source, turn });
        }
      }
    }
  }
  return strongest(out);
}

/** Every function whose requests reach `fn` untranslated; `device` is the one that sends. */
export function whoReaches(graph: P2pGraph, fn: PciFunction): readonly P2pReach[] {
  const out: P2pReach[] = [];
  for (const port of pathUp(fn)) {
    for (const { turn, target } of graph.targetsAt.get(port) ?? []) {
      if (turn.bridge === target.port && port !== fn) continue;
      const own = coverOf(graph, turn, target).find((c) => c.device === fn);
      if (own === undefined) continue;
      for (const source of turn.sources) {
        if (!turn.allows(source, target)) continue;
        for (const device of subtree(graph, source.port)) {
          if (device === fn) continue;
          const { windows, unknown } = own;
          const { kind: via, certainty } = turn;
          out.push({ device, via, certainty, windows, unknown, turnsAt: source, turn });
        }
      }
    }
  }
  return strongest(out);
}

/** The function, and every bridge above it, bottom up. */
function* pathUp(fn: PciFunction): IterableIterator<PciFunction> {
  let here: PciFunction | undefined = fn;
  // A tree of 256 buses is at most 256 deep; the bound guards against a broken capture.
  for (let n = 0; here !== undefined && n <= 256; n++) {
    yield here;
    here = here.upstreamBridge;
  }
}

interface Covered {
  readonly device: PciFunction;
  readonly windows: readonly Span[];
  readonly unknown: boolean;
}

/** A target belongs to one turn of one graph, and a graph does not change. */
const covers = new WeakMap<P2pTarget, readonly Covered[]>();

/** The functions at and below a target that decode addresses inside its windows. */
function coverOf(graph: P2pGraph, turn: P2pTurn, target: P2pTarget): readonly Covered[] {
  let known = covers.get(target);
  if (known === undefined) {
    known = cover(graph, turn, target);
    covers.set(target, known);
  }
  return known;
}

function cover(graph: P2pGraph, turn: P2pTurn, target: P2pTarget): Covered[] {
  const out: Covered[] = [];
  // The bridge above the turn is a target for its registers only.
  const registersOnly = turn.bridge === target.port;
  const { port, windows, unknown } = target;
  const stack = [{ fn: port, windows, unknown }];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const { fn } = item;
    const own = barsInside(fn, item.windows);
    const maybe =
      hasUnknownBars(fn) || (item.unknown && own.length === 0 && claimedSpans(fn).length > 0);
    if (own.length > 0 || maybe) out.push({ device: fn, windows: own, unknown: maybe });
    if (!fn.isBridge || registersOnly) continue;
    const open = hasUnknownWindows(fn);
    const below = open ? item.windows : intersect(item.windows, memoryWindows(fn));
    for (const next of graph.functionsBelow(fn)) {
      stack.push({ fn: next, windows: below, unknown: item.unknown || open });
    }
  }
  return out;
}

function barsInside(fn: PciFunction, windows: readonly Span[]): Span[] {
  return mergeSpans(intersect(claimedSpans(fn), windows));
}

function intersect(a: readonly Span[], b: readonly Span[]): Span[] {
  return a.flatMap((x) => b.flatMap((y) => intersectSpans(x, y) ?? []));
}

function* subtree(graph: P2pGraph, port: PciFunction): IterableIterator<PciFunction> {
  const stack = [port];
  for (let fn = stack.pop(); fn !== undefined; fn = stack.pop()) {
    yield fn;
    for (const below of graph.functionsBelow(fn)) stack.push(below);
  }
}

const KINDS: readonly TurnKind[] = ["switch", "function", "root", "bus"];

/** One entry for each peer, kind and certainty, with the union of windows; certain ones first. */
function strongest(found: readonly P2pReach[]): P2pReach[] {
  const merged = new Map<number, P2pReach>();
  for (const reach of found) {
    const key = (reach.device.bdf * KINDS.length + KINDS.indexOf(reach.via)) * 2 + rank(reach);
    const before = merged.get(key);
    if (before === undefined) merged.set(key, reach);
    else {
      const windows = mergeSpans([...before.windows, ...reach.windows]);
      merged.set(key, { ...before, windows, unknown: before.unknown || reach.unknown });
    }
  }
  return [...merged.values()].sort((a, b) => a.device.bdf - b.device.bdf || rank(a) - rank(b));
}

function rank(reach: P2pReach): number {
  return reach.certainty === "certain" ? 0 : 1;
}
