/**
 * Shape of the P2P graph: where a request can turn towards a peer before it reaches the translation
 * agent.
 *
 * Edges are kept per turn (a place where routing happens), source port and target window, never as
 * pairs of devices: a switch with k ports costs k sources and k targets.
 */
import type { PciFunction } from "../pcie/index.js";
import type { Span } from "../units/index.js";
import type { Evidence } from "./evidence.js";

/**
 * `certain`                 routing there is normative: the peer is reached
 * `implementation-defined`  the path is optional, or its registers or place are open
 */
export type Certainty = "certain" | "implementation-defined";

/**
 * `switch`    the inner bus of a switch
 * `function`  inside one multi-function device
 * `root`      inside the root complex
 * `bus`       a conventional bus
 */
export type TurnKind = "switch" | "function" | "root" | "bus";

/** Requests that come up through `port` (from it or anything below it) may turn here. */
export interface P2pSource {
  readonly port: PciFunction;
  readonly because: readonly Evidence[];
}

/**
 * Requests whose address falls into `windows` are handed to `port` (a bridge: and on to what is
 * below).
 */
export interface P2pTarget {
  readonly port: PciFunction;
  /** Sorted and disjoint. */
  readonly windows: readonly Span[];
  /** Some window or BAR here is unassigned or not known: counted as reachable. */
  readonly unknown: boolean;
}

export interface P2pTurn {
  readonly kind: TurnKind;
  readonly certainty: Certainty;
  /**
   * The bridge above the bus where requests turn; undefined on a root bus, or when the capture
   * lacks it.
   */
  readonly bridge: PciFunction | undefined;
  readonly sources: readonly P2pSource[];
  readonly targets: readonly P2pTarget[];
  /** Every source reaches every target but itself: `allows` need not be asked pair by pair. */
  readonly uniform: boolean;
  /** False for a port towards itself and where egress control blocks the pair. */
  allows(source: P2pSource, target: P2pTarget): boolean;
}

export interface P2pGraph {
  readonly turns: readonly P2pTurn[];
  /** Turns in which a function is itself a source. */
  readonly sourcesAt: ReadonlyMap<PciFunction, readonly P2pSourceAt[]>;
  /** Turns in which a function is itself a target. */
  readonly targetsAt: ReadonlyMap<PciFunction, readonly P2pTargetAt[]>;
  /** The functions on the bus below a bridge, VFs on virtual buses included. */
  functionsBelow(bridge: PciFunction): readonly PciFunction[];
  /**
   * (source port, target window) pairs that a turn allows, by certainty; a target without a known
   * window counts as one window.
   */
  readonly edges: { readonly certain: number; readonly implementationDefined: number };
}

export interface P2pSourceAt {
  readonly turn: P2pTurn;
  readonly source: P2pSource;
}

export interface P2pTargetAt {
  readonly turn: P2pTurn;
  readonly target: P2pTarget;
}
