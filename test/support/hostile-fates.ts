/**
 * Where the pages of memory-mapped I/O lead from the attacker's place in the tree, before any IOMMU
 * sees the request: computed page by page from windows, BARs and ACS words alone.
 *
 * Vocabulary: see hostile-oracle.ts.
 */
import { AcsBit, type HostileHost, type HostileNode, type Pages } from "./hostile-host.js";

/** Ways in which a request reaches something. All but `own` are exposures. */
export const EXPOSURES = [
  "own",
  /** Maps that devices of one alias set have in common. */
  "shared",
  /** A peer's BAR, without the translation agent. */
  "peer",
  /** The same on paths that the specification leaves to the implementation. */
  "peer-optional",
  /** The same, because a port passes translated requests directly. */
  "peer-translated",
  /** Another function of the own bus is claimed to be the requester. */
  "forged-bus",
  /** One of another bus that a validating port farther up lets pass. */
  "forged-range",
  /** Anybody: no port validates. */
  "forged-any",
  /** A translated request is not checked. */
  "translated",
  /** No IOMMU unit is in front of the attacker. */
  "outside",
  /** Interrupts are not remapped. */
  "interrupt-any",
  /** Another requester's interrupt. */
  "interrupt-forged",
] as const;
export type ExposureName = (typeof EXPOSURES)[number];

export const BLOCKED = -1;
export const AGENT = -2;
/** A level beyond all gates. */
export const TOP = 1000;
/** Where a page leads from the attacker's place: BLOCKED, AGENT, or the index of a victim. */
export interface Fates {
  readonly to: Int32Array;
  readonly level: Int32Array;
  /** Index in `EXPOSURES`. */
  readonly exposure: Uint8Array;
}

const OWN = EXPOSURES.indexOf("own");
const PEER = EXPOSURES.indexOf("peer");
const PEER_OPTIONAL = EXPOSURES.indexOf("peer-optional");
const PEER_TRANSLATED = EXPOSURES.indexOf("peer-translated");

/** A function and the ports above it, bottom up. */
export function pathOf(node: HostileNode): HostileNode[] {
  const out: HostileNode[] = [];
  for (let at: HostileNode | undefined = node; at !== undefined; at = at.parent) out.push(at);
  return out;
}

/** `node` is `below` or a port above it. */
export function isAtOrAbove(node: HostileNode, below: HostileNode | undefined): boolean {
  for (let at = below; at !== undefined; at = at.parent) if (at === node) return true;
  return false;
}

/** By page of the MMIO range. */
export function fatesOf(
  host: HostileHost,
  path: readonly HostileNode[],
  translated: boolean,
): Fates {
  const { first, last } = host.mmio;
  const count = last - first + 1;
  const fates: Fates = {
    to: new Int32Array(count),
    level: new Int32Array(count),
    exposure: new Uint8Array(count),
  };
  for (let page = first; page <= last; page++) {
    const fate = fateOf(host, path, page, translated);
    fates.to[page - first] = fate.to;
    fates.level[page - first] = fate.level;
    fates.exposure[page - first] = fate.exposure;
  }
  return fates;
}

interface Fate {
  readonly to: number;
  readonly level: number;
  readonly exposure: number;
}

const toAgent: Fate = { to: AGENT, level: TOP, exposure: OWN };
const blockedAt = (level: number): Fate => ({ to: BLOCKED, level, exposure: OWN });

function fateOf(
  host: HostileHost,
  path: readonly HostileNode[],
  page: number,
  translated: boolean,
): Fate {
  let isTranslated = translated;
  for (const [level, at] of path.entries()) {
    const { parent } = at;
    if (at.kind === "pcie-to-pci-bridge") isTranslated = false;
    const peer = beside(host, at).find((node) => node !== at && holds(node, page));
    const isInside = parent !== undefined && covers(parent.window, page);
    const go = (exposure: number): Fate | undefined => {
      if (peer === undefined) return undefined;
      const verdict = decide(at, isTranslated);
      if (verdict === "up") return undefined;
      if (verdict === "blocked") return blockedAt(level);
      const kind = verdict === "direct-translated" ? PEER_TRANSLATED : exposure;
      return deliver(host, peer, page, level, kind);
    };
    const fate = fateAt(host, at, parent, peer, page, level, isInside, go);
    if (fate !== undefined) return fate;
  }
  return toAgent;
}

/** What is on the same bus. */
const beside = (host: HostileHost, at: HostileNode): readonly HostileNode[] =>
  at.parent?.below ?? host.roots.filter(({ segment }) => segment === at.segment);

/** What happens on the bus of `at`; undefined: the request goes up. */
function fateAt(
  host: HostileHost,
  at: HostileNode,
  parent: HostileNode | undefined,
  peer: HostileNode | undefined,
  page: number,
  level: number,
  isInside: boolean,
  go: (exposure: number) => Fate | undefined,
): Fate | undefined {
  switch (parent?.kind) {
    case undefined:
      if (covers(at.window, page)) return on(at, AcsBit.UF) ? toAgent : blockedAt(level);
      return (host.rootPeers ? go(PEER_OPTIONAL) : undefined) ?? toAgent;
    case "switch-upstream":
      if (covers(at.window, page)) return on(at, AcsBit.UF) ? undefined : blockedAt(level);
      return peer !== undefined ? go(PEER) : isInside ? blockedAt(level) : undefined;
    case "pcie-to-pci-bridge":
      if (covers(at.bar, page)) return blockedAt(level);
      if (peer !== undefined) return deliver(host, peer, page, level, PEER);
      return isInside ? blockedAt(level) : undefined;
    default:
      return host.functionPeers ? go(PEER_OPTIONAL) : undefined;
  }
}

type Verdict = "direct" | "direct-translated" | "up" | "blocked";

/** PCIe 6 § 6.12.3: what a source does with a request that a peer claims. */
function decide(at: HostileNode, translated: boolean): Verdict {
  const redirects = on(at, AcsBit.RR);
  const controls = on(at, AcsBit.EC);
  const plain: Verdict = controls
    ? at.egressBlocks
      ? redirects
        ? "up"
        : "blocked"
      : "direct"
    : redirects
      ? "up"
      : "direct";
  if (translated && on(at, AcsBit.DT)) return plain === "direct" ? plain : "direct-translated";
  return plain;
}

/** Down from a claim to a BAR. */
function deliver(
  host: HostileHost,
  claim: HostileNode,
  page: number,
  level: number,
  exposure: number,
): Fate {
  let node: HostileNode | undefined = claim;
  while (node !== undefined) {
    if (covers(node.bar, page)) return { to: host.functions.indexOf(node), level, exposure };
    node = node.below.find((child) => holds(child, page));
  }
  return blockedAt(level);
}

const on = (node: HostileNode, bit: number): boolean => ((node.acs ?? 0) & bit) !== 0;

const covers = (pages: Pages | undefined, page: number): boolean =>
  pages !== undefined && page >= pages.first && page <= pages.last;

const holds = (node: HostileNode, page: number): boolean =>
  covers(node.bar, page) || covers(node.window, page);
