/** What a function claims on its bus: memory BARs, VF BARs, and the windows of a bridge. */

import type { Span } from "../units/index.js";
import { type Bar, barSpan } from "./bar.js";
import {
  type EaEntry,
  type EaProperty,
  readEnhancedAllocation,
} from "./capability/enhanced-allocation.js";
import { CapabilityId, findStandard } from "./capability/list.js";
import { readVfBars, type SrIovFacts } from "./capability/sriov.js";
import { type Claim, WINDOW } from "./decoder.js";
import type { PciFunction } from "./function.js";

/**
 * BAR indices 0 to 5; 6 is the expansion ROM, which claims nothing while its own enable bit is off.
 */
const BAR_COUNT = 6;
/**
 * `BarHint.index` of an SR-IOV capability's VF BAR 0. Their sizes are those of all VFs together.
 */
export const VF_BAR_HINT = 7;

/** Memory BARs; for a VF that shows none, those that its PF's SR-IOV capability gives it. */
export function memoryBars(fn: PciFunction): readonly Bar[] | undefined {
  const own = fn.bars?.filter((bar) => bar.kind !== "io" && bar.index < BAR_COUNT);
  if (!fn.isVirtual || (own !== undefined && own.length > 0)) return own;
  const pf = fn.physfn;
  return pf?.sriov ? vfBars(fn, pf, pf.sriov) : own;
}

/** Spans that a function claims for itself, by BAR; Enhanced Allocation entries included. */
export function barClaims(fn: PciFunction, owner: number, out: Claim[]): void {
  for (const bar of memoryBars(fn) ?? []) {
    const span = barSpan(bar);
    if (span !== undefined) {
      out.push({ first: span.first, last: span.last, owner, bar: bar.index });
    }
  }
  for (const { target, span } of enhancedEntries(fn, BAR_PROPERTIES)) {
    if (target.kind === "bar") {
      out.push({ first: span.first, last: span.last, owner, bar: target.index });
    }
  }
}

/** All that {@link barClaims} gives, as spans. */
export function claimedSpans(fn: PciFunction): readonly Span[] {
  const out: Claim[] = [];
  barClaims(fn, 0, out);
  return out.map(({ first, last }) => ({ first, last }));
}

/** Open memory windows of a bridge. */
export function memoryWindows(fn: PciFunction): readonly Span[] {
  const { memory, prefetchable } = fn.windows ?? {};
  const out: Span[] = [];
  if (memory?.state === "open") out.push(memory.span);
  if (prefetchable?.state === "open") out.push(prefetchable.span);
  for (const { target, span } of enhancedEntries(fn, WINDOW_PROPERTIES)) {
    if (target.kind === "behind-bridge") out.push(span);
  }
  return out;
}

const BAR_PROPERTIES: readonly EaProperty[] = ["memory", "prefetchable"];
const WINDOW_PROPERTIES: readonly EaProperty[] = ["bridge-memory", "bridge-prefetchable"];

/**
 * Enabled entries of the Enhanced Allocation capability with one of these properties (PCIe 6 §
 * 7.8.5).
 */
function enhancedEntries(fn: PciFunction, properties: readonly EaProperty[]): readonly EaEntry[] {
  const at = findStandard(fn.capabilities, CapabilityId.EnhancedAllocation);
  if (typeof at !== "number") return [];
  const { entries } = readEnhancedAllocation(fn.config, at);
  return entries.filter((e) => e.enabled && properties.includes(e.primary));
}

/** Adds the memory windows of a bridge as claims of `owner`. */
export function windowClaims(fn: PciFunction, owner: number, out: Claim[]): void {
  for (const { first, last } of memoryWindows(fn)) out.push({ first, last, owner, bar: WINDOW });
}

/**
 * VF n's BAR lies n times its size above the PF's VF BAR (PCIe 6 § 9.3.3.14). The size is not in
 * the registers: without it only that the BAR exists is known, and it counts as unassigned.
 */
function vfBars(vf: PciFunction, pf: PciFunction, sriov: SrIovFacts): Bar[] {
  const index = vfIndex(vf, pf, sriov);
  const out: Bar[] = [];
  for (const bar of readVfBars(pf.config, sriov.offset)) {
    if (bar.kind === "io") continue;
    const total = pf.description.bars?.find((h) => h.index === VF_BAR_HINT + bar.index)?.size;
    const count = BigInt(sriov.totalVfs ?? 0);
    const size = total !== undefined && count > 0n ? total / count : undefined;
    const placed = size !== undefined && size > 0n && index !== undefined;
    const base = placed && bar.base !== undefined ? bar.base + BigInt(index) * size : undefined;
    out.push({ ...bar, base, size });
  }
  return out;
}

function vfIndex(vf: PciFunction, pf: PciFunction, sriov: SrIovFacts): number | undefined {
  const { firstVfOffset, vfStride } = sriov;
  if (firstVfOffset === undefined || vfStride === undefined) return undefined;
  const distance = vf.rid - pf.rid - firstVfOffset;
  if (vfStride === 0) return distance === 0 ? 0 : undefined;
  const index = distance / vfStride;
  return Number.isInteger(index) && index >= 0 ? index : undefined;
}

/** Some BAR has no address or no size, or the capture does not show whether there are BARs. */
export function hasUnknownBars(fn: PciFunction): boolean {
  const bars = memoryBars(fn);
  if (bars === undefined) return fn.headerType !== 2;
  return bars.some((bar) => bar.base === undefined || bar.size === undefined);
}

/**
 * A bridge whose windows the capture does not show, or that has something below it but no memory
 * window open.
 */
export function hasUnknownWindows(fn: PciFunction): boolean {
  if (fn.windows === undefined) return fn.secondaryBus !== undefined;
  const { memory, prefetchable } = fn.windows;
  if (memory.state === "unknown" || prefetchable.state === "unknown") return true;
  const open = memory.state === "open" || prefetchable.state === "open";
  return !open && (fn.secondaryBus?.functions.length ?? 0) > 0;
}
