/**
 * Why a transaction took a hop: the published list of reasons, each with its decision and its
 * source.
 *
 * The walk records reasons as small numbers (REASON), so that tracing costs a few stores;
 * `route.ts` turns them back into words. Editions: PCI Express Base 6.0, PCI-to-PCI Bridge 1.2, PCI
 * Express to PCI/PCI-X Bridge 1.0.
 */

/**
 * `issue`   the requester puts it on its bus or link
 * `up`      goes on towards the root complex
 * `peer`    turns to a peer without passing the translation agent
 * `down`    handed down by a window
 * `deliver` a BAR claims it, or an ID matches
 * `agent`   leaves the fabric to the translation agent
 * `stop`    ends here in an error
 */
export type RouteDecision = "issue" | "up" | "peer" | "down" | "deliver" | "agent" | "stop";

interface ReasonRow {
  readonly decision: RouteDecision;
  readonly states: string;
  readonly cite: string;
}

const ACS_PORT = "PCIe 6 § 6.12.1.1";
const ACS_FUNCTION = "PCIe 6 § 6.12.1.2";
const PREFIX = "PCIe 6 § 2.2.10";
const BRIDGE = "PCI-to-PCI Bridge 1.2 § 4";
const EXPRESS_BRIDGE = "PCIe-to-PCI Bridge 1.0 § 2";

export const ROUTE_REASONS = {
  issued: { decision: "issue", states: "sends the request", cite: "PCIe 6 § 2.2.6.2" },
  "bus-master-off": {
    decision: "stop",
    states: "may not send or forward memory requests: Bus Master Enable is off",
    cite: "PCIe 6 § 7.5.1.1.3",
  },
  "memory-space-off": {
    decision: "stop",
    states: "claims no memory request: Memory Space Enable is off",
    cite: "PCIe 6 § 7.5.1.1.3",
  },
  "malformed-request": {
    decision: "stop",
    states: "the request crosses a 4 KiB boundary or has a field out of range",
    cite: "PCIe 6 § 2.2.7",
  },
  // Prefixes.
  "prefix-not-supported": {
    decision: "stop",
    states: "receives an end-end prefix that it does not support: a malformed packet",
    cite: PREFIX,
  },
  "prefix-egress-blocked": {
    decision: "stop",
    states: "blocks packets with end-end prefixes at its egress",
    cite: "PCIe 6 § 7.5.3.16",
  },
  "prefix-conventional": {
    decision: "stop",
    states: "cannot carry a prefix: conventional PCI has none",
    cite: EXPRESS_BRIDGE,
  },
  // A port receives from the link below.
  accepted: { decision: "up", states: "accepts the request from its link", cite: ACS_PORT },
  "source-validation-failed": {
    decision: "stop",
    states: "the requester ID's bus is not one of the buses below the port",
    cite: ACS_PORT,
  },
  "translation-blocked": {
    decision: "stop",
    states: "only untranslated requests may pass: Translation Blocking is on",
    cite: ACS_PORT,
  },
  "own-egress-forwarded": {
    decision: "up",
    states: "the address is in the port's own window; Upstream Forwarding sends it up",
    cite: ACS_PORT,
  },
  "own-egress-unsupported": {
    decision: "stop",
    states: "the address is in the port's own window, and nothing forwards it upstream",
    cite: BRIDGE,
  },
  // A switch decides between its ports.
  "switch-peer": {
    decision: "peer",
    states: "the switch routes by address: a peer port's window claims it",
    cite: "PCIe 6 § 2.2.4.1, § 6.12.1.1",
  },
  "switch-peer-egress-allowed": {
    decision: "peer",
    states: "egress control lets requests to this peer port through",
    cite: ACS_PORT,
  },
  "switch-peer-translated": {
    decision: "peer",
    states: "Direct Translated P2P lets translated requests go to the peer",
    cite: ACS_PORT,
  },
  "peer-redirected": {
    decision: "up",
    states: "a peer claims the address, but P2P Request Redirect sends the request up",
    cite: ACS_PORT,
  },
  "peer-egress-blocked": {
    decision: "stop",
    states: "egress control forbids requests to this peer",
    cite: ACS_PORT,
  },
  "no-peer-claims": {
    decision: "up",
    states: "no peer port claims the address",
    cite: "PCIe 6 § 2.2.4.1",
  },
  "inside-window-unclaimed": {
    decision: "stop",
    states: "the address belongs to this bus by the window above, but nobody here claims it",
    cite: BRIDGE,
  },
  "upstream-port-forwards": {
    decision: "up",
    states: "the upstream port sends it on towards the root complex",
    cite: "PCIe 6 § 2.2.4.1",
  },
  // Functions of one device.
  "function-peer": {
    decision: "peer",
    states: "the device routes internally to another of its functions",
    cite: ACS_FUNCTION,
  },
  "function-peer-egress-allowed": {
    decision: "peer",
    states: "egress control lets requests to this function through",
    cite: ACS_FUNCTION,
  },
  "function-peer-translated": {
    decision: "peer",
    states: "Direct Translated P2P lets translated requests go to the other function",
    cite: ACS_FUNCTION,
  },
  "function-redirected": {
    decision: "up",
    states: "another function claims the address, but P2P Request Redirect sends it up",
    cite: ACS_FUNCTION,
  },
  "function-egress-blocked": {
    decision: "stop",
    states: "egress control forbids requests to this function",
    cite: ACS_FUNCTION,
  },
  // Conventional buses and bridges.
  "bus-peer": {
    decision: "peer",
    states: "all on a conventional bus see the request; a peer claims it",
    cite: "PCI 3.0 § 3.2.2.3",
  },
  "bridge-claims": {
    decision: "up",
    states: "claims what lies outside its windows and sends it on",
    cite: BRIDGE,
  },
  "requester-replaced": {
    decision: "up",
    states: "claims what lies outside its windows and sends it on under its own requester ID",
    cite: EXPRESS_BRIDGE,
  },
  "requester-kept": {
    decision: "up",
    states: "claims what lies outside its windows; PCI-X keeps the requester ID",
    cite: EXPRESS_BRIDGE,
  },
  // The root complex.
  "root-peer": {
    decision: "peer",
    states: "the root complex routes it to a peer (it may, and need not)",
    cite: "PCIe 6 § 1.3.1",
  },
  "root-peer-egress-allowed": {
    decision: "peer",
    states: "egress control lets requests to this peer through",
    cite: ACS_PORT,
  },
  "root-peer-translated": {
    decision: "peer",
    states: "Direct Translated P2P lets translated requests go to the peer",
    cite: ACS_PORT,
  },
  "root-redirected": {
    decision: "agent",
    states: "a peer claims the address, but P2P Request Redirect has it validated",
    cite: ACS_PORT,
  },
  "root-own-egress-redirected": {
    decision: "agent",
    states: "the address is in its own window: Upstream Forwarding has it validated",
    cite: ACS_PORT,
  },
  "root-no-peer-path": {
    decision: "agent",
    states: "a peer claims the address, but this root complex has no peer-to-peer path",
    cite: "PCIe 6 § 1.3.1",
  },
  "root-to-agent": {
    decision: "agent",
    states: "leaves the fabric towards memory, through the translation agent",
    cite: "PCIe 6 § 10.1.1",
  },
  "above-unknown": {
    decision: "agent",
    states: "the bridge above is not in the capture; taken to lead to the translation agent",
    cite: "PCIe 6 § 2.2.4.1",
  },
  "segment-owner": {
    decision: "agent",
    states: "owns the whole domain below it and sends under its own requester ID",
    cite: "PCIe 6 § 2.2.6.2",
  },
  // After the translation agent.
  "agent-routes-down": {
    decision: "down",
    states: "the translated address is a device's: the root complex sends the request down",
    cite: "PCIe 6 § 6.12.1.1, § 10.1.1",
  },
  // Downwards.
  "window-claims": {
    decision: "down",
    states: "a window claims the address and hands the request down",
    cite: BRIDGE,
  },
  "bar-claims": {
    decision: "deliver",
    states: "a base address register claims the address",
    cite: "PCIe 6 § 7.5.1.2.1",
  },
  "nobody-below": {
    decision: "stop",
    states: "forwarded by the window, but nobody below claims the address",
    cite: "PCIe 6 § 2.3.1",
  },
  // Completions, routed by ID.
  "completion-issued": {
    decision: "issue",
    states: "answers the request",
    cite: "PCIe 6 § 2.2.9",
  },
  "completion-bridge": {
    decision: "up",
    states: "answers for the conventional bus below it",
    cite: EXPRESS_BRIDGE,
  },
  "completion-peer": {
    decision: "peer",
    states: "the requester's bus is below a peer: the completion goes there directly",
    cite: "PCIe 6 § 2.2.4.2, § 6.12.1",
  },
  "completion-relaxed": {
    decision: "peer",
    states: "Completion Redirect spares completions with Relaxed Ordering",
    cite: "PCIe 6 § 6.12.1",
  },
  "completion-redirected": {
    decision: "up",
    states: "a peer is the requester, but P2P Completion Redirect sends the completion up",
    cite: "PCIe 6 § 6.12.1",
  },
  "completion-up": {
    decision: "up",
    states: "the requester's bus is not below a peer here",
    cite: "PCIe 6 § 2.2.4.2",
  },
  "completion-own-egress": {
    decision: "stop",
    states: "the requester's bus is below this very port, and nothing forwards the completion",
    cite: ACS_PORT,
  },
  "completion-root": {
    decision: "down",
    states: "the root complex sends it down to the requester's bus",
    cite: "PCIe 6 § 2.2.4.2",
  },
  "id-below": {
    decision: "down",
    states: "the requester's bus is below",
    cite: "PCIe 6 § 2.2.4.2",
  },
  "id-matches": {
    decision: "deliver",
    states: "is the requester",
    cite: "PCIe 6 § 2.2.9",
  },
  "completion-unexpected": {
    decision: "stop",
    states: "no function here has the requester's ID",
    cite: "PCIe 6 § 2.3.2",
  },
} as const satisfies Readonly<Record<string, ReasonRow>>;

export type RouteReason = keyof typeof ROUTE_REASONS;

export const REASON_KINDS = Object.keys(ROUTE_REASONS) as readonly RouteReason[];

/** Reason → the number under which a walk records it. */
export const REASON = Object.fromEntries(REASON_KINDS.map((kind, i) => [kind, i])) as Readonly<
  Record<RouteReason, number>
>;
