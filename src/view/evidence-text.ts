/**
 * The sentence for each kind of evidence. Text, JSON consumers and the page all get their words
 * here.
 *
 * A sentence names the port, the bit or the quirk. It states a fact; advice is in change-text.ts.
 */
import type { Evidence, EvidenceKind } from "../isolation/index.js";
import { ACS_LONG_NAME, type AcsBit } from "../pcie/index.js";
import { formatRid, formatSpan, type Span } from "../units/index.js";

/** Names the device a piece of evidence is about, role first: "root port 0000:00:01.0". */
export type CallDevice = (bdf: Evidence["at"]) => string;

type Sentence = (e: Evidence, call: CallDevice) => string;

const SENTENCES: Readonly<Record<EvidenceKind, Sentence>> = {
  "acs-capability-missing": (e, call) =>
    `${call(e.at)} has no Access Control Services (ACS) capability, so nothing makes it send ` +
    "its traffic up.",
  "acs-bits-off": (e, call) =>
    `${call(e.at)} has ACS, but ${bitList(e.bits)} ${isAre(e.bits)} off.`,
  "acs-bits-not-implemented": (e, call) =>
    `${call(e.at)} has an ACS capability without ${bitList(e.bits)}, which a switch port must ` +
    "have.",
  "egress-control-allows": (e, call) =>
    `${call(e.at)} has egress control, which lets its requests through to ${peer(e, call)}.`,
  "prefix-blocked": (e, call) =>
    `${call(e.at)} blocks end-end TLP prefixes, in which a PASID travels.`,
  "acs-bits-on": (e, call) =>
    e.bits === undefined || e.bits.length === 0
      ? `${call(e.at)} has ACS with every bit that isolation needs on or built in.`
      : `${call(e.at)} has ACS with ${bitList(e.bits)} on or built in.`,
  "acs-unknown": (e, call) => `The capture does not show the ACS capability of ${call(e.at)}.`,
  "acs-not-needed": (e, call) =>
    `${call(e.at)} is a single-function device: it needs no ACS of its own.`,
  "acs-absence-isolates": (e, call) =>
    `${call(e.at)} has no ACS capability; by the option chosen that means that it sends nothing ` +
    "to the other functions of its device.",
  "not-pci-express": (e, call) =>
    `${call(e.at)} is conventional PCI: without PCI Express there is no ACS, ATS or PASID.`,
  "bridge-never-isolates": (e, call) =>
    `${call(e.at)} leads to or from conventional PCI (or collects events): it is never isolated.`,
  "quirk-isolates": (e, call) =>
    `${call(e.at)} is known to isolate although its registers do not say so${quirkSince(e)}.`,
  "quirk-denies": (e, call) =>
    `${call(e.at)} does not count as isolated whatever its registers say${quirkSince(e)}.`,
  "quirk-not-tested": (e, call) =>
    `${call(e.at)} may be a device that the kernel treats specially${quirk(e)}; ` +
    "the capture does not identify it (no numeric ids), so that was not tested.",
  "path-not-isolated": (e, call) =>
    `The path from ${call(e.at)} up to the root complex does not isolate, ` +
    "so everything below it is in one group with it.",
  "same-slot-not-isolated": (e, call) =>
    `${call(e.at)}${withDevice(e, call)} are functions of one slot and neither is kept from ` +
    "the other.",
  "all-behind-bridge": (e, call) =>
    `Everything behind ${call(e.at)} reaches the IOMMU with one requester ID${ridOf(e)}.`,
  "alias-bridge": (e, call) =>
    `Requests from below ${call(e.at)} carry the bridge's requester ID${ridOf(e)}, not their own.`,
  "alias-quirk": (e, call) =>
    `${call(e.at)} is known to send with ${otherId(e)} as well as its own${quirk(e)}.`,
  "alias-firmware": (e, call) =>
    `The firmware's IOMMU table says that ${call(e.at)} sends with ${otherId(e)}.`,
  "alias-phantom": (e, call) =>
    `${call(e.at)} may use unclaimed function numbers of its device${ridOf(e)} (phantom ` +
    "functions).",
  "alias-vmd": (e, call) =>
    `${call(e.at)} sends as the volume management device${withDevice(e, call, "")} that owns ` +
    "its domain.",
  "alias-unknown": (e, call) =>
    `${call(e.at)} may use requester IDs that no capture of configuration space can ` +
    `show${quirk(e)}.`,
  "iommu-unmatched": (e, call) =>
    `${call(e.at)} is behind an IOMMU that cannot tell requester IDs apart.`,
  "switch-routes-peer": (e, call) =>
    `${capital(call(e.at))} does not send requests up first: the switch hands an address in ` +
    `${windowList(e.windows)} straight to ${peer(e, call)}.`,
  "function-routes-peer": (e, call) =>
    `${capital(call(e.at))} may reach ${peer(e, call)} inside the device: nothing in its ACS ` +
    "says otherwise.",
  "root-complex-routes-peer": (e, call) =>
    `The root complex may route from ${call(e.at)} to ${peer(e, call)}${windowsOf(e)} without ` +
    "the IOMMU.",
  "bus-is-shared": (e, call) =>
    `${call(e.at)} and ${peer(e, call)} share a conventional bus: each sees the other's requests.`,
  "linux-groups-them": (e, call) =>
    `Linux (7.2 rules) puts ${call(e.at)} and ${peer(e, call)} into one group.`,
  "iommu-inactive": (e) => `No IOMMU was in use on this host${detail(e)}.`,
  "outside-iommu-scope": (e, call) =>
    `No IOMMU unit in the firmware's table covers ${call(e.at)}${detail(e)}.`,
  "excluded-by-driver": (e, call) =>
    `The kernel's IOMMU driver leaves ${call(e.at)} out${quirk(e)}${detail(e)}.`,
  "bound-driver-needed": (e, call) =>
    `With this IOMMU driver the kernel gives ${call(e.at)} a group only when a driver binds to it.`,
  "scope-unknown": (e, call) =>
    `The capture has no firmware table that says whether an IOMMU covers ${call(e.at)}.`,
  "capability-present": (e, call) => `${call(e.at)} has the ${capability(e)}${detail(e)}.`,
  "capability-missing": (e, call) => `${call(e.at)} has no ${capability(e)}.`,
  "capability-unknown": (e, call) =>
    `The capture does not show whether ${call(e.at)} has the ${capability(e)}.`,
  "prefix-not-supported": (e, call) =>
    `${call(e.at)} does not support end-end TLP prefixes, in which a PASID travels.`,
  "prefix-support-unknown": (e, call) =>
    `The capture does not show whether ${call(e.at)} supports end-end TLP prefixes, in ` +
    "which a PASID travels.",
  "prefix-not-needed": (e, call) => `${call(e.at)} carries PASIDs without TLP prefixes${quirk(e)}.`,
  "path-acs-off": (e, call) =>
    `${call(e.at)} lacks ${bitList(e.bits)}: a request with a PASID could be routed to a peer ` +
    "by its address.",
  "follows-physical-function": (e, call) =>
    `${call(e.at)} is a virtual function: ` +
    `${e.with === undefined ? "its physical function" : call(e.with)} decides.`,
  "conventional-bridge-on-path": (e, call) =>
    `${call(e.at)} leads to conventional PCI, which cannot carry a PASID.`,
  "ats-switched-off": (e, call) => `ATS is switched off for ${call(e.at)}${quirk(e)}${detail(e)}.`,
  "iommu-capability-missing": (e, call) =>
    `The IOMMU in front of ${call(e.at)} cannot do ${e.capability ?? "this"}${detail(e)}.`,
  "iommu-capability-unknown": (e, call) =>
    `The capture does not show whether the IOMMU in front of ${call(e.at)} can do ` +
    `${e.capability ?? "this"}.`,
  "driver-blocks": (e, call) =>
    `${call(e.at)} is bound to the kernel driver ${e.detail ?? "?"}: while it is, the group ` +
    "cannot be assigned.",
  "reserved-by-firmware": (e, call) =>
    `Firmware reserves ${windowList(e.windows)} for ${call(e.at)} (RMRR)${detail(e)}: the ` +
    "kernel refuses to assign it.",
  "external-facing": (e, call) => `${call(e.at)} leads outside the case.`,
  untrusted: (e, call) => `${call(e.at)} is reached through a port that leads outside the case.`,
  "below-port": (e, call) =>
    `${call(e.at)} sits below ${e.with === undefined ? "that port" : call(e.with)}, which ` +
    "hands it requests and passes on its own.",
  "iommu-capability-present": (e, call) =>
    `The IOMMU in front of ${call(e.at)} can do ${e.capability ?? "this"}${detail(e)}.`,
  "iommu-units-differ": (e) =>
    `Another IOMMU unit of this host cannot do ${e.capability ?? "this"}${detail(e)}, and the ` +
    "kernel asks all of them.",
  "root-port-not-listed": (e, call) =>
    `The firmware's table (ATSR) does not list the root port of ${call(e.at)}${detail(e)}.`,
  "translation-blocked": (e, call) =>
    `${call(e.at)} blocks translated requests (ACS Translation Blocking), which ATS depends on.`,
  "page-requests-not-stopped": (e, call) =>
    `${call(e.at)} still has page requests outstanding, so page requests cannot be switched on ` +
    "now.",
  "page-requests-need-ats": (e, call) => `Page requests need ATS, which ${call(e.at)} cannot use.`,
  "sva-needs": (e, call) =>
    `Shared virtual addressing needs ${e.capability ?? "this"}, which ${call(e.at)} cannot use.`,
  "no-driver-blocks": (e, call) =>
    `No function of the group of ${call(e.at)} is bound to a kernel driver that does DMA.`,
  "driver-unknown": (e, call) =>
    `The capture does not show which driver ${call(e.at)} is bound to.`,
  "reserved-relaxable": (e, call) =>
    `Firmware reserves ${windowList(e.windows)} for ${call(e.at)}, which the kernel lets go ` +
    "when a user takes it.",
  "peers-isolated": (e, call) =>
    `Nothing on the way lets ${call(e.at)} meet ${peer(e, call)} before the IOMMU.`,
  "topology-unknown": (e, call) =>
    `The capture does not show which bridges are above ${call(e.at)}, so a port that joins it to ` +
    "others cannot be seen.",
  "alone-in-slot": (e, call) =>
    `${call(e.at)} is the only function of its slot: there is nothing beside it to merge with.`,
  "different-slots": (e, call) =>
    `${call(e.at)} and ${peer(e, call)} are in different slots: side by side, Linux merges only ` +
    "functions of one slot.",
  "virtual-function-apart": (e, call) =>
    `Linux never merges ${call(e.at)} with the functions of its slot: a virtual function never ` +
    "counts as one of several.",
  "linux-does-not-ask": (e, call) =>
    `${call(e.at)} and ${peer(e, call)} are in different slots: Linux merges a port only with ` +
    "functions of its " +
    "own slot, and never asks whether the switch routes between the two.",
};

/** Evidence of a kind that has a sentence. */
export function isEvidence(value: object): value is Evidence {
  const { kind } = value as { kind?: unknown };
  return typeof kind === "string" && Object.hasOwn(SENTENCES, kind);
}

/** One sentence, capitalised, with its full stop. */
export function evidenceText(evidence: Evidence, call: CallDevice): string {
  return capital(evidenceWords(evidence, call));
}

/** The same where names keep their case. */
export function evidenceWords(evidence: Evidence, call: CallDevice): string {
  return SENTENCES[evidence.kind](evidence, call);
}

/** "P2P Request Redirect (RR) and Upstream Forwarding (UF)" */
export function bitList(bits: readonly AcsBit[] | undefined): string {
  const names = (bits ?? []).map((bit) => `${ACS_LONG_NAME[bit]} (${bit})`);
  if (names.length <= 1) return names[0] ?? "no bit";
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}

/** At most two spans, and how many more. */
export function windowList(windows: readonly Span[] | undefined): string {
  if (windows === undefined || windows.length === 0) return "its windows (not known)";
  const shown = windows.slice(0, 2).map(formatSpan).join(" or ");
  return windows.length > 2 ? `${shown} (and ${windows.length - 2} more)` : shown;
}

/** The text with its first letter in upper case. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function isAre(bits: readonly AcsBit[] | undefined): string {
  return (bits?.length ?? 0) > 1 ? "are" : "is";
}

function capability(e: Evidence): string {
  return e.capability === undefined ? "capability" : `${e.capability} capability`;
}

function quirk(e: Evidence): string {
  return e.quirk === undefined ? "" : ` (kernel rule ${e.quirk})`;
}

/** The rule, and since which release kernels have it when the captured kernel is older. */
export function quirkSince(e: Evidence): string {
  if (e.quirk === undefined || e.detail === undefined) return quirk(e);
  return ` (kernel rule ${e.quirk}, which kernels have ${e.detail}; the captured one is older)`;
}

function detail(e: Evidence): string {
  return e.detail === undefined ? "" : ` (${e.detail})`;
}

function ridOf(e: Evidence): string {
  return e.rid === undefined ? "" : ` ${formatRid(e.rid)}`;
}

function otherId(e: Evidence): string {
  return e.rid === undefined ? "another requester ID" : `requester ID ${formatRid(e.rid)}`;
}

function withDevice(e: Evidence, call: CallDevice, joiner = " and"): string {
  return e.with === undefined ? "" : `${joiner} ${call(e.with)}`;
}

function peer(e: Evidence, call: CallDevice): string {
  return e.with === undefined ? "its peer" : call(e.with);
}

function windowsOf(e: Evidence): string {
  return e.windows === undefined || e.windows.length === 0 ? "" : ` (${windowList(e.windows)})`;
}
