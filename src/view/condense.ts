/**
 * Evidence to sentences without tedium: facts of the same kind about several devices become one
 * sentence at the place of the first. What is left out of the text is still in the JSON.
 */
import type { Evidence, EvidenceKind } from "../isolation/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { bitList, type CallDevice, capital, evidenceText, quirkSince } from "./evidence-text.js";

type Plural = (devices: string, first: Evidence) => string;

const PLURAL: Partial<Record<EvidenceKind, Plural>> = {
  "path-not-isolated": (devices) =>
    `The paths from ${devices} up to the root complex do not isolate, ` +
    "so everything below each is in one group with it.",
  "acs-capability-missing": (devices) =>
    `${devices} have no Access Control Services (ACS) capability, ` +
    "so nothing makes them send their traffic up.",
  "acs-bits-on": (devices, e) =>
    e.bits === undefined || e.bits.length === 0
      ? `${devices} have ACS with every bit that isolation needs on or built in.`
      : `${devices} have ACS with ${bitList(e.bits)} on or built in.`,
  "acs-bits-off": (devices, e) =>
    `${devices} have ACS, but ${bitList(e.bits)} ${(e.bits?.length ?? 0) > 1 ? "are" : "is"} off.`,
  "acs-not-needed": (devices) =>
    `${devices} are single-function devices: they need no ACS of their own.`,
  "topology-unknown": (devices) =>
    `The capture does not show which bridges are above ${devices}, so a port that joins them to ` +
    "others cannot be seen.",
  "alone-in-slot": (devices) =>
    `${devices} are each the only function of their slot: there is nothing beside them to merge ` +
    "with.",
  "virtual-function-apart": (devices) =>
    `Linux never merges ${devices} with the functions of their slots: a virtual function never ` +
    "counts as one of several.",
  "quirk-isolates": (devices, e) =>
    `${devices} are known to isolate although their registers do not say so${quirkSince(e)}.`,
  "quirk-not-tested": (devices) =>
    `${devices} may be devices that the kernel treats specially; the capture does not identify ` +
    "them (no numeric ids), so that was not tested.",
  "prefix-not-supported": (devices) =>
    `${devices} do not support end-end TLP prefixes, in which a PASID travels.`,
  "prefix-support-unknown": (devices) =>
    `The capture does not show whether ${devices} support end-end TLP prefixes, in which a PASID ` +
    "travels.",
  "path-acs-off": (devices, e) =>
    `${devices} lack ${bitList(e.bits)}: a request with a PASID could be routed to a peer by its ` +
    "address.",
  "driver-blocks": (devices, e) =>
    `${devices} are bound to the kernel driver ${e.detail ?? "?"}: while they are, the group ` +
    "cannot be assigned.",
  "driver-unknown": (devices) => `The capture does not show which drivers ${devices} are bound to.`,
  "acs-unknown": (devices) => `The capture does not show the ACS capability of ${devices}.`,
  "not-pci-express": (devices) =>
    `${devices} are conventional PCI: without PCI Express there is no ACS, ATS or PASID.`,
};

/** One sentence per fact, or per kind where several devices share it; each once. */
export function condensedSentences(evidence: readonly Evidence[], call: CallDevice): string[] {
  const groups = new Map<string, Evidence[]>();
  for (const e of evidence) {
    const key = keyOf(e, call);
    const list = groups.get(key);
    if (list === undefined) groups.set(key, [e]);
    else list.push(e);
  }
  return [...groups.values()].map((list) => oneSentence(list, call));
}

/** Facts that say the same whichever of the two devices is named first. */
const MUTUAL: ReadonlySet<EvidenceKind> = new Set([
  "different-slots",
  "peers-isolated",
  "bus-is-shared",
  "linux-groups-them",
]);

/** What one sentence can tell together. */
function keyOf(e: Evidence, call: CallDevice): string {
  if (e.kind === "same-slot-not-isolated") return `${e.kind} ${slotOf(e.at)}`;
  if (e.kind === "sva-needs") return `${e.kind} ${e.at}`;
  if (MUTUAL.has(e.kind)) return `${e.kind} ${[e.at, e.with ?? e.at].sort((a, b) => a - b)}`;
  if (PLURAL[e.kind] === undefined) return evidenceText(e, call);
  // Its detail says which test failed; the sentence does not need it.
  if (e.kind === "path-acs-off") return `${e.kind} ${e.bits ?? ""}`;
  return `${e.kind} ${e.bits ?? ""} ${e.quirk ?? ""} ${e.detail ?? ""}`;
}

/** Bus and device, without the function. */
function slotOf(bdf: Bdf): string {
  return formatBdf(bdf).slice(0, -2);
}

function oneSentence(list: readonly Evidence[], call: CallDevice): string {
  const [first] = list as readonly [Evidence];
  if (first.kind === "same-slot-not-isolated") return sameSlot(list, call);
  if (first.kind === "sva-needs") {
    const needs = [...new Set(list.map((e) => e.capability ?? "this"))];
    return evidenceText({ ...first, capability: joinAnd(needs) }, call);
  }
  const devices = [...new Set(list.map((e) => e.at))];
  const plural = PLURAL[first.kind];
  if (devices.length === 1 || plural === undefined) return evidenceText(first, call);
  return capital(plural(enumerate(devices.map(call)), first));
}

function sameSlot(list: readonly Evidence[], call: CallDevice): string {
  const [first] = list as readonly [Evidence];
  const mates = list.flatMap((e) => (e.with === undefined ? [e.at] : [e.at, e.with]));
  const devices = [...new Set(mates)].sort((a, b) => a - b);
  if (devices.length <= 2) return evidenceText(first, call);
  const names = capital(enumerate(devices.map(call)));
  return `${names} are functions of one slot and none is kept from the others.`;
}

/**
 * "root port 0000:00:01.0", "root port 0000:00:01.1" → "root ports 0000:00:01.0 and 0000:00:01.1"
 */
export function enumerate(names: readonly string[]): string {
  const byRole = new Map<string, string[]>();
  for (const name of names) {
    const cut = name.lastIndexOf(" ");
    const role = name.slice(0, cut);
    byRole.set(role, [...(byRole.get(role) ?? []), name.slice(cut + 1)]);
  }
  const parts = [...byRole].map(([role, list]) =>
    list.length === 1 ? `${role} ${list[0]}` : `${plural(role)} ${joinAnd(list)}`,
  );
  return joinAnd(parts);
}

function plural(role: string): string {
  if (/[sx]$/.test(role)) return `${role}es`;
  return role.endsWith("y") ? `${role.slice(0, -1)}ies` : `${role}s`;
}

function joinAnd(list: readonly string[]): string {
  if (list.length <= 1) return list[0] ?? "";
  return `${list.slice(0, -1).join(", ")} and ${list[list.length - 1]}`;
}
