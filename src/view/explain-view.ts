/**
 * Why two devices are in one group or not: the evidence (contract `ioasis/explain/1`), the
 * sentences, what would change it, and, where only the fabric joins them, the transaction that
 * proves it.
 */
import {
  type Analysis,
  distinctEvidence,
  type Evidence,
  type EvidenceKind,
  type Join,
  joinPath,
  type Partition,
  separationEvidence,
} from "../isolation/index.js";
import type { Bdf } from "../units/index.js";
import { changeText } from "./change-text.js";
import { condensedSentences, enumerate } from "./condense.js";
import { callDevice } from "./device-name.js";
import { type EvidenceJson, evidenceJson } from "./evidence-json.js";

export interface ExplainPayload {
  readonly schema: "ioasis/explain/1";
  readonly same: boolean;
  readonly because: readonly EvidenceJson[];
  readonly enlargedBy: readonly EvidenceJson[];
}

export interface Explanation {
  readonly a: Bdf;
  /** Undefined: the question was about one device and its group. */
  readonly b: Bdf | undefined;
  /** In one group under the rules of the analysis (one device: it has company). */
  readonly same: boolean;
  readonly because: readonly Evidence[];
  /** What joins them in the fabric although the Linux rules keep them apart. */
  readonly enlargedBy: readonly Evidence[];
  /** The joins that the Linux rules do not make, for a proof. */
  readonly enlargingJoins: readonly Join[];
}

/**
 * Why two devices share a group of the analysis' rules or do not, and what joins them beyond Linux.
 */
export function explainPair(analysis: Analysis, a: Bdf, b: Bdf): Explanation {
  const path = joinPath(analysis.partition, a, b);
  const same = path !== undefined;
  const because = same
    ? distinctEvidence(path.flatMap((join) => join.because))
    : separationEvidence(analysis, a, b);
  const enlargingJoins = joinsLinuxLacks(analysis, joinPath(analysis.deviceCentric, a, b) ?? []);
  const enlargedBy = distinctEvidence(enlargingJoins.flatMap((join) => join.because));
  return { a, b, same, because, enlargedBy, enlargingJoins };
}

/** The evidence of a device's whole group. */
export function explainOne(analysis: Analysis, a: Bdf): Explanation {
  const { partition, deviceCentric } = analysis;
  const ungrouped = partition.ungrouped.find((u) => u.device === a);
  const joins = joinsOfGroup(partition, a);
  const alone = membersOf(partition, a).length <= 1;
  const because =
    ungrouped !== undefined
      ? ungrouped.because
      : alone
        ? separationEvidence(analysis, a, a)
        : distinctEvidence(joins.flatMap((join) => join.because));
  const enlargingJoins = joinsLinuxLacks(analysis, joinsOfGroup(deviceCentric, a));
  const enlargedBy = distinctEvidence(enlargingJoins.flatMap((join) => join.because));
  return { a, b: undefined, same: !alone, because, enlargedBy, enlargingJoins };
}

/** `ioasis/explain/1`. */
export function explainPayload(explanation: Explanation): ExplainPayload {
  return {
    schema: "ioasis/explain/1",
    same: explanation.same,
    because: explanation.because.map(evidenceJson),
    enlargedBy: explanation.enlargedBy.map(evidenceJson),
  };
}

/** Evidence as sentences, in order, without repeats. */
export function sentences(analysis: Analysis, evidence: readonly Evidence[]): string[] {
  return condensedSentences(evidence, (bdf) => callDevice(analysis.fabric, bdf));
}

/**
 * Facts that join two functions in hardware, whatever the rules make of them. Where the rules keep
 * the two apart such a fact is no reason for it but a reservation.
 */
export const RESERVATIONS: ReadonlySet<EvidenceKind> = new Set([
  "switch-routes-peer",
  "function-routes-peer",
  "root-complex-routes-peer",
  "bus-is-shared",
]);

/** `because` of a separation: what keeps the two apart, and what may join them all the same. */
export function reasonsAndReservations({ same, because }: Explanation): {
  readonly reasons: readonly Evidence[];
  readonly reservations: readonly Evidence[];
} {
  if (same) return { reasons: because, reservations: [] };
  return {
    reasons: because.filter((e) => !RESERVATIONS.has(e.kind)),
    reservations: because.filter((e) => RESERVATIONS.has(e.kind)),
  };
}

/** What would change it, without repeats. Advice that differs only in the device is given once. */
export function changes(analysis: Analysis, evidence: readonly Evidence[]): string[] {
  const out = new Map<string, string>();
  const placesOf = new Map<string, Set<Bdf>>();
  for (const e of evidence) {
    const key = `${e.kind} ${e.bits ?? ""}`;
    placesOf.set(key, (placesOf.get(key) ?? new Set()).add(e.at));
  }
  for (const e of evidence) {
    const key = `${e.kind} ${e.bits ?? ""}`;
    const places = [...(placesOf.get(key) ?? [])].map((bdf) => callDevice(analysis.fabric, bdf));
    const call = (bdf: Bdf): string =>
      bdf === e.at ? enumerate(places) : callDevice(analysis.fabric, bdf);
    const text = changeText(e, call);
    if (text !== undefined && !out.has(key)) out.set(key, text);
  }
  return [...new Set(out.values())];
}

/** The group of a device, itself included; empty when it has none. */
export function membersOf(partition: Partition, device: Bdf): readonly Bdf[] {
  const id = partition.groupOf.get(device);
  return id === undefined ? [] : (partition.groups[id] ?? []);
}

function joinsOfGroup(partition: Partition, device: Bdf): Join[] {
  const id = partition.groupOf.get(device);
  if (id === undefined) return [];
  return partition.joins.filter((join) => partition.groupOf.get(join.a) === id);
}

/** Joins between functions that the Linux rules put into different groups. */
function joinsLinuxLacks(analysis: Analysis, joins: readonly Join[]): Join[] {
  const linux = analysis.partitionUnder(analysis.linuxRules);
  return joins.filter((join) => {
    const a = linux.groupOf.get(join.a);
    return a === undefined || a !== linux.groupOf.get(join.b);
  });
}
