/**
 * BARs of a function as the kernel has laid them out: what VFIO offers as regions. A user cannot
 * move them.
 */
import { type Bar, memoryBars, type PciFunction } from "../pcie/index.js";

/** Regions 0 to 5 are BARs, by Linux's numbers. */
export const Region = { rom: 6, config: 7, vga: 8, count: 9 } as const;

/** Where a BAR decodes. */
export interface Resource {
  /** Bus address. */
  readonly base: bigint;
  /** Bytes, a power of two. */
  readonly size: bigint;
  readonly isMemory: boolean;
  /** Low bits of the register: kind and prefetchability. */
  readonly flags: number;
}

const KIND_FLAGS = { io: 1, memory32: 0, memory64: 4 } as const;
const PREFETCHABLE = 8;
const ROM_ENABLE = 1;

/** By region, 0 to 6; undefined where the function has none or nobody gave it addresses. */
export function resourcesOf(fn: PciFunction): readonly (Resource | undefined)[] {
  const out: (Resource | undefined)[] = Array.from({ length: Region.rom + 1 }, () => undefined);
  for (const bar of [...(fn.bars ?? []), ...(fn.isVirtual ? (memoryBars(fn) ?? []) : [])]) {
    if (bar.index < Region.rom) out[bar.index] ??= resourceOf(bar);
  }
  out[Region.rom] = romOf(fn);
  return out;
}

function resourceOf(bar: Bar): Resource | undefined {
  const { base, size, kind, prefetchable } = bar;
  if (base === undefined || size === undefined) return undefined;
  const flags = KIND_FLAGS[kind] | (prefetchable ? PREFETCHABLE : 0);
  return { base, size, isMemory: kind !== "io", flags };
}

function romOf(fn: PciFunction): Resource | undefined {
  const size = fn.description.bars?.find((hint) => hint.index === Region.rom)?.size;
  const register = fn.config.u32(0x30);
  const base = BigInt((register & ~0x7ff) >>> 0);
  if (size === undefined || fn.headerType !== 0 || base === 0n) return undefined;
  return { base, size, isMemory: true, flags: register & ROM_ENABLE };
}
