/**
 * A transaction for an edge: a function on the source's side, an address on the target's side, and
 * the route of a read from the one to the other, taken from the same routing that data paths use.
 *
 * What an edge claims is reachable may not be shown: everything below the target may be unassigned,
 * or the only function below the source may be the target itself. Then there is no proof, which is
 * no disproof.
 */
import {
  type Fabric,
  memoryRequest,
  type PciFunction,
  type RouteOptions,
  Router,
} from "../pcie/index.js";
import { type EdgeJoin, isEdgeJoin } from "./isolation-group.js";
import { reachesOf } from "./p2p-graph-reach.js";
import type { P2pGraph } from "./p2p-graph-types.js";
import type { Join } from "./partition.js";
import type { EdgeProof, TransactionProof } from "./report-types.js";

/** Requesters tried, and peers for each, before giving up: one of a side is as good as another. */
const TRIES = 16;

/** Shows joins of one analysis; keeps the compiled routing. */
export class EdgeProver {
  readonly #graph: P2pGraph;
  readonly #fabric: Fabric;
  readonly #effectiveAcs: RouteOptions["effectiveAcs"];
  #router: Router | undefined;

  /** `effectiveAcs`: as the graph was built. */
  constructor(fabric: Fabric, graph: P2pGraph, effectiveAcs: RouteOptions["effectiveAcs"]) {
    this.#fabric = fabric;
    this.#graph = graph;
    this.#effectiveAcs = effectiveAcs;
  }

  /** Undefined for joins that no edge made, and where nothing below the ports can show it. */
  proofOf(join: Join): EdgeProof | undefined {
    if (!isEdgeJoin(join)) return undefined;
    for (const from of this.#below(join.source.port)) {
      const proof = this.#from(from, join);
      if (proof !== undefined) return proof;
    }
    return undefined;
  }

  /**
   * The route of a read of `from` at an address of `to`, when it gets there without the translation
   * agent.
   */
  between(from: PciFunction, to: PciFunction): TransactionProof | undefined {
    for (const reach of reachesOf(this.#graph, from)) {
      const first = reach.windows[0]?.first;
      if (reach.device !== to || reach.certainty !== "certain" || first === undefined) continue;
      return this.#try(from, to, first);
    }
    return undefined;
  }

  #try(from: PciFunction, to: PciFunction, address: bigint): TransactionProof | undefined {
    const tlp = memoryRequest({ requester: from.rid, address });
    const route = this.#obtainRouter().route(from, tlp);
    const { result } = route;
    if (result.kind !== "peer" || result.byAgent || result.function !== to) return undefined;
    return { from, to, address, route };
  }

  #from(from: PciFunction, join: EdgeJoin): EdgeProof | undefined {
    let tries = 0;
    for (const reach of reachesOf(this.#graph, from)) {
      const first = reach.windows[0]?.first;
      if (reach.turn !== join.turn || first === undefined) continue;
      if (!isBelow(reach.device, join.target.port)) continue;
      if (++tries > TRIES) return undefined;
      const proof = this.#try(from, reach.device, first);
      if (proof !== undefined) return { join, ...proof };
    }
    return undefined;
  }

  #obtainRouter(): Router {
    this.#router ??= new Router(this.#fabric, {
      effectiveAcs: this.#effectiveAcs,
      rootComplexPeers: "any",
      functionPeers: true,
    });
    return this.#router;
  }

  /** Devices before bridges: people know them. */
  #below(port: PciFunction): PciFunction[] {
    const devices: PciFunction[] = [];
    const bridges: PciFunction[] = [];
    const queue = [port];
    for (let i = 0; i < queue.length && devices.length < TRIES; i++) {
      const fn = queue[i] as PciFunction;
      (fn.isBridge ? bridges : devices).push(fn);
      queue.push(...this.#graph.functionsBelow(fn));
    }
    return [...devices, ...bridges].slice(0, TRIES);
  }
}

function isBelow(fn: PciFunction, port: PciFunction): boolean {
  for (let at: PciFunction | undefined = fn; at !== undefined; at = at.upstreamBridge) {
    if (at === port) return true;
  }
  return false;
}
