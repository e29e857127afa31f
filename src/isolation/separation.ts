/**
 * Why the rules put two functions into different groups, or one into a group of its own.
 *
 * Linux climbs from a function to its **anchor**: the topmost bridge that replaces its requester ID
 * or whose path to the root lets peers through, or the function itself. What is above the anchor
 * isolates. Beside the anchor Linux looks at the functions of its slot, and no further. So a
 * separation rests on three things: what isolates above, what tells the anchors' slots apart, and
 * what nobody asked.
 */
import type { PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { distinctEvidence } from "./distinct-evidence.js";
import { bridgeAlias, bridgeAliasEvidence } from "./dma-alias.js";
import type { Evidence } from "./evidence.js";
import { EDGE_KIND, isEdgeJoin } from "./isolation-group.js";
import { reachesOf } from "./p2p-graph-reach.js";
import { joinPath } from "./partition.js";
import type { Analysis } from "./report-types.js";
import { FIRST_VMD_SEGMENT, vmdDomains, vmdEvidence } from "./vmd-domains.js";

const CITE_PATH = "Linux pci_acs_path_enabled()";
const CITE_ROUTING = "PCIe 6 § 2.2.4.1";
const CITE_COMPARE = "Linux pci_device_group()";

interface Standing {
  readonly anchor: PciFunction;
  /** What leads to the anchor, then what isolates it from above. */
  readonly because: readonly Evidence[];
}

/**
 * For a function without a group: why it has none. Else what leads each to its anchor and isolates
 * it there; what tells the anchors apart; and last the edge that the rules never ask about, the
 * edge that hardware may have, or that nothing joins the two. Equal devices: why it is alone.
 */
export function separationEvidence(analysis: Analysis, a: Bdf, b: Bdf): Evidence[] {
  const { partition, fabric } = analysis;
  const ungrouped = partition.ungrouped.filter((u) => u.device === a || u.device === b);
  if (ungrouped.length > 0) return distinctEvidence(ungrouped.flatMap((u) => u.because));
  const [first, second] = [fabric.function(a), fabric.function(b)];
  if (first === undefined || second === undefined) return [];
  const one = standingOf(analysis, first);
  if (a === b) return distinctEvidence([...one.because, ...alone(analysis, one.anchor)]);
  const other = standingOf(analysis, second);
  return distinctEvidence([
    ...one.because,
    ...other.because,
    ...apart(analysis, one.anchor, other.anchor),
    ...relation(analysis, a, b, one.anchor, other.anchor),
  ]);
}

function standingOf(analysis: Analysis, fn: PciFunction): Standing {
  const { fabric, linux } = analysis;
  const because: Evidence[] = [];
  let anchor = fn;
  if (fn.segment >= FIRST_VMD_SEGMENT) {
    const owner = vmdDomains(fabric, linux.rules).get(fn.segment);
    if (owner?.vmd !== undefined) {
      because.push(vmdEvidence(fn, owner));
      anchor = owner.vmd;
    }
  }
  for (let b = anchor.upstreamBridge; b !== undefined; b = b.upstreamBridge) {
    const effect = bridgeAlias(b, linux.rules);
    if (effect === "end") break;
    if (effect !== "own" && effect !== "secondary") continue;
    anchor = b;
    because.push(bridgeAliasEvidence(b, effect));
  }
  if (isTopologyUnknown(anchor)) {
    because.push({ kind: "topology-unknown", at: anchor.bdf, cite: CITE_COMPARE });
  }
  const top = lastOpenPort(analysis, anchor);
  if (top !== undefined) {
    anchor = top;
    because.push({ kind: "path-not-isolated", at: top.bdf, cite: CITE_PATH });
    because.push(...linux.judge.verdict(top).because);
  }
  for (let b = anchor.upstreamBridge; b !== undefined; b = b.upstreamBridge) {
    because.push(...linux.judge.verdict(b).because);
  }
  return { anchor, because };
}

/** On a bus of its own as it seems, but only because the capture shows no bridge's numbers. */
function isTopologyUnknown(fn: PciFunction): boolean {
  let top = fn;
  for (let b = fn.upstreamBridge; b !== undefined; b = b.upstreamBridge) top = b;
  return top.bus.number !== 0 && top.description.parent === undefined && top.config.extent === 0;
}

/** The topmost bridge above `fn` that does not isolate: all below it share its group. */
function lastOpenPort(analysis: Analysis, fn: PciFunction): PciFunction | undefined {
  let top: PciFunction | undefined;
  for (let b = fn.upstreamBridge; b !== undefined; b = b.upstreamBridge) {
    if (!analysis.linux.judge.verdict(b).isolated) top = b;
  }
  return top;
}

/** Beside the anchor there is nothing, or what isolates one side. */
function alone(analysis: Analysis, anchor: PciFunction): Evidence[] {
  const { judge } = analysis.linux;
  const own = judge.verdict(anchor);
  const port = anchor.isBridge && own.isolated ? own.because : [];
  if (anchor.isVirtual) return [virtualApart(anchor)];
  const mates = slotMates(anchor);
  if (mates.length > 0) {
    if (own.isolated) return [...own.because];
    return mates.flatMap((mate) => {
      const verdict = judge.verdict(mate);
      return verdict.isolated ? verdict.because : [];
    });
  }
  return [{ kind: "alone-in-slot", at: anchor.bdf, cite: CITE_COMPARE }, ...port];
}

/** Two anchors side by side in one slot: what keeps one of them apart. */
function apart(analysis: Analysis, a: PciFunction, b: PciFunction): Evidence[] {
  if (a === b || !isOneSlot(a, b)) return [];
  return [a, b].flatMap((fn) => {
    if (fn.isVirtual) return [virtualApart(fn)];
    const verdict = analysis.linux.judge.verdict(fn);
    return verdict.isolated ? verdict.because : [];
  });
}

function relation(
  analysis: Analysis,
  a: Bdf,
  b: Bdf,
  first: PciFunction,
  second: PciFunction,
): Evidence[] {
  const edges = (joinPath(analysis.deviceCentric, a, b) ?? []).filter(isEdgeJoin);
  if (edges.length > 0) {
    return edges.map((join) => ({
      kind: "linux-does-not-ask",
      at: join.source.port.bdf,
      with: join.target.port.bdf,
      cite: CITE_COMPARE,
    }));
  }
  const out: Evidence[] = [];
  if (first !== second && !isOneSlot(first, second)) {
    out.push({ kind: "different-slots", at: first.bdf, with: second.bdf, cite: CITE_COMPARE });
  }
  const possible = possibleEdge(analysis, a, b) ?? possibleEdge(analysis, b, a);
  out.push(possible ?? { kind: "peers-isolated", at: a, with: b, cite: CITE_PATH });
  return out;
}

/** An edge that hardware may or may not have: said instead of "nothing joins them". */
function possibleEdge(analysis: Analysis, from: Bdf, to: Bdf): Evidence | undefined {
  const fn = analysis.fabric.function(from);
  if (fn === undefined) return undefined;
  const reach = reachesOf(analysis.p2p, fn).find((r) => r.device.bdf === to);
  if (reach === undefined) return undefined;
  const { via, windows, turnsAt } = reach;
  const cite = turnsAt.because[0]?.cite ?? CITE_ROUTING;
  return { kind: EDGE_KIND[via], at: from, with: to, windows, cite };
}

function virtualApart(fn: PciFunction): Evidence {
  return { kind: "virtual-function-apart", at: fn.bdf, cite: CITE_COMPARE };
}

function isOneSlot(a: PciFunction, b: PciFunction): boolean {
  return a.bus === b.bus && a.device === b.device;
}

/** Other functions of the same bus and device number that Linux could merge `fn` with. */
function slotMates(fn: PciFunction): PciFunction[] {
  const mates: PciFunction[] = [];
  for (let f = 0; f < 8; f++) {
    const mate = fn.bus.at(fn.device * 8 + f);
    if (mate !== undefined && mate !== fn && !mate.isVirtual) mates.push(mate);
  }
  return mates;
}
