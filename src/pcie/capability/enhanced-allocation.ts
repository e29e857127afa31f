/** Enhanced Allocation: fixed addresses in place of BARs and windows. PCIe 6 § 7.8.5. */
import type { Span } from "../../units/index.js";
import type { ConfigSpace } from "../config-space.js";

export type EaTarget =
  | { readonly kind: "bar"; readonly index: number }
  | { readonly kind: "vf-bar"; readonly index: number }
  | { readonly kind: "rom" | "behind-bridge" | "not-a-bar" };

export type EaProperty =
  | "memory"
  | "prefetchable"
  | "io"
  | "vf-prefetchable"
  | "vf-memory"
  | "bridge-memory"
  | "bridge-prefetchable"
  | "bridge-io"
  | "reserved"
  | "unavailable";

export interface EaEntry {
  readonly offset: number;
  readonly target: EaTarget;
  readonly enabled: boolean;
  readonly writable: boolean;
  /** Secondary properties apply when the primary ones are not understood. */
  readonly primary: EaProperty;
  readonly secondary: EaProperty;
  readonly span: Span;
}

export interface EnhancedAllocationFacts {
  readonly offset: number;
  /** Fixed secondary and subordinate bus numbers of a bridge. */
  readonly fixedBuses: { readonly secondary: number; readonly subordinate: number } | undefined;
  readonly entries: readonly EaEntry[];
  /** An entry that runs past the standard configuration space was cut here. */
  readonly broken: boolean;
}

const NUMBERED: readonly EaProperty[] = [
  "memory",
  "prefetchable",
  "io",
  "vf-prefetchable",
  "vf-memory",
  "bridge-memory",
  "bridge-prefetchable",
  "bridge-io",
];

/** All entries of the capability at `offset`, at most 63. */
export function readEnhancedAllocation(
  config: ConfigSpace,
  offset: number,
): EnhancedAllocationFacts {
  const bridge = (config.u8(0x0e) & 0x7f) === 1;
  const count = config.u8(offset + 2) & 0x3f;
  const fixedBuses = bridge
    ? { secondary: config.u8(offset + 4), subordinate: config.u8(offset + 5) }
    : undefined;
  const entries: EaEntry[] = [];
  let at = offset + (bridge ? 8 : 4);
  for (let i = 0; i < count; i++) {
    const words = (config.u32(at) & 7) + 1;
    if (at + 4 * words > 0x100 || words < 3) return { offset, fixedBuses, entries, broken: true };
    entries.push(readEntry(config, at));
    at += 4 * words;
  }
  return { offset, fixedBuses, entries, broken: false };
}

function readEntry(config: ConfigSpace, at: number): EaEntry {
  const head = config.u32(at);
  const base = config.u32(at + 4);
  const max = config.u32(at + 8);
  let next = at + 12;
  const high = (word: number): bigint => {
    if ((word & 2) === 0) return 0n;
    next += 4;
    return BigInt(config.u32(next - 4)) << 32n;
  };
  const first = high(base) | BigInt((base & ~3) >>> 0);
  // The two low bits of an offset count as ones.
  const size = high(max) | BigInt((max | 3) >>> 0);
  return {
    offset: at,
    target: target((head >>> 4) & 0xf),
    primary: property((head >>> 8) & 0xff),
    secondary: property((head >>> 16) & 0xff),
    writable: (head & 0x4000_0000) !== 0,
    enabled: head >>> 31 !== 0,
    span: { first, last: first + size },
  };
}

function target(bei: number): EaTarget {
  if (bei <= 5) return { kind: "bar", index: bei };
  if (bei >= 9 && bei <= 14) return { kind: "vf-bar", index: bei - 9 };
  return { kind: bei === 6 ? "behind-bridge" : bei === 8 ? "rom" : "not-a-bar" };
}

function property(value: number): EaProperty {
  return NUMBERED[value] ?? (value >= 0xfd ? "unavailable" : "reserved");
}
