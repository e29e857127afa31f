/**
 * Shape of the P2P graph: where a request can turn towards a peer before it reaches the translation agent.
 *
 * Edges are kept per turn (a place where routing happens), source port and target window, never as pairs of
 * devices: a switch with k ports costs k sources and k targets.
 */
import type { PciFunction } from "../pcie/index.js";
import type { Span } from "../units/index.js";
import type { Evidence } from "./evidence.js";

export type Certainty = "certain" | "implementation-defined";
export type TurnKind = "switch" | "function" | "root" | "bus";

/** Requests that come up through `port` (from it or anything below it) may turn here. */
export interface P2pSource {
  readonly port: PciFunction;
  readonly because: readonly Evidence[];
}

/** Requests whose address falls into `windows` are handed to `port` (a bridge: and on to what is below). */
export interface P2pTarget {
  readonly port: PciFunction;
  readonly windows: readonly Span[];
  /** Some window or BAR here is unassigned or not known: counted as reachable. */
  readonly unknown: boolean;
}

export interface P2pTurn {
  readonly kind: TurnKind;
  readonly certainty: Certainty;
  readonly sources: readonly P2pSource[];
  readonly targets: readonly P2pTarget[];
  /** False for a port towards itself and where egress control blocks the pair. */
  allows(source: P2pSource, target: P2pTarget): boolean;
}

export interface P2pGraph {
  readonly turns: readonly P2pTurn[];
  /** (source port, target window) edges that exist, by certainty. */
  readonly edges: { readonly certain: number; readonly implementationDefined: number };
}
