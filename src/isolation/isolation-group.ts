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
import { FunctionsBelow } from "./functions-below.js";
import type { P2pGraph, P2pSource, P2pTarget, P2pTurn, TurnKind } from "./p2p-graph-types.js";
import { type Join, type Partition, partitionOf } from "./partition.js";
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

const NO_GROUP = -1;
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
  readonly #fabric: Fabric;
  readonly #below: FunctionsBelow;
  /** By index: 1 for ports whose whole subtree is joined already. */
  readonly #whole: Uint8Array;
  readonly #sets: DisjointSets;
  readonly #joins: Join[] = [];
  #linuxJoins: readonly Join[] = [];

  constructor(fabric: Fabric) {
    this.#fabric = fabric;
    this.#sets = new DisjointSets(fabric.functions.length);
    this.#whole = new Uint8Array(fabric.functions.length);
    this.#below = new FunctionsBelow(fabric);
  }

  addLinux(linux: Partition): void {
    for (const join of linux.joins) this.#union(join.a, join.b);
    this.#linuxJoins = linux.joins;
    // Joins explain; membership decides.
    for (const group of linux.groups) {
      if (group.length === 1) continue;
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
      const allowed = turn.uniform ? source.port !== target.port : turn.allows(source, target);
      if (allowed) {
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
      if (this.#whole[at.index] === 1) continue;
      this.#whole[at.index] = 1;
      for (const fn of this.#below.of(at)) {
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
    const x = this.#fabric.indexOf(a);
    const y = this.#fabric.indexOf(b);
    return x >= 0 && y >= 0 && this.#sets.union(x, y);
  }

  result(linux: Partition): DeviceCentricGroups {
    const { functions, byAddress } = this.#fabric;
    const numberOf = new Int32Array(functions.length);
    const outside: PciFunction[] = [];
    for (const fn of byAddress) {
      const isGrouped = linux.groupOf.has(fn.bdf);
      numberOf[fn.index] = isGrouped ? this.#sets.find(fn.index) : NO_GROUP;
      if (!isGrouped) outside.push(fn);
    }
    const { ungrouped } = linux;
    const joins = this.#linuxJoins.concat(this.#joins);
    const partition = partitionOf("device-centric", this.#fabric, numberOf, joins, ungrouped);
    const outsiders = this.#outsiders(outside, partition);
    return { partition, enlargements: enlargements(partition, linux, this.#joins), outsiders };
  }

  /** `outside`: functions without a Linux group, by address. */
  #outsiders(outside: readonly PciFunction[], partition: Partition): Map<number, readonly Bdf[]> {
    const byGroup = new Map<number, Bdf[]>();
    if (outside.length === 0) return byGroup;
    const groupOfSet = new Map<number, number>();
    partition.groups.forEach((members, group) => {
      groupOfSet.set(this.#sets.find(this.#fabric.indexOf(members[0] as Bdf)), group);
    });
    for (const fn of outside) {
      const group = groupOfSet.get(this.#sets.find(fn.index));
      if (group === undefined) continue;
      const list = byGroup.get(group);
      if (list === undefined) byGroup.set(group, [fn.bdf]);
      else list.push(fn.bdf);
    }
    return byGroup;
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
