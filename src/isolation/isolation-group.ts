/**
 * Device-centric groups: which functions can reach each other without the IOMMU seeing it, or be
 * taken for each other by it. Connected components over functions and ports, joined by
 *
 *   1. every pair that the linux-7.2 rules put together, so that a group is never smaller than
 *      Linux's
 *   2. alias sets
 *   3. certain edges of the P2P graph; with `strict` the implementation-defined ones too
 *
 * An edge joins all below its source port (any of them may send the request) with all below its
 * target port
 * (the request is passed down by address, whatever ACS bits it meets there). Direction is dropped:
 * when A can write into B unseen, whoever owns A owns B's registers, so the two must have one
 * owner.
 *
 * Functions that have no Linux group (no IOMMU covers them) get none here either: nobody can be
 * given them. Still they take part in joining, because the wires are there whatever the firmware's
 * table says; the group that such a function is wired to names it among its outsiders.
 *
 * Joins form a spanning structure: Linux's own first, then the missing ones, so that the path
 * between two functions of different Linux groups passes over the very ports that let their
 * requests through. Cost: linear in functions, turn members and pairs that a turn forbids.
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { DisjointSets } from "./disjoint-sets.js";
import type { Evidence, EvidenceKind } from "./evidence.js";
import type { P2pGraph, P2pSource, P2pTarget, P2pTurn, TurnKind } from "./p2p-graph-types.js";
import { type Join, makePartition, type Partition } from "./partition.js";
import type { AliasSets, Enlargement } from "./report-types.js";

/** A join that the P2P graph made; `proofOf` shows a transaction for it. */
export interface EdgeJoin extends Join {
  readonly turn: P2pTurn;
  readonly source: P2pSource;
  readonly target: P2pTarget;
}

/** Whether the P2P graph made the join. */
export function isEdgeJoin(join: Join): join is EdgeJoin {
  return "turn" in join;
}

export interface DeviceCentricInput {
  readonly fabric: Fabric;
  /** Groups under linux-7.2. */
  readonly linux: Partition;
  readonly aliases: AliasSets;
  readonly p2p: P2pGraph;
  readonly strict: boolean;
}

export interface DeviceCentricGroups {
  readonly partition: Partition;
  readonly enlargements: readonly Enlargement[];
  readonly outsiders: ReadonlyMap<number, readonly Bdf[]>;
}

export const EDGE_KIND: Readonly<Record<TurnKind, EvidenceKind>> = {
  switch: "switch-routes-peer",
  function: "function-routes-peer",
  root: "root-complex-routes-peer",
  bus: "bus-is-shared",
};

const CITE_BELOW = "PCIe 6 § 2.2.4.1";
const CITE_LINUX = "Linux pci_device_group()";

/** The groups by the definition at the head of this file. */
export function deviceCentricGroups(input: DeviceCentricInput): DeviceCentricGroups {
  const work = new Joining(input.fabric);
  work.addLinux(input.linux);
  for (const join of input.aliases.joins) work.add(join);
  for (const turn of input.p2p.turns) {
    if (turn.certainty === "certain" || input.strict) work.addTurn(turn);
  }
  return work.result(input.linux);
}

class Joining {
  readonly #functions: readonly PciFunction[];
  readonly #indexOf = new Map<Bdf, number>();
  readonly #below = new Map<PciFunction, PciFunction[]>();
  /** Ports whose whole subtree is joined already. */
  readonly #whole = new Set<PciFunction>();
  readonly #sets: DisjointSets;
  readonly #joins: Join[] = [];
  #linuxJoins: readonly Join[] = [];

  constructor(fabric: Fabric) {
    this.#functions = fabric.functions;
    this.#sets = new DisjointSets(fabric.functions.length);
    fabric.functions.forEach((fn, i) => {
      this.#indexOf.set(fn.bdf, i);
      const bridge = fn.bus.bridge;
      if (bridge === undefined) return;
      const list = this.#below.get(bridge);
      if (list === undefined) this.#below.set(bridge, [fn]);
      else list.push(fn);
    });
  }

  addLinux(linux: Partition): void {
    for (const join of linux.joins) this.#union(join.a, join.b);
    this.#linuxJoins = linux.joins;
    // Joins explain; membership decides.
    for (const group of linux.groups) {
      const first = group[0] as Bdf;
      for (const member of group) {
        if (!this.#union(first, member)) continue;
        const because: Evidence = {
          kind: "linux-groups-them",
          at: member,
          with: first,
          cite: CITE_LINUX,
        };
        this.#joins.push({ a: first, b: member, because: [because] });
      }
    }
  }

  add(join: Join): void {
    if (this.#union(join.a, join.b)) this.#joins.push(join);
  }

  /**
   * Joins every allowed pair of the turn. Walks the pairs as a search over what has not been
   * reached yet, so that a turn where all pairs are allowed costs its members, not their product.
   */
  addTurn(turn: P2pTurn): void {
    let sources: P2pSource[] = [...turn.sources];
    let targets: P2pTarget[] = [...turn.targets];
    for (let seed = sources.shift(); seed !== undefined; seed = sources.shift()) {
      const queue: (P2pSource | P2pTarget)[] = [seed];
      for (let i = 0; i < queue.length; i++) {
        const here = queue[i] as P2pSource | P2pTarget;
        if ("windows" in here) {
          sources = this.#spread(sources, queue, (s) => [s, here], turn);
        } else targets = this.#spread(targets, queue, (t) => [here, t], turn);
      }
    }
  }

  /** Joins those of `rest` that are allowed, moves them to the queue and returns the others. */
  #spread<T extends P2pSource | P2pTarget>(
    rest: T[],
    queue: (P2pSource | P2pTarget)[],
    pair: (item: T) => [P2pSource, P2pTarget],
    turn: P2pTurn,
  ): T[] {
    const left: T[] = [];
    for (const item of rest) {
      const [source, target] = pair(item);
      if (turn.allows(source, target)) {
        this.#addEdge(turn, source, target);
        queue.push(item);
      } else left.push(item);
    }
    return left;
  }

  #addEdge(turn: P2pTurn, source: P2pSource, target: P2pTarget): void {
    if (this.#union(source.port.bdf, target.port.bdf)) {
      const join: EdgeJoin = {
        a: source.port.bdf,
        b: target.port.bdf,
        because: edgeEvidence(turn, source, target),
        turn,
        source,
        target,
      };
      this.#joins.push(join);
    }
    this.#joinBelow(source.port);
    // The bridge above the place is reached in its own registers only.
    if (target.port !== turn.bridge) this.#joinBelow(target.port);
  }

  #joinBelow(port: PciFunction): void {
    const stack = [port];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if (this.#whole.has(at)) continue;
      this.#whole.add(at);
      for (const fn of this.#below.get(at) ?? []) {
        if (this.#union(at.bdf, fn.bdf)) {
          const because: Evidence = {
            kind: "below-port",
            at: fn.bdf,
            with: at.bdf,
            cite: CITE_BELOW,
          };
          this.#joins.push({ a: at.bdf, b: fn.bdf, because: [because] });
        }
        stack.push(fn);
      }
    }
  }

  #union(a: Bdf, b: Bdf): boolean {
    const x = this.#indexOf.get(a);
    const y = this.#indexOf.get(b);
    return x !== undefined && y !== undefined && this.#sets.union(x, y);
  }

  result(linux: Partition): DeviceCentricGroups {
    const groups: Bdf[][] = [];
    const outside: Bdf[][] = [];
    for (const set of this.#sets.sets()) {
      const all = set.map((i) => (this.#functions[i] as PciFunction).bdf);
      const members = all.filter((bdf) => linux.groupOf.has(bdf));
      if (members.length === 0) continue;
      groups.push(members);
      outside.push(all.filter((bdf) => !linux.groupOf.has(bdf)).sort((a, b) => a - b));
    }
    const joins = [...this.#linuxJoins, ...this.#joins];
    const partition = makePartition("device-centric", groups, joins, linux.ungrouped);
    const outsiders = new Map<number, readonly Bdf[]>();
    groups.forEach((members, i) => {
      const group = partition.groupOf.get(members[0] as Bdf);
      const found = outside[i] as Bdf[];
      if (group !== undefined && found.length > 0) outsiders.set(group, found);
    });
    return { partition, enlargements: enlargements(partition, linux, this.#joins), outsiders };
  }
}

/**
 * From the port where the request turns to the port it is handed to, then why it may turn there.
 */
export function edgeEvidence(turn: P2pTurn, source: P2pSource, target: P2pTarget): Evidence[] {
  const kind = EDGE_KIND[turn.kind];
  const own = source.because.find((e) => e.kind === kind);
  const edge: Evidence = {
    kind,
    at: source.port.bdf,
    with: target.port.bdf,
    windows: target.windows,
    cite: own?.cite ?? "PCIe 6 § 2.2.4.1",
  };
  return [edge, ...source.because.filter((e) => e !== own)];
}

/** `added`: the joins beyond Linux's own; each merged two parts that were apart until then. */
function enlargements(
  partition: Partition,
  linux: Partition,
  added: readonly Join[],
): Enlargement[] {
  const byGroup = new Map<number, Join[]>();
  for (const join of added) {
    if (join.because.every((e) => e.kind === "linux-groups-them")) continue;
    // An outsider has no group of its own; a join to it shows with the group at its other end.
    const group = partition.groupOf.get(join.a) ?? partition.groupOf.get(join.b);
    if (group === undefined) continue;
    const list = byGroup.get(group);
    if (list === undefined) byGroup.set(group, [join]);
    else list.push(join);
  }
  const out: Enlargement[] = [];
  for (const [group, joins] of byGroup) {
    const linuxGroups = new Set<number>();
    for (const member of partition.groups[group] ?? []) {
      const id = linux.groupOf.get(member);
      if (id !== undefined) linuxGroups.add(id);
    }
    if (linuxGroups.size < 2) continue;
    const because = joins.flatMap((j) => j.because).filter((e) => e.kind !== "below-port");
    out.push({ group, linuxGroups: [...linuxGroups].sort((a, b) => a - b), joins, because });
  }
  return out.sort((a, b) => a.group - b.group);
}
