/**
 * Why the rules put two functions into different groups: what isolates each of them, or what nobody
 * asked.
 */
import type { PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { distinctEvidence } from "./distinct-evidence.js";
import type { Evidence } from "./evidence.js";
import { EDGE_KIND, isEdgeJoin } from "./isolation-group.js";
import { reachesOf } from "./p2p-graph-reach.js";
import { joinPath } from "./partition.js";
import type { Analysis } from "./report-types.js";

const CITE_PATH = "Linux pci_acs_path_enabled()";
const CITE_ROUTING = "PCIe 6 § 2.2.4.1";
const CITE_COMPARE = "Linux pci_device_group()";

/**
 * For a function without a group: why it has none. Else every port on both paths up to the root
 * complex as the kernel judges it, and then one of: the edge that the rules never ask about, the
 * edge that hardware may have, or that nothing joins the two. Equal devices: the path alone.
 */
export function separationEvidence(analysis: Analysis, a: Bdf, b: Bdf): Evidence[] {
  const { partition, fabric } = analysis;
  const ungrouped = partition.ungrouped.filter((u) => u.device === a || u.device === b);
  if (ungrouped.length > 0) return distinctEvidence(ungrouped.flatMap((u) => u.because));
  const out: Evidence[] = [];
  for (const device of [a, b]) {
    const fn = fabric.function(device);
    if (fn !== undefined) out.push(...pathEvidence(analysis, fn));
  }
  if (a !== b) out.push(...relation(analysis, a, b));
  return distinctEvidence(out);
}

/**
 * The function itself, if its slot can matter, and each bridge above it, as the kernel judges them.
 */
function pathEvidence(analysis: Analysis, fn: PciFunction): Evidence[] {
  const out: Evidence[] = [];
  for (let at: PciFunction | undefined = fn; at !== undefined; at = at.upstreamBridge) {
    out.push(...analysis.linux.judge.verdict(at).because);
  }
  return out;
}

function relation(analysis: Analysis, a: Bdf, b: Bdf): Evidence[] {
  const edges = (joinPath(analysis.deviceCentric, a, b) ?? []).filter(isEdgeJoin);
  if (edges.length > 0) {
    return edges.map((join) => ({
      kind: "linux-does-not-ask",
      at: join.source.port.bdf,
      with: join.target.port.bdf,
      cite: CITE_COMPARE,
    }));
  }
  const possible = possibleEdge(analysis, a, b) ?? possibleEdge(analysis, b, a);
  return [possible ?? { kind: "peers-isolated", at: a, with: b, cite: CITE_PATH }];
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
