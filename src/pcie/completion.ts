/**
 * Routing of completions: by the requester's ID, not by address (PCIe 6 § 2.2.4.2).
 *
 * A completion goes up until its requester's bus is below a peer, then down. Completion Redirect
 * keeps it from turning at a port or function, unless it has Relaxed Ordering (§ 6.12.1); Source
 * Validation, Translation Blocking and Egress Control never touch completions. What the root
 * complex receives it sends down again.
 *
 * Conventional buses have no completions: the bridge above answers for them, and takes answers for
 * them.
 */
import type { Rid } from "../units/index.js";
import { Acs } from "./capability/acs.js";
import { Fabric } from "./fabric.js";
import type { PciFunction } from "./function.js";
import { makeHop, type RouteHop, Router } from "./route.js";
import { redirectsCompletion } from "./route-decide.js";
import { Flag, NONE, type RouteModel } from "./route-model.js";
import type { RouteOptions } from "./route-options.js";
import type { RouteReason } from "./route-reason.js";
import { Place, Role } from "./route-role.js";
import type { CompletionTlp } from "./tlp.js";

export type CompletionResult =
  | {
      readonly kind: "delivered";
      /** The requester, or the bridge that sent for it. */
      readonly function: PciFunction;
      /** Turned at a switch, a device or a bus, or came back through the root complex. */
      readonly via: "peer" | "root-complex";
    }
  /** Nobody takes it (§ 2.3.2); `at` is where it was dropped. */
  | { readonly kind: "unexpected"; readonly at: PciFunction };

export interface CompletionRoute {
  readonly hops: readonly RouteHop[];
  readonly result: CompletionResult;
}

/**
 * Where a completion of `from` goes.
 * @throws RangeError when `from` is not a function of this fabric.
 */
export function routeCompletion(
  fabric: Fabric | Router,
  from: PciFunction,
  tlp: CompletionTlp,
  options: RouteOptions = {},
): CompletionRoute {
  const router = fabric instanceof Fabric ? new Router(fabric, options) : fabric;
  return new CompletionWalk(router.model, tlp).run(router.model.indexOf(from));
}

class CompletionWalk {
  readonly #m: RouteModel;
  readonly #requester: Rid;
  readonly #relaxed: boolean;
  readonly #hops: RouteHop[] = [];

  constructor(model: RouteModel, tlp: CompletionTlp) {
    this.#m = model;
    this.#requester = tlp.requester;
    this.#relaxed = tlp.relaxedOrdering;
  }

  run(from: number): CompletionRoute {
    const m = this.#m;
    this.#hop(from, "completion-issued");
    // A port that completes for a requester below it sends straight down.
    if (this.#ownerOf([from], from) === from) return this.#descend(from, "peer");
    let fn = from;
    for (;;) {
      if (fn !== from && m.rid[fn] === this.#requester) return this.#deliver(fn, "peer");
      const domain = m.domain[fn] as number;
      if (m.place[domain] === Place.Root) return this.#meetRoot(fn);
      const taken = this.#meet(fn, domain);
      if (taken !== undefined) return taken;
      const bridge = m.bridge[domain] as number;
      if (bridge === NONE) return this.#drop(fn);
      if (m.place[domain] === Place.Shared) this.#hop(bridge, "completion-bridge");
      fn = bridge;
    }
  }

  /** Judges the completion that `fn` presents in its domain; undefined: it goes up. */
  #meet(fn: number, domain: number): CompletionRoute | undefined {
    const m = this.#m;
    const place = m.place[domain];
    if (place === Place.Link && m.options.functionPeers !== true) return undefined;
    const owner = this.#ownerOf(m.members[domain] ?? [], fn);
    if (owner === NONE) {
      if (place === Place.Switch) this.#hop(fn, "completion-up");
      return undefined;
    }
    if (place === Place.Shared) {
      this.#hop(fn, "completion-peer");
      return owner === fn ? this.#drop(fn) : this.#descend(owner, "peer");
    }
    const acs = m.acs[fn] as number;
    if (owner === fn) {
      // An upstream port's own requester is found further down or not at all.
      if (m.role[fn] !== Role.DownstreamPort) return undefined;
      if ((acs & Acs.UF) === 0) return this.#drop(fn, "completion-own-egress");
      this.#hop(fn, "own-egress-forwarded", Acs.UF);
      return undefined;
    }
    if (redirectsCompletion(acs, this.#relaxed)) {
      this.#hop(fn, "completion-redirected", Acs.CR);
      return undefined;
    }
    const spared = (acs & Acs.CR) !== 0;
    this.#hop(fn, spared ? "completion-relaxed" : "completion-peer", acs & Acs.CR);
    return this.#descend(owner, "peer");
  }

  #meetRoot(fn: number): CompletionRoute {
    const m = this.#m;
    const segment = m.functions[fn]?.segment;
    for (let domain = 0; domain < m.buses.length; domain++) {
      if (m.place[domain] !== Place.Root || m.buses[domain]?.segment !== segment) continue;
      const owner = this.#ownerOf(m.members[domain] ?? [], fn);
      if (owner === NONE) continue;
      const forwards = ((m.acs[fn] as number) & Acs.UF) !== 0;
      if (owner === fn && m.role[fn] === Role.RootPort && !forwards) {
        return this.#drop(fn, "completion-own-egress");
      }
      this.#hop(fn, "completion-root");
      return this.#descend(owner, "root-complex");
    }
    return this.#drop(fn);
  }

  /** From `fn`, which has the requester or its bus below it, down to the requester. */
  #descend(fn: number, via: "peer" | "root-complex"): CompletionRoute {
    const m = this.#m;
    let here = fn;
    while (m.rid[here] !== this.#requester) {
      const below = m.below[here] as number;
      const conventional = below !== NONE && m.place[below] === Place.Shared;
      if (conventional && m.role[here] !== Role.PciToPcie) return this.#deliver(here, via);
      const next = below === NONE ? NONE : this.#ownerOf(m.members[below] ?? [], NONE);
      if (next === NONE) return this.#drop(here);
      this.#hop(here, "id-below");
      here = next;
    }
    return this.#deliver(here, via);
  }

  /** The member that is the requester, or has the requester's bus below it. */
  #ownerOf(members: readonly number[], presenting: number): number {
    const m = this.#m;
    const bus = this.#requester >>> 8;
    let holder = NONE;
    for (const i of members) {
      if (m.rid[i] === this.#requester && i !== presenting) return i;
      const below = m.below[i] as number;
      if (below === NONE || holder !== NONE) continue;
      if (bus >= (m.secondary[i] as number) && bus <= (m.subordinate[i] as number)) holder = i;
    }
    return holder;
  }

  #deliver(fn: number, via: "peer" | "root-complex"): CompletionRoute {
    this.#hop(fn, "id-matches");
    const found = this.#m.functions[fn] as PciFunction;
    return { hops: this.#hops, result: { kind: "delivered", function: found, via } };
  }

  #drop(fn: number, reason: RouteReason = "completion-unexpected"): CompletionRoute {
    this.#hop(fn, reason);
    const at = this.#m.functions[fn] as PciFunction;
    return { hops: this.#hops, result: { kind: "unexpected", at } };
  }

  #hop(fn: number, kind: RouteReason, bits = 0): void {
    const m = this.#m;
    const unknown = ((m.flags[fn] as number) & Flag.AcsUnknown) !== 0;
    this.#hops.push(makeHop(m, fn, m.domain[fn] as number, kind, bits, unknown));
  }
}
