/**
 * VMD: an Intel volume management device owns a PCI domain of its own, and everything in that
 * domain sends as the VMD function. Linux numbers those domains from 0x10000.
 *
 * A sysfs path pairs domain and VMD (`behindVmd`). Text captures do not: domains and VMDs are
 * paired in order, and with more than one VMD that is a guess.
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import type { Evidence } from "./evidence.js";
import type { LinuxRuleSet } from "./partition.js";
import { aliasRows, aliasRowsOfAnyRules } from "./quirks.js";
import { mayBe } from "./quirks-ids.js";

export const FIRST_VMD_SEGMENT = 0x10000;

export interface VmdOwner {
  /** Undefined when no VMD of the capture can own the domain. */
  readonly vmd: PciFunction | undefined;
  /** named: by the capture; only: the one there is; guessed: paired in order. */
  readonly by: "named" | "only" | "guessed" | "nothing";
  /** This kernel has no driver for the VMD, so the domain would not exist. */
  readonly driven: boolean;
}

const ORDINARY: ReadonlyMap<number, VmdOwner> = new Map();

/** Segment → owner, for every segment from 0x10000 up. */
export function vmdDomains(fabric: Fabric, rules: LinuxRuleSet): ReadonlyMap<number, VmdOwner> {
  const segments = childSegments(fabric);
  if (segments.size === 0) return ORDINARY;
  const vmds = fabric.functions.filter((fn) => fn.segment < FIRST_VMD_SEGMENT && isVmd(fn));
  const named = new Set<PciFunction>();
  for (const owner of segments.values()) if (owner !== undefined) named.add(owner);
  const free = vmds.filter((vmd) => !named.has(vmd)).sort((a, b) => a.bdf - b.bdf);
  const out = new Map<number, VmdOwner>();
  const only = segments.size === 1 && free.length === 1;
  let next = 0;
  for (const segment of [...segments.keys()].sort((a, b) => a - b)) {
    const byName = segments.get(segment);
    const vmd = byName ?? free[next++];
    const by = byName ? "named" : vmd === undefined ? "nothing" : only ? "only" : "guessed";
    out.set(segment, { vmd, by, driven: vmd === undefined || isDriven(vmd, rules) });
  }
  return out;
}

/** Child segment → the VMD that the capture names, if it does. */
function childSegments(fabric: Fabric): Map<number, PciFunction | undefined> {
  const out = new Map<number, PciFunction | undefined>();
  for (const fn of fabric.functions) {
    if (fn.segment < FIRST_VMD_SEGMENT) continue;
    const named = fn.description.behindVmd;
    const owner = named === undefined ? undefined : fabric.function(named);
    out.set(fn.segment, out.get(fn.segment) ?? owner);
  }
  return out;
}

function isVmd(fn: PciFunction): boolean {
  return mayBe(fn, (id) => aliasRowsOfAnyRules(id).some((row) => row.rule === "realDmaDevice"));
}

/**
 * A VMD that the capture names but the tables do not know is taken as driven: its domain is there.
 */
function isDriven(vmd: PciFunction, rules: LinuxRuleSet): boolean {
  if (!isVmd(vmd)) return true;
  return mayBe(vmd, (id) => aliasRows(id, rules).some((row) => row.rule === "realDmaDevice"));
}

/** Evidence that `fn` sends as the owner of its domain. */
export function vmdEvidence(fn: PciFunction, owner: VmdOwner): Evidence {
  return {
    kind: "alias-vmd",
    at: fn.bdf,
    ...(owner.vmd === undefined ? {} : { with: owner.vmd.bdf, rid: owner.vmd.rid }),
    quirk: "realDmaDevice",
    ...(owner.by === "guessed" ? { detail: "paired in order" } : {}),
    cite: "Linux pci_real_dma_dev",
  };
}
