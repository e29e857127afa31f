/**
 * Evidence: why something is so, as data. `view/` turns it into words, once.
 *
 * A piece of evidence names one thing at one device, with the register bits or the quirk concerned
 * and a citation. Adding a kind means adding a row here, a sentence in `view/` and a test.
 */
import type { AcsBit } from "../pcie/index.js";
import type { Bdf, Rid, Span } from "../units/index.js";

/**
 * Kind → what it states about `at`. The published list (docs/reference/evidence.md is made from
 * it).
 */
export const EVIDENCE_KINDS = {
  // Why a port or function does not isolate, or does.
  "acs-capability-missing": "has no ACS capability where one is needed",
  "acs-bits-off": "implements these ACS bits but they are off",
  "acs-bits-on": "has the ACS bits that the question needs on, or hard-wired",
  "acs-bits-not-implemented":
    "has an ACS capability that lacks these bits, which a switch port must have",
  "egress-control-allows": "has egress control, which lets its requests through to some peers",
  "acs-unknown": "the capture does not show its ACS capability or bits",
  "acs-not-needed": "is a single-function device: it needs no ACS of its own",
  "acs-absence-isolates":
    "has no ACS capability, which is taken to mean that it does no peer-to-peer",
  "not-pci-express": "is conventional PCI: nothing can keep its peers from its bus",
  "bridge-never-isolates":
    "is a bridge to or from conventional PCI, or an event collector: never isolated",
  "quirk-isolates": "isolates although its registers do not say so: a quirk vouches for it",
  "quirk-denies": "does not isolate whatever its registers say: a quirk denies it",
  "quirk-not-tested": "may match a quirk, but the capture does not identify it well enough",
  // Why functions are in one Linux group.
  "path-not-isolated":
    "a port between the device and the root complex lets peers through, so all below share",
  "same-slot-not-isolated":
    "is a function of the same multi-function slot that does not isolate either",
  "all-behind-bridge": "everything behind this bridge sends with the bridge's requester ID",
  // Why functions share requester IDs.
  "alias-bridge": "requests of devices below carry this bridge's requester ID",
  "alias-quirk": "is known to send with another function's requester ID",
  "alias-firmware": "the firmware's IOMMU table says it sends with another requester ID",
  "alias-phantom": "may use the unclaimed function numbers of its device (phantom functions)",
  "alias-vmd": "sends as the volume management device that owns its domain",
  "alias-unknown": "may use requester IDs that the capture cannot show",
  "iommu-unmatched": "sits behind an IOMMU that cannot match requester IDs",
  // What the fabric routes peer to peer.
  "switch-routes-peer": "a switch port routes requests to a peer port without sending them up",
  "function-routes-peer": "a multi-function device may route between its functions",
  "root-complex-routes-peer": "the root complex may route between its ports",
  "below-port": "sits below this port, which hands it requests and passes on its own",
  "bus-is-shared": "every device on a conventional bus sees every request on it",
  "linux-groups-them": "the linux-7.2 rules put them into one group",
  // Why a function has no group.
  "iommu-inactive": "no IOMMU was in use",
  "outside-iommu-scope": "no IOMMU unit of the firmware's table covers it",
  "excluded-by-driver": "the kernel's IOMMU driver leaves it out",
  "bound-driver-needed": "this kernel gives a group only when a driver binds",
  "scope-unknown": "the capture has no table that says which devices an IOMMU covers",
  // PASID, ATS, PRI, SVA.
  "capability-present": "has the capability",
  "capability-missing": "does not have the capability",
  "capability-unknown": "the capture does not show whether it has the capability",
  "prefix-not-supported": "does not forward end-end TLP prefixes, which carry the PASID",
  "prefix-support-unknown": "the capture does not show whether it forwards end-end TLP prefixes",
  "prefix-blocked": "blocks end-end TLP prefixes on their way up (Device Control 2)",
  "prefix-not-needed": "carries PASIDs without TLP prefixes",
  "path-acs-off":
    "lacks P2P Request Redirect or Upstream Forwarding, which PASID needs on the whole path",
  "follows-physical-function": "is a virtual function: its physical function decides",
  "conventional-bridge-on-path": "a conventional bus cannot carry the prefix",
  "ats-switched-off":
    "ATS is switched off for this device by a quirk, an option or because it is untrusted",
  "iommu-capability-missing": "the IOMMU unit in front of it cannot do this",
  "iommu-capability-unknown": "the capture does not show what the IOMMU can do",
  "iommu-capability-present": "the IOMMU unit in front of it can do this",
  "iommu-units-differ": "another IOMMU unit of this host cannot do this",
  "root-port-not-listed": "the firmware's table does not list its root port as capable of ATS",
  "translation-blocked":
    "blocks translated requests (ACS Translation Blocking), which ATS depends on",
  "page-requests-not-stopped":
    "still has page requests outstanding, so page requests cannot be switched on now",
  "page-requests-need-ats": "page requests need ATS, which this device cannot use",
  "sva-needs": "shared virtual addressing needs this, and this device cannot use it",
  // Facts shown with a device.
  "no-driver-blocks": "no function of the group is bound to a kernel driver that does DMA",
  "driver-unknown": "the capture does not show which driver is bound",
  "driver-blocks": "is bound to a kernel driver that does DMA, so the group cannot be assigned",
  "reserved-by-firmware":
    "firmware reserves memory for this device (RMRR): the kernel refuses to assign it",
  "reserved-relaxable":
    "firmware reserves memory for this device, which the kernel lets go when a user takes it",
  "external-facing": "leads outside the case",
  untrusted: "is reached through an external-facing port",
  "peers-isolated": "nothing on the way lets it meet the other device without the IOMMU",
  "topology-unknown": "the capture does not show which bridges are above it",
  "alone-in-slot": "is the only function of its slot, so there is nothing beside it to merge with",
  "different-slots":
    "is in another slot than the other device; side by side, Linux merges only within a slot",
  "virtual-function-apart":
    "is a virtual function, which Linux never merges with the functions of its slot",
  "linux-does-not-ask":
    "lets requests through to a port in another slot, which the Linux rules never ask about",
} as const;

export type EvidenceKind = keyof typeof EVIDENCE_KINDS;

export interface Evidence {
  readonly kind: EvidenceKind;
  /** The port, bridge or function it is about. */
  readonly at: Bdf;
  /** ACS bits concerned. */
  readonly bits?: readonly AcsBit[] | undefined;
  /** Name of the quirk row or rule. */
  readonly quirk?: string | undefined;
  /** The other function, where the fact joins two. */
  readonly with?: Bdf | undefined;
  /** The requester ID concerned. */
  readonly rid?: Rid | undefined;
  /** The capability concerned: "PASID", "ATS", "PRI", "ACS" … */
  readonly capability?: string | undefined;
  /** The addresses concerned. */
  readonly windows?: readonly Span[] | undefined;
  /** A name (driver, option) or number that the sentence needs. */
  readonly detail?: string | undefined;
  /** Specification section or kernel rule. */
  readonly cite: string;
}

/** What a capture did not show of a device; the values of the JSON contract. */
export type MissingFact = "acs" | "config" | "windows" | "topology" | "ids" | "scope";
