/**
 * Alias sets: functions that the IOMMU cannot tell apart, so they must use one address space for
 * requests without PASID.
 *
 * Two functions are in one set when their requester-ID sets have a number in common (also a number
 * that no present function has: a phantom function, a function 1 that the device hides), when
 * firmware folds both into one stream, or when the IOMMU does not look at requester IDs at all. The
 * relation is closed under chains. Sets partition all functions, bridges included: a conventional
 * bridge sends with the very number that its devices appear under.
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import { NumberMap } from "../units/index.js";
import { DisjointSets } from "./disjoint-sets.js";
import type { Evidence } from "./evidence.js";
import { CITE_IORT, foldedStreamOf } from "./firmware-alias.js";
import type { HostFacts } from "./host-facts.js";
import { type Join, setsByNumber } from "./partition.js";
import type { AliasSets, RequesterId } from "./report-types.js";
import { type RequesterIds, requesterKey } from "./requester-ids.js";

export const CITE_UNMATCHED = "device-centric rules: an IOMMU without requester matching";

/** Linear in the sizes of the requester-ID sets. */
export function aliasSets(fabric: Fabric, ids: RequesterIds, facts: HostFacts): AliasSets {
  const functions = fabric.byAddress;
  const sets = new DisjointSets(functions.length);
  const joins: Join[] = [];
  const join = (a: number, b: number, because: () => readonly Evidence[]): void => {
    if (!sets.union(a, b)) return;
    const left = functions[a] as PciFunction;
    const right = functions[b] as PciFunction;
    joins.push({ a: left.bdf, b: right.bdf, because: because() });
  };
  joinByRequester(functions, ids, join);
  joinByStream(functions, facts, join);
  if (facts.requesterMatching === false) {
    for (let i = 1; i < functions.length; i++) {
      const at = (functions[i] as PciFunction).bdf;
      join(0, i, () => [{ kind: "iommu-unmatched", at, cite: CITE_UNMATCHED }]);
    }
  }
  return new NumberedAliasSets(fabric, sets, joins);
}

type JoinFunction = (a: number, b: number, because: () => readonly Evidence[]) => void;

function joinByRequester(functions: readonly PciFunction[], ids: RequesterIds, join: JoinFunction) {
  // The first function seen with a number stands for all that use it.
  const holder = new NumberMap(functions.length);
  const keys: number[] = [];
  functions.forEach((fn, at) => {
    const count = ids.keysOf(fn, keys);
    for (let i = 0; i < count; i++) {
      const key = keys[i] as number;
      const first = holder.add(key, at);
      if (first < 0) continue;
      join(first, at, () => {
        const other = functions[first] as PciFunction;
        return sharedBecause(idOf(ids, other, key), idOf(ids, fn, key));
      });
    }
  });
}

function idOf(ids: RequesterIds, fn: PciFunction, key: number): RequesterId {
  return ids.of(fn).ids.find((id) => requesterKey(id) === key) as RequesterId;
}

/** Why two functions have one number: the reasons of both, once each; an own number needs none. */
function sharedBecause(a: RequesterId, b: RequesterId): Evidence[] {
  const out: Evidence[] = [];
  for (const because of [a.because, b.because]) {
    if (because === undefined) continue;
    if (!out.some((e) => e.kind === because.kind && e.at === because.at)) out.push(because);
  }
  return out;
}

function joinByStream(functions: readonly PciFunction[], facts: HostFacts, join: JoinFunction) {
  if (facts.iort === undefined) return;
  const streamOfSegment = new Map<number, string | undefined>();
  const holder = new Map<string, number>();
  functions.forEach((fn, at) => {
    const segment = fn.segment;
    if (!streamOfSegment.has(segment)) streamOfSegment.set(segment, foldedStreamOf(facts, segment));
    const stream = streamOfSegment.get(segment);
    if (stream === undefined) return;
    const first = holder.get(stream);
    if (first === undefined) holder.set(stream, at);
    else {
      const because: Evidence = {
        kind: "alias-firmware",
        at: fn.bdf,
        detail: "IORT single mapping",
        cite: CITE_IORT,
      };
      join(first, at, () => [because]);
    }
  });
}

/** Lists of members are made when they are first read: groups need none of them. */
class NumberedAliasSets implements AliasSets {
  readonly joins: readonly Join[];
  readonly #fabric: Fabric;
  /** Over places in address order. */
  readonly #joined: DisjointSets;
  #made: Pick<AliasSets, "sets" | "setOf"> | undefined;

  constructor(fabric: Fabric, joined: DisjointSets, joins: readonly Join[]) {
    this.joins = joins;
    this.#fabric = fabric;
    this.#joined = joined;
  }

  get sets(): AliasSets["sets"] {
    return this.#make().sets;
  }

  get setOf(): AliasSets["setOf"] {
    return this.#make().setOf;
  }

  #make(): Pick<AliasSets, "sets" | "setOf"> {
    if (this.#made === undefined) {
      const { byAddress } = this.#fabric;
      const numberOf = new Int32Array(byAddress.length);
      byAddress.forEach((fn, at) => {
        numberOf[fn.index] = this.#joined.find(at);
      });
      this.#made = setsByNumber(this.#fabric, numberOf);
    }
    return this.#made;
  }
}
