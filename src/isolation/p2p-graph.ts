/**
 * The P2P graph: derived from the routing model, so that it cannot disagree with what routing does.
 *
 * Theory. A request goes up until it turns. It can turn at four kinds of places: the inner bus of a
 * switch (routing by address is normative: certain), inside a multi-function device and inside the
 * root complex (both optional: implementation-defined), and on a conventional bus (shared:
 * certain). Whether a function lets requests turn is its ACS word (`decidePeer`); which peer takes
 * them is the decoder table of the place. So a turn is a list of sources, a list of targets with
 * windows, and a rule for the pairs.
 *
 * What the graph leaves out on purpose:
 *   - command bits: a driver turns them at will
 *   - Direct Translated P2P: translated addresses were given out by the translation agent
 *   - forged requester IDs: they change who is blamed, not where a request goes
 *   - I/O space: nothing that an IOMMU translates goes there
 *
 * A switch port that shows an ACS capability without Request Redirect breaks the specification;
 * Linux trusts it. Its edges are implementation-defined. A port whose ACS registers the capture
 * does not show is taken not to redirect, and its evidence says `acs-unknown`.
 *
 * Cost: O(ports and windows), plus the pairs of the few sources that have egress control on.
 */
import {
  Acs,
  type AcsInEffect,
  type Claim,
  decidePeer,
  type Fabric,
  Flag,
  hasUnknownBars,
  hasUnknownWindows,
  isDirect,
  NONE,
  type PciFunction,
  Place,
  Role,
  RouteModel,
  type RouteOptions,
} from "../pcie/index.js";
import { mergeSpans, type Span } from "../units/index.js";
import type { Evidence } from "./evidence.js";
import { type PairRule, Turn, type TurnMember } from "./p2p-graph-turn.js";
import type {
  Certainty,
  P2pGraph,
  P2pSource,
  P2pSourceAt,
  P2pTarget,
  P2pTargetAt,
  TurnKind,
} from "./p2p-graph-types.js";

export interface P2pGraphOptions {
  /**
   * ACS bits in effect where something other than the registers decides (a quirk), with its
   * evidence.
   */
  readonly effectiveAcs?:
    | ((
        fn: PciFunction,
      ) => { readonly word: number; readonly because: readonly Evidence[] } | undefined)
    | undefined;
  /** As for routing. Default "off". */
  readonly unknownAcs?: RouteOptions["unknownAcs"];
}

/** O(n log n) in functions and windows. */
export function buildP2pGraph(fabric: Fabric, options: P2pGraphOptions = {}): P2pGraph {
  const { effectiveAcs, unknownAcs } = options;
  return new GraphBuilder(new RouteModel(fabric, { effectiveAcs, unknownAcs }), options).build();
}

class GraphBuilder {
  readonly #m: RouteModel;
  readonly #options: P2pGraphOptions;
  readonly #turns: Turn[] = [];
  /** By table: the windows of each owner. */
  readonly #windows: Map<number, Map<number, Span[]>> = new Map();

  constructor(model: RouteModel, options: P2pGraphOptions) {
    this.#m = model;
    this.#options = options;
  }

  build(): P2pGraph {
    const m = this.#m;
    const roots: number[] = [];
    for (let domain = 0; domain < m.buses.length; domain++) {
      switch (m.place[domain]) {
        case Place.Switch:
          this.#addSwitch(domain);
          break;
        case Place.Link:
          this.#addDevice(m.members[domain] ?? [], domain);
          break;
        case Place.Shared:
          this.#addTurn("bus", "certain", domain, m.members[domain] ?? [], "self");
          break;
        default:
          roots.push(domain);
          this.#addRootBus(domain);
      }
    }
    if (roots.length > 1) {
      const all = roots.flatMap((domain) => m.members[domain] ?? []);
      this.#addTurn("root", "implementation-defined", NONE, all, "domain");
    }
    return finish(this.#turns, m);
  }

  #addSwitch(domain: number): void {
    const m = this.#m;
    const members = m.members[domain] ?? [];
    const bridge = m.bridge[domain] as number;
    const targets = bridge === NONE ? members : [...members, bridge];
    const guessed = bridge !== NONE && ((m.flags[bridge] as number) & Flag.RoleGuessed) !== 0;
    const isOpen = (i: number): boolean => guessed || m.acsInEffect[i]?.open === true;
    // An endpoint on an inner bus has no port in front of it: its requests are on the switch's bus
    // at once.
    const open = members.filter((i) => isOpen(i) && m.role[i] !== Role.Endpoint);
    const closed = members.filter((i) => !open.includes(i));
    this.#addTurn("switch", "certain", domain, closed, "self", targets);
    this.#addTurn("switch", "implementation-defined", domain, open, "self", targets);
  }

  #addDevice(members: readonly number[], domain: number): void {
    if (members.length < 2) return;
    this.#addTurn("function", "implementation-defined", domain, members, "self");
  }

  #addRootBus(domain: number): void {
    const m = this.#m;
    const members = m.members[domain] ?? [];
    this.#addTurn("root", "implementation-defined", domain, members, "siblings");
    const devices = new Map<number, number[]>();
    for (const i of members) {
      if (m.role[i] === Role.RootPort) continue;
      const device = m.device[i] as number;
      const list = devices.get(device);
      if (list === undefined) devices.set(device, [i]);
      else list.push(i);
    }
    for (const list of devices.values()) this.#addDevice(list, domain);
  }

  #addTurn(
    kind: TurnKind,
    certainty: Certainty,
    domain: number,
    from: readonly number[],
    rule: PairRule,
    to: readonly number[] = from,
  ): void {
    const shared = kind === "bus";
    const sources: TurnMember<P2pSource>[] = [];
    for (const index of from) {
      if (!shared && !this.#letsTurn(index)) continue;
      sources.push(this.#member(index, this.#source(kind, index)));
    }
    if (sources.length === 0) return;
    const targets: TurnMember<P2pTarget>[] = [];
    for (const index of to) {
      const item = this.#target(domain, index);
      if (item !== undefined) targets.push(this.#member(index, item));
    }
    const m = this.#m;
    const bridge = domain === NONE ? NONE : (m.bridge[domain] as number);
    const egress = shared ? undefined : (s: number, t: number) => this.#egressAllows(s, t);
    const turn = new Turn({
      kind,
      certainty,
      bridge: bridge === NONE ? undefined : m.functions[bridge],
      sources,
      targets,
      rule,
      egress,
    });
    if (turn.edgeCount > 0) this.#turns.push(turn);
  }

  #member<T>(index: number, item: T): TurnMember<T> {
    const m = this.#m;
    return {
      item,
      index,
      // Root ports of one slot are peers through the root complex, not functions of one device.
      device: m.role[index] === Role.RootPort ? -2 - index : (m.device[index] as number),
      domain: m.domain[index] as number,
      selective: ((m.acs[index] as number) & Acs.EC) !== 0,
    };
  }

  /**
   * Some request of the function may turn: it does not redirect, or egress control decides peer by
   * peer.
   */
  #letsTurn(index: number): boolean {
    const acs = this.#m.acs[index] as number;
    return (acs & Acs.RR) === 0 || (acs & Acs.EC) !== 0;
  }

  #egressAllows(source: number, target: number): boolean {
    const m = this.#m;
    return isDirect(decidePeer(m.acs[source] as number, false, m.egress(source, target)));
  }

  #source(kind: TurnKind, index: number): P2pSource {
    const port = this.#m.functions[index] as PciFunction;
    const because: Evidence[] = [{ ...TURN_EVIDENCE[kind], at: port.bdf }];
    if (kind !== "bus") because.push(...this.#acsEvidence(port, index));
    return { port, because };
  }

  #acsEvidence(port: PciFunction, index: number): readonly Evidence[] {
    const acs = this.#m.acsInEffect[index] as AcsInEffect;
    const at = port.bdf;
    const cite = "PCIe 6 § 6.12.1";
    if (acs.basis === "vouched") return this.#options.effectiveAcs?.(port)?.because ?? [];
    if (acs.basis === "unknown") return [{ kind: "acs-unknown", at, bits: ["RR"], cite }];
    if (acs.basis === "absent") return [{ kind: "acs-capability-missing", at, bits: ["RR"], cite }];
    if ((acs.word & Acs.EC) !== 0)
      return [{ kind: "egress-control-allows", at, bits: ["EC"], cite }];
    const implemented = ((port.acs?.capability ?? Acs.RR) & Acs.RR) !== 0;
    const kind = implemented ? "acs-bits-off" : "acs-bits-not-implemented";
    return [{ kind, at, bits: ["RR"], cite }];
  }

  #target(domain: number, index: number): P2pTarget | undefined {
    const m = this.#m;
    const port = m.functions[index] as PciFunction;
    const table = domain === NONE ? 0 : (m.table[domain] as number);
    const own = this.#windowsOf(table).get(index) ?? NO_WINDOWS;
    const windows = own.length < 2 ? own : mergeSpans(own);
    // The bridge above a switch's inner bus is a target only for its registers.
    const above = domain !== NONE && m.bridge[domain] === index;
    const bridge = m.role[index] !== Role.Endpoint && !above;
    const unknown = hasUnknownBars(port) || (bridge && hasUnknownWindows(port));
    return windows.length > 0 || unknown ? { port, windows, unknown } : undefined;
  }

  #windowsOf(table: number): Map<number, Span[]> {
    let byOwner = this.#windows.get(table);
    if (byOwner === undefined) {
      byOwner = new Map();
      for (const { owner, first, last } of this.#m.decoder.entries(table) as Iterable<Claim>) {
        const list = byOwner.get(owner);
        if (list === undefined) byOwner.set(owner, [{ first, last }]);
        else list.push({ first, last });
      }
      this.#windows.set(table, byOwner);
    }
    return byOwner;
  }
}

const NO_WINDOWS: readonly Span[] = [];

const TURN_EVIDENCE = {
  switch: { kind: "switch-routes-peer", cite: "PCIe 6 § 2.2.4.1, § 6.12.1.1" },
  function: { kind: "function-routes-peer", cite: "PCIe 6 § 6.12.1.2" },
  root: { kind: "root-complex-routes-peer", cite: "PCIe 6 § 1.3.1" },
  bus: { kind: "bus-is-shared", cite: "PCI 3.0 § 3.2.2.3" },
} as const satisfies Record<TurnKind, Pick<Evidence, "kind" | "cite">>;

function finish(turns: readonly Turn[], m: RouteModel): P2pGraph {
  const edges = { certain: 0, implementationDefined: 0 };
  for (const turn of turns) {
    if (turn.certainty === "certain") edges.certain += turn.edgeCount;
    else edges.implementationDefined += turn.edgeCount;
  }
  return new TurnGraph(turns, m, edges);
}

/** Where each function takes part is looked up when first asked: groups do not ask. */
class TurnGraph implements P2pGraph {
  readonly turns: readonly Turn[];
  readonly edges: P2pGraph["edges"];
  readonly #m: RouteModel;
  #sourcesAt: Map<PciFunction, P2pSourceAt[]> | undefined;
  #targetsAt: Map<PciFunction, P2pTargetAt[]> | undefined;

  constructor(turns: readonly Turn[], m: RouteModel, edges: P2pGraph["edges"]) {
    this.turns = turns;
    this.#m = m;
    this.edges = edges;
  }

  get sourcesAt(): P2pGraph["sourcesAt"] {
    if (this.#sourcesAt === undefined) {
      this.#sourcesAt = new Map();
      for (const turn of this.turns) {
        for (const source of turn.sources) append(this.#sourcesAt, source.port, { turn, source });
      }
    }
    return this.#sourcesAt;
  }

  get targetsAt(): P2pGraph["targetsAt"] {
    if (this.#targetsAt === undefined) {
      this.#targetsAt = new Map();
      for (const turn of this.turns) {
        for (const target of turn.targets) append(this.#targetsAt, target.port, { turn, target });
      }
    }
    return this.#targetsAt;
  }

  functionsBelow(bridge: PciFunction): readonly PciFunction[] {
    const m = this.#m;
    const domain = m.below[m.indexOf(bridge)] as number;
    return (m.members[domain] ?? []).map((i) => m.functions[i] as PciFunction);
  }
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
