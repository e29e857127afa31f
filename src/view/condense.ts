/**
 * Evidence to sentences without tedium: facts of the same kind about several devices become one
 * sentence at the place of the first. What is left out of the text is still in the JSON.
 */
import type { Evidence, EvidenceKind } from "../isolation/index.js";
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
  "acs-unknown": (devices) => `The capture does not show the ACS capability of ${devices}.`,
  "not-pci-express": (devices) =>
    `${devices} are conventional PCI: without PCI Express there is no ACS, ATS or PASID.`,
};

/** One sentence per fact, or per kind where several devices share it; each once. */
export function condensedSentences(evidence: readonly Evidence[], call: CallDevice): string[] {
  const groups = new Map<string, Evidence[]>();
  for (const e of evidence) {
    const key =
      PLURAL[e.kind] === undefined
        ? evidenceText(e, call)
        : `${e.kind} ${e.bits ?? ""} ${e.quirk ?? ""} ${e.detail ?? ""}`;
    const list = groups.get(key);
    if (list === undefined) groups.set(key, [e]);
    else if (!list.some((other) => other.at === e.at)) list.push(e);
  }
  return [...groups.values()].map((list) => {
    const [first] = list as [Evidence];
    const plural = PLURAL[first.kind];
    if (list.length === 1 || plural === undefined) return evidenceText(first, call);
    const devices = enumerate(list.map((e) => call(e.at)));
    return capital(plural(devices, first));
  });
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
