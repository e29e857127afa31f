/** What a function claims on its bus: memory BARs, VF BARs, and the windows of a bridge. */

import type { Span } from "../units/index.js";
import { type Bar, barSpan } from "./bar.js";
import type { SrIovFacts } from "./capability/sriov.js";
import { type Claim, WINDOW } from "./decoder.js";
import type { PciFunction } from "./function.js";

/** BAR indices 0 to 5; 6 is the expansion ROM, which claims nothing while its own enable bit is off. */
const BAR_COUNT = 6;
/** `BarHint.index` of an SR-IOV capability's VF BAR 0. Their sizes are those of all VFs together. */
export const VF_BAR_HINT = 7;

/** Memory BARs; for a VF that shows none, those that its PF's SR-IOV capability gives it. */
export function memoryBars(fn: PciFunction): readonly Bar[] | undefined {
  const own = fn.bars?.filter((bar) => bar.kind !== "io" && bar.index < BAR_COUNT);
  if (!fn.isVirtual || (own !== undefined && own.length > 0)) return own;
  const pf = fn.physfn;
  return pf?.sriov ? vfBars(fn, pf, pf.sriov) : own;
}

/** Spans that a function claims for itself, by BAR. */
export function barClaims(fn: PciFunction, owner: number, out: Claim[]): void {
  for (const bar of memoryBars(fn) ?? []) {
    const span = barSpan(bar);
    if (span !== undefined) out.push({ ...span, owner, bar: bar.index });
  }
}

/** Open memory windows of a bridge. */
export function memoryWindows(fn: PciFunction): readonly Span[] {
  const { memory, prefetchable } = fn.windows ?? {};
  const out: Span[] = [];
  if (memory?.state === "open") out.push(memory.span);
  if (prefetchable?.state === "open") out.push(prefetchable.span);
  return out;
}

export function windowClaims(fn: PciFunction, owner: number, out: Claim[]): void {
  for (const span of memoryWindows(fn)) out.push({ ...span, owner, bar: WINDOW });
}

/**
 * VF n's BAR lies n times its size above the PF's VF BAR (PCIe 6 § 9.3.3.14). The size is not in the registers:
 * without it only that the BAR exists is known, and it counts as unassigned.
 */
function vfBars(vf: PciFunction, pf: PciFunction, sriov: SrIovFacts): Bar[] {
  const { config, description } = pf;
  const index = vfIndex(vf, pf, sriov);
  const out: Bar[] = [];
  for (let n = 0; n < BAR_COUNT; n++) {
    const at = sriov.offset + 0x24 + 4 * n;
    if (!config.isKnown(at, 4)) continue;
    const low = config.u32(at);
    const wide = (low & 7) === 4;
    const high = wide ? config.u32(at + 4) : 0;
    const number = n;
    if (wide) n++;
    if ((low === 0 && high === 0) || low === 0xffffffff) continue;
    const total = description.bars?.find((h) => h.index === VF_BAR_HINT + number)?.size;
    const count = BigInt(sriov.totalVfs ?? 0);
    const size = total !== undefined && count > 0n ? total / count : undefined;
    const first = (BigInt(high) << 32n) | BigInt((low & ~0xf) >>> 0);
    const placed = size !== undefined && size > 0n && index !== undefined && first !== 0n;
    out.push({
      index: number,
      kind: wide ? "memory64" : "memory32",
      prefetchable: (low & 8) !== 0,
      base: placed ? first + BigInt(index) * size : undefined,
      size,
    });
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

/** A bridge whose windows the capture does not show, or that has something below it but no memory window open. */
export function hasUnknownWindows(fn: PciFunction): boolean {
  if (fn.windows === undefined) return fn.secondaryBus !== undefined;
  const { memory, prefetchable } = fn.windows;
  if (memory.state === "unknown" || prefetchable.state === "unknown") return true;
  const open = memory.state === "open" || prefetchable.state === "open";
  return !open && (fn.secondaryBus?.functions.length ?? 0) > 0;
}
