/** Base address registers: PCIe 6 § 7.5.1.2.1, § 7.5.1.3. */
import type { Span } from "../units/index.js";
import type { ConfigSpace } from "./config-space.js";

export type BarKind = "io" | "memory32" | "memory64";

/**
 * One BAR as captured. Sizes are not in configuration space; they come from text, sysfs or a
 * description.
 */
export interface Bar {
  /** 0 to 5; 6 is the expansion ROM. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  /** Undefined when unassigned (base 0) or not known. */
  readonly base: bigint | undefined;
  /** In bytes; undefined when the capture does not say. */
  readonly size: bigint | undefined;
}

/** What a capture adds to the registers: the size, and the address the OS sees where it differs. */
export interface BarHint {
  readonly index: number;
  readonly size?: bigint | undefined;
  readonly base?: bigint | undefined;
  /** For captures without configuration bytes. */
  readonly kind?: BarKind | undefined;
  readonly prefetchable?: boolean | undefined;
  /** The OS has not assigned the BAR ("<unassigned>", "[disabled]" alone does not count). */
  readonly unassigned?: boolean | undefined;
}

/** The BARs a function shows. `undefined` when the registers are not known. */
export function readBars(
  config: ConfigSpace,
  headerType: number | undefined,
  hints: readonly BarHint[] = [],
): readonly Bar[] | undefined {
  const count = headerType === 0 ? 6 : headerType === 1 ? 2 : 0;
  if (headerType === undefined) return hints.length > 0 ? hints.map(fromHint) : undefined;
  return readBarBlock(config, 0x10, count, hints);
}

/** `count` BAR registers from `first` on; a function's own, or those of its VFs. */
export function readBarBlock(
  config: ConfigSpace,
  first: number,
  count: number,
  hints: readonly BarHint[],
): readonly Bar[] {
  const out: Bar[] = [];
  for (let index = 0; index < count; index++) {
    const at = first + 4 * index;
    const hint = hints.find((h) => h.index === index);
    if (!config.isKnown(at, 4)) {
      if (hint !== undefined) out.push(fromHint(hint));
      continue;
    }
    const low = config.u32(at);
    const wide = (low & 7) === 4 && index + 1 < count;
    const bar = decode(index, low, wide ? config.u32(at + 4) : 0, hint);
    if (bar !== undefined) out.push(bar);
    if (wide) index++;
  }
  return out;
}

function decode(
  index: number,
  low: number,
  high: number,
  hint: BarHint | undefined,
): Bar | undefined {
  if (low === 0 && high === 0 && hint === undefined) return undefined;
  if (low === 0xffffffff) return undefined;
  const io = (low & 1) !== 0;
  const kind: BarKind = io ? "io" : (low & 6) === 4 ? "memory64" : "memory32";
  const raw = io ? BigInt((low & ~3) >>> 0) : (BigInt(high) << 32n) | BigInt((low & ~0xf) >>> 0);
  const base = hint?.unassigned === true ? undefined : raw !== 0n ? raw : hint?.base;
  return {
    index,
    kind: hint?.kind ?? kind,
    prefetchable: hint?.prefetchable ?? (!io && (low & 8) !== 0),
    base,
    size: hint?.size,
  };
}

function fromHint(hint: BarHint): Bar {
  return {
    index: hint.index,
    kind: hint.kind ?? "memory32",
    prefetchable: hint.prefetchable ?? false,
    base: hint.unassigned === true ? undefined : hint.base,
    size: hint.size,
  };
}

/**
 * Addresses the BAR decodes; with an unknown size at least 16 bytes (memory) or 4 (I/O). Undefined
 * when unassigned.
 */
export function barSpan(bar: Bar): Span | undefined {
  if (bar.base === undefined) return undefined;
  const size = bar.size ?? (bar.kind === "io" ? 4n : 16n);
  return { first: bar.base, last: bar.base + size - 1n };
}
