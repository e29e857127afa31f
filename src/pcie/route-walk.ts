/**
 * RouteWalk: one memory request, hop by hop, on numbers.
 *
 * The walk is the only place where requests are routed. It allocates nothing: its fields are the
 * result, and hops go into a reused Int32Array, so the hot path and the trace cannot disagree.
 *
 * Upwards, at each domain (see route-model.ts) the function that presents the request is judged
 * against the owner of its address: itself, a peer, or nobody. Then the request climbs to the
 * bridge above, which may refuse it (source validation, translation blocking, prefixes) or change
 * it (a bridge from a conventional bus replaces the requester ID). Downwards nothing but addresses
 * and prefixes decides: ports never redirect what travels down (PCIe 6 § 6.12.1.1).
 */
import { Acs } from "./capability/acs.js";
import { UNCLAIMED, WINDOW } from "./decoder.js";
import {
  decidePeer,
  decidingBits,
  failsSourceValidation,
  failsTranslationBlocking,
  PeerDecision,
} from "./route-decide.js";
import { Flag, NONE, type RouteModel } from "./route-model.js";
import { REASON } from "./route-reason.js";
import { facesDownstream, Place, Role } from "./route-role.js";
import { isWellFormed, type MemoryRequest } from "./tlp.js";

export const Outcome = {
  /** Still travelling. */
  None: 0,
  Peer: 1,
  TranslationAgent: 2,
  AcsViolation: 3,
  UnsupportedRequest: 4,
  PrefixBlocked: 5,
  Malformed: 6,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/**
 * Integers per hop in {@link RouteWalk.hops}: function, domain, reason, ACS bits, 1 when a fact was
 * unknown.
 */
export const HOP_SIZE = 5;
/** The most hops per level of the tree: two up, two down. */
const HOPS_PER_LEVEL = 4;
const HOPS_BESIDE = 12;

/** Address types as numbers. */
const Untranslated = 0;
const TranslationRequest = 1;
const Translated = 2;

/** The journey of one request; made once for a model and used again for each request. */
export class RouteWalk {
  /** Where the request ended: a function's index. */
  at: number = NONE;
  /** BAR that claimed it, with `Outcome.Peer`. */
  bar = 0;
  outcome: Outcome = Outcome.None;
  /** ACS bits that ended it. */
  bits = 0;
  /** As carried at the end. */
  requester = 0;
  /** 0 untranslated, 1 translation request, 2 translated; as carried at the end. */
  addressType = 0;
  hopCount = 0;
  readonly hops: Int32Array;

  readonly #m: RouteModel;
  readonly #address = new Uint32Array(2);
  readonly #functionPeers: boolean;
  /** 0 none, 1 one root bus, 2 any. */
  readonly #rootPeers: number;
  #prefix = false;

  constructor(model: RouteModel) {
    this.#m = model;
    let depth = 0;
    for (const d of model.depth) if (d > depth) depth = d;
    this.hops = new Int32Array(HOP_SIZE * (HOPS_PER_LEVEL * (depth + 1) + HOPS_BESIDE));
    const { functionPeers, rootComplexPeers } = model.options;
    this.#functionPeers = functionPeers === true;
    this.#rootPeers = rootComplexPeers === "any" ? 2 : rootComplexPeers === "same-root-bus" ? 1 : 0;
  }

  /** Routes what function `from` sends. The fields hold the result until the next call. */
  run(from: number, tlp: MemoryRequest): Outcome {
    const m = this.#m;
    this.hopCount = 0;
    this.outcome = Outcome.None;
    this.bits = 0;
    this.bar = 0;
    this.requester = tlp.requester;
    this.#prefix = tlp.prefix !== undefined;
    const type = tlp.addressType;
    this.addressType =
      type === "untranslated"
        ? Untranslated
        : type === "translated"
          ? Translated
          : TranslationRequest;
    if (!isWellFormed(tlp)) {
      this.#end(from, Outcome.Malformed, REASON["malformed-request"]);
      return this.outcome;
    }
    this.#load(tlp.pfn, tlp.offset);
    this.#hop(from, REASON.issued, 0, false);
    if (((m.flags[from] as number) & Flag.BusMasterOff) !== 0) {
      this.#end(from, Outcome.UnsupportedRequest, REASON["bus-master-off"]);
    } else if (this.#prefix && m.functions[from]?.express === null) {
      this.#end(from, Outcome.PrefixBlocked, REASON["prefix-conventional"]);
    } else this.#ascend(from);
    return this.outcome;
  }

  /**
   * Sends the request down from the root complex to another address; continues the hops of `run`.
   */
  descend(pfn: number, offset: number): Outcome {
    this.#load(pfn, offset);
    this.addressType = Untranslated;
    this.outcome = Outcome.None;
    const entry = this.#m.decoder.find(0, this.#address);
    if (entry === UNCLAIMED) return Outcome.None;
    this.#hop(this.#m.decoder.owner[entry] as number, REASON["agent-routes-down"], 0, false);
    this.#deliver(entry);
    return this.outcome;
  }

  #load(pfn: number, offset: number): void {
    const high = Math.floor(pfn / 0x100000);
    this.#address[0] = high;
    this.#address[1] = (pfn - high * 0x100000) * 4096 + offset;
  }

  #ascend(from: number): void {
    let fn = from;
    while (fn !== NONE) {
      switch (this.#m.place[this.#m.domain[fn] as number]) {
        case Place.Root:
          this.#meetRoot(fn);
          return;
        case Place.Link:
          this.#meetDevice(fn);
          break;
        case Place.Switch:
          this.#meetSwitch(fn);
          break;
        default:
          this.#meetShared(fn);
      }
      if (this.outcome !== Outcome.None) return;
      fn = this.#climb(fn);
    }
  }

  /**
   * At the end of a link: the other functions of the device come first, if it has paths between
   * them.
   */
  #meetDevice(fn: number): void {
    if (!this.#functionPeers) return;
    const entry = this.#find(fn);
    const owner = this.#ownerOf(entry);
    if (owner !== NONE && owner !== fn) this.#meetSibling(fn, entry);
  }

  /**
   * `entry` belongs to another function of the same device. Returns with no outcome when it goes
   * up.
   */
  #meetSibling(fn: number, entry: number): void {
    const m = this.#m;
    const acs = m.acs[fn] as number;
    const decision = this.#decide(fn, m.decoder.owner[entry] as number);
    const unknown = this.#acsUnknown(fn);
    const bits = decidingBits(decision, acs);
    if (decision === PeerDecision.Blocked) {
      this.#violate(fn, REASON["function-egress-blocked"], bits);
      return;
    }
    if (decision === PeerDecision.Redirect) {
      this.#hop(fn, REASON["function-redirected"], bits, unknown);
      return;
    }
    const reason =
      decision === PeerDecision.Direct
        ? REASON["function-peer"]
        : decision === PeerDecision.Translated
          ? REASON["function-peer-translated"]
          : REASON["function-peer-egress-allowed"];
    this.#hop(fn, reason, bits, unknown);
    this.#deliver(entry);
  }

  #meetSwitch(fn: number): void {
    const m = this.#m;
    const acs = m.acs[fn] as number;
    const unknown = this.#acsUnknown(fn);
    const entry = this.#find(fn);
    const owner = this.#ownerOf(entry);
    if (owner === fn) {
      if (m.role[fn] !== Role.DownstreamPort) return;
      if ((acs & Acs.UF) !== 0) this.#hop(fn, REASON["own-egress-forwarded"], Acs.UF, unknown);
      else this.#end(fn, Outcome.UnsupportedRequest, REASON["own-egress-unsupported"]);
      return;
    }
    if (owner === NONE) {
      if (this.#insideWindowAbove(fn)) {
        this.#end(fn, Outcome.UnsupportedRequest, REASON["inside-window-unclaimed"]);
      } else this.#hop(fn, REASON["no-peer-claims"], 0, false);
      return;
    }
    const decision = this.#decide(fn, owner);
    const bits = decidingBits(decision, acs);
    if (decision === PeerDecision.Blocked) {
      this.#violate(fn, REASON["peer-egress-blocked"], bits);
    } else if (decision === PeerDecision.Redirect) {
      this.#hop(fn, REASON["peer-redirected"], bits, unknown);
    } else {
      this.#hop(fn, switchReason(decision), bits, unknown);
      this.#deliver(entry);
    }
  }

  /**
   * A conventional bus: whoever claims the address takes it; the bridge above claims what is
   * outside its windows.
   */
  #meetShared(fn: number): void {
    const entry = this.#find(fn);
    const owner = this.#ownerOf(entry);
    if (owner === fn) {
      this.#end(fn, Outcome.UnsupportedRequest, REASON["own-egress-unsupported"]);
    } else if (owner !== NONE) {
      this.#hop(fn, REASON["bus-peer"], 0, false);
      this.#deliver(entry);
    } else if (this.#insideWindowAbove(fn)) {
      this.#end(fn, Outcome.UnsupportedRequest, REASON["inside-window-unclaimed"]);
    }
  }

  #meetRoot(fn: number): void {
    const m = this.#m;
    const entry = this.#find(fn);
    const owner = this.#ownerOf(entry);
    if (owner === NONE) {
      this.#leave(fn, REASON["root-to-agent"], 0);
    } else if (owner === fn) {
      this.#meetOwnWindow(fn, entry);
    } else if (this.#areSiblings(fn, owner)) {
      if (this.#functionPeers) this.#meetSibling(fn, entry);
      if (this.outcome === Outcome.None) this.#leave(fn, REASON["root-no-peer-path"], 0);
    } else if (!this.#rootRoutes(fn, owner)) {
      this.#leave(fn, REASON["root-no-peer-path"], 0);
    } else {
      const acs = m.acs[fn] as number;
      const decision = this.#decide(fn, owner);
      const bits = decidingBits(decision, acs);
      if (decision === PeerDecision.Blocked) {
        this.#violate(fn, REASON["peer-egress-blocked"], bits);
      } else if (decision === PeerDecision.Redirect) {
        this.#leave(fn, REASON["root-redirected"], bits);
      } else {
        this.#hop(fn, rootReason(decision), bits, this.#acsUnknown(fn));
        this.#deliver(entry);
      }
    }
  }

  /** On a root bus: the address belongs to the function that presents the request. */
  #meetOwnWindow(fn: number, entry: number): void {
    const m = this.#m;
    if (m.decoder.bar[entry] !== WINDOW) this.#leave(fn, REASON["root-to-agent"], 0);
    else if (m.role[fn] === Role.RootPort && ((m.acs[fn] as number) & Acs.UF) !== 0) {
      this.#leave(fn, REASON["root-own-egress-redirected"], Acs.UF);
    } else this.#end(fn, Outcome.UnsupportedRequest, REASON["own-egress-unsupported"]);
  }

  /**
   * Functions of one slot of a root bus that are no ports: paths between them are the device's own.
   */
  #areSiblings(fn: number, owner: number): boolean {
    const m = this.#m;
    return m.device[fn] === m.device[owner] && !isRootPort(m, fn) && !isRootPort(m, owner);
  }

  #rootRoutes(fn: number, owner: number): boolean {
    const m = this.#m;
    return this.#rootPeers === 2 || (this.#rootPeers === 1 && m.domain[fn] === m.domain[owner]);
  }

  /** Crosses from the domain of `fn` to the bridge above it. NONE when the journey ends. */
  #climb(fn: number): number {
    const m = this.#m;
    const domain = m.domain[fn] as number;
    const bridge = m.bridge[domain] as number;
    const flags = m.flags[fn] as number;
    if (this.#prefix && m.role[fn] === Role.UpstreamPort && (flags & Flag.BlocksPrefix) !== 0) {
      return this.#end(fn, Outcome.PrefixBlocked, REASON["prefix-egress-blocked"]);
    }
    if (bridge === NONE) return this.#leave(fn, REASON["above-unknown"], 0);
    if (this.#prefix && !this.#takesPrefix(bridge)) return NONE;
    if (((m.flags[bridge] as number) & Flag.BusMasterOff) !== 0) {
      return this.#end(bridge, Outcome.UnsupportedRequest, REASON["bus-master-off"]);
    }
    switch (m.place[domain]) {
      case Place.Link:
        return this.#enterPort(bridge);
      case Place.Switch:
        this.#hop(bridge, REASON["upstream-port-forwards"], 0, false);
        return bridge;
      default:
        return this.#enterBridge(bridge);
    }
  }

  /** A port receives from the link below it. */
  #enterPort(port: number): number {
    const m = this.#m;
    const acs = m.acs[port] as number;
    const secondary = m.secondary[port] as number;
    const subordinate = m.subordinate[port] as number;
    if (failsSourceValidation(acs, this.requester, secondary, subordinate)) {
      return this.#violate(port, REASON["source-validation-failed"], Acs.SV);
    }
    if (failsTranslationBlocking(acs, this.addressType === Untranslated)) {
      return this.#violate(port, REASON["translation-blocked"], Acs.TB);
    }
    if (m.role[port] === Role.PciToPcie) return this.#enterBridge(port);
    this.#hop(port, REASON.accepted, acs & (Acs.SV | Acs.TB), this.#acsUnknown(port));
    return port;
  }

  /**
   * A bridge takes a request over from a conventional bus, or onto one: address types do not exist
   * there, and the requester ID becomes the bridge's (from PCI Express upwards its secondary bus,
   * device 0, function 0).
   */
  #enterBridge(bridge: number): number {
    const m = this.#m;
    this.addressType = Untranslated;
    if (((m.flags[bridge] as number) & Flag.KeepsRequester) !== 0) {
      this.#hop(bridge, REASON["requester-kept"], 0, false);
      return bridge;
    }
    this.requester =
      m.role[bridge] === Role.PcieToPci
        ? (m.secondary[bridge] as number) << 8
        : (m.rid[bridge] as number);
    this.#hop(bridge, REASON["requester-replaced"], 0, false);
    return bridge;
  }

  /** Hands the request to the owner of `entry` and on down through windows to a BAR. */
  #deliver(entry: number): void {
    const m = this.#m;
    let claim = entry;
    for (;;) {
      const owner = m.decoder.owner[claim] as number;
      if (this.#prefix && !this.#takesPrefix(owner)) return;
      if (((m.flags[owner] as number) & Flag.MemoryOff) !== 0) {
        this.#end(owner, Outcome.UnsupportedRequest, REASON["memory-space-off"]);
        return;
      }
      if (m.decoder.bar[claim] !== WINDOW) {
        this.#hop(owner, REASON["bar-claims"], 0, false);
        this.at = owner;
        this.bar = m.decoder.bar[claim] as number;
        this.outcome = Outcome.Peer;
        return;
      }
      const flags = m.flags[owner] as number;
      if (
        this.#prefix &&
        facesDownstream(m.role[owner] as Role) &&
        (flags & Flag.BlocksPrefix) !== 0
      ) {
        this.#end(owner, Outcome.PrefixBlocked, REASON["prefix-egress-blocked"]);
        return;
      }
      this.#hop(owner, REASON["window-claims"], 0, (flags & Flag.RoleGuessed) !== 0);
      const below = m.below[owner] as number;
      const next =
        below === NONE ? UNCLAIMED : m.decoder.find(m.table[below] as number, this.#address);
      // A switch's inner bus also lists its upstream port's registers; from above those are found
      // before.
      if (next === UNCLAIMED || m.decoder.owner[next] === owner) {
        this.#end(owner, Outcome.UnsupportedRequest, REASON["nobody-below"]);
        return;
      }
      claim = next;
    }
  }

  /** Whether a prefix may pass `fn`, which receives it; ends the journey when not. */
  #takesPrefix(fn: number): boolean {
    const m = this.#m;
    const role = m.role[fn];
    const express = m.functions[fn]?.express !== null;
    const conventional =
      role === Role.PcieToPci || role === Role.PciToPcie || role === Role.PciBridge;
    if (((m.flags[fn] as number) & Flag.NoPrefix) !== 0 && express) {
      this.#end(fn, Outcome.Malformed, REASON["prefix-not-supported"]);
    } else if (conventional || !express) {
      this.#end(fn, Outcome.PrefixBlocked, REASON["prefix-conventional"]);
    } else return true;
    return false;
  }

  #find(fn: number): number {
    const m = this.#m;
    return m.decoder.find(m.table[m.domain[fn] as number] as number, this.#address);
  }

  #ownerOf(entry: number): number {
    return entry === UNCLAIMED ? NONE : (this.#m.decoder.owner[entry] as number);
  }

  /** The bridge above forwards this address down to the bus of `fn`. */
  #insideWindowAbove(fn: number): boolean {
    const m = this.#m;
    const bridge = m.bridge[m.domain[fn] as number] as number;
    if (bridge === NONE) return false;
    const entry = this.#find(bridge);
    return this.#ownerOf(entry) === bridge && m.decoder.bar[entry] === WINDOW;
  }

  #decide(source: number, target: number): PeerDecision {
    const translated = this.addressType === Translated;
    return decidePeer(this.#m.acs[source] as number, translated, this.#m.egress(source, target));
  }

  #acsUnknown(fn: number): boolean {
    return ((this.#m.flags[fn] as number) & Flag.AcsUnknown) !== 0;
  }

  #leave(fn: number, reason: number, bits: number): typeof NONE {
    this.#hop(fn, reason, bits, this.#acsUnknown(fn));
    const owner = this.#m.owner[this.#m.domain[fn] as number] as number;
    if (owner !== NONE) {
      this.requester = this.#m.rid[owner] as number;
      this.#hop(owner, REASON["segment-owner"], 0, false);
    }
    this.at = owner === NONE ? fn : owner;
    this.outcome = Outcome.TranslationAgent;
    return NONE;
  }

  #violate(fn: number, reason: number, bits: number): typeof NONE {
    this.#hop(fn, reason, bits, false);
    this.at = fn;
    this.bits = bits;
    this.outcome = Outcome.AcsViolation;
    return NONE;
  }

  #end(fn: number, outcome: Outcome, reason: number): typeof NONE {
    this.#hop(fn, reason, 0, false);
    this.at = fn;
    this.outcome = outcome;
    return NONE;
  }

  #hop(fn: number, reason: number, bits: number, unknown: boolean): void {
    const at = this.hopCount * HOP_SIZE;
    this.hops[at] = fn;
    this.hops[at + 1] = this.#m.domain[fn] as number;
    this.hops[at + 2] = reason;
    this.hops[at + 3] = bits;
    this.hops[at + 4] = unknown ? 1 : 0;
    this.hopCount++;
  }
}

function isRootPort(m: RouteModel, fn: number): boolean {
  return m.role[fn] === Role.RootPort;
}

function switchReason(decision: PeerDecision): number {
  if (decision === PeerDecision.Translated) return REASON["switch-peer-translated"];
  return decision === PeerDecision.Direct
    ? REASON["switch-peer"]
    : REASON["switch-peer-egress-allowed"];
}

function rootReason(decision: PeerDecision): number {
  if (decision === PeerDecision.Translated) return REASON["root-peer-translated"];
  return decision === PeerDecision.Direct
    ? REASON["root-peer"]
    : REASON["root-peer-egress-allowed"];
}
