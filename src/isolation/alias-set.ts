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
import type { Bdf } from "../units/index.js";
import { DisjointSets } from "./disjoint-sets.js";
import type { Evidence } from "./evidence.js";
import { CITE_IORT, foldedStreamOf } from "./firmware-alias.js";
import type { HostFacts } from "./host-facts.js";
import type { Join } from "./partition.js";
import type { AliasSets, RequesterId } from "./report-types.js";
import { type RequesterIds, requesterKey } from "./requester-ids.js";

export const CITE_UNMATCHED = "device-centric rules: an IOMMU without requester matching";

/** Linear in the sizes of the requester-ID sets. */
export function aliasSets(fabric: Fabric, ids: RequesterIds, facts: HostFacts): AliasSets {
  const functions = [...fabric.functions].sort((a, b) => a.bdf - b.bdf);
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
  return index(functions, sets, joins);
}

type JoinFunction = (a: number, b: number, because: () => readonly Evidence[]) => void;

function joinByRequester(functions: readonly PciFunction[], ids: RequesterIds, join: JoinFunction) {
  // The first function seen with a number stands for all that use it.
  const holder = new Map<number, { at: number; id: RequesterId }>();
  functions.forEach((fn, at) => {
    for (const id of ids.of(fn).ids) {
      const key = requesterKey(id);
      const first = holder.get(key);
      if (first === undefined) holder.set(key, { at, id });
      else join(first.at, at, () => sharedBecause(first.id, id));
    }
  });
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

function index(functions: readonly PciFunction[], sets: DisjointSets, joins: Join[]): AliasSets {
  const members = sets.sets().map((set) => set.map((i) => (functions[i] as PciFunction).bdf));
  const setOf = new Map<Bdf, number>();
  members.forEach((set, number) => {
    for (const bdf of set) setOf.set(bdf, number);
  });
  return { sets: members, setOf, joins };
}
