/** Numbers, BARs and windows of a platform file, checked for what a shape cannot say. */
import type { Span } from "../units/index.js";
import type { InputPath } from "./line-map.js";
import type { PlannedBar, PlannedWindows } from "./plan.js";
import type { Problems } from "./platform-error.js";
import type { BarNode, DeviceNode, WindowNode } from "./platform-shape.js";

const UNIT: Readonly<Record<string, bigint>> = {
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
};

/** `16K`, `0x4000` or a number of bytes. */
export function toBytes(value: number | string): bigint {
  if (typeof value === "number" || value.startsWith("0x")) return BigInt(value);
  return BigInt(value.slice(0, -1)) * (UNIT[value.slice(-1)] ?? 1n);
}

/** BARs in order; `count` registers are there, and a 64-bit BAR takes two. */
export function planBars(
  bars: readonly BarNode[] | undefined,
  count: number,
  path: InputPath,
  problems: Problems,
): readonly PlannedBar[] | undefined {
  if (bars === undefined) return undefined;
  const used = new Set<number>();
  let next = 0;
  return bars.map((bar, i): PlannedBar => {
    const at = [...path, i];
    const kind = bar.kind ?? "memory32";
    const index = bar.index ?? next;
    const taken = kind === "memory64" ? [index, index + 1] : [index];
    if (taken.some((n) => n >= count)) {
      problems.add(at, `BAR ${index} does not fit`, `${count} BAR registers, two for memory64`);
    } else if (taken.some((n) => used.has(n))) {
      problems.add(at, `BAR ${index} is used twice`, "a register of its own");
    }
    for (const n of taken) used.add(n);
    next = index + taken.length;
    const size = toBytes(bar.size);
    checkSize(size, kind, [...at, "size"], problems);
    const base = bar.base === "unassigned" ? null : big(bar.base);
    if (typeof base === "bigint") checkBase(base, size, kind, [...at, "base"], problems);
    return { index, kind, prefetchable: bar.prefetchable, size, base };
  });
}

function checkSize(
  size: bigint,
  kind: PlannedBar["kind"],
  path: InputPath,
  problems: Problems,
): void {
  const [least, most] =
    kind === "io" ? [4n, 256n] : [16n, kind === "memory32" ? 1n << 31n : 1n << 62n];
  if (size > 0n && (size & (size - 1n)) === 0n && size >= least && size <= most) return;
  problems.add(path, `a ${kind} BAR cannot have this size`, `a power of two, ${least} to ${most}`);
}

function checkBase(
  base: bigint,
  size: bigint,
  kind: PlannedBar["kind"],
  path: InputPath,
  problems: Problems,
): void {
  if (size > 0n && base % size !== 0n) {
    problems.add(path, "is not aligned", `a multiple of the size, 0x${size.toString(16)}`);
  }
  const limit = kind === "memory64" ? 1n << 64n : kind === "memory32" ? 1n << 32n : 1n << 16n;
  if (base === 0n || base + size > limit) {
    problems.add(path, `a ${kind} BAR cannot be here`, `1 to 0x${(limit - 1n).toString(16)}`);
  }
}

/** Explicit windows; `closed` is null. */
export function planWindows(
  windows: DeviceNode["windows"],
  path: InputPath,
  problems: Problems,
): PlannedWindows | undefined {
  if (windows === undefined) return undefined;
  const span = (key: keyof PlannedWindows, granule: bigint, bits: bigint) =>
    planWindow(windows[key], granule, 1n << bits, [...path, key], problems);
  return {
    io: span("io", 0x1000n, 16n),
    memory: span("memory", 0x10_0000n, 32n),
    prefetchable: span("prefetchable", 0x10_0000n, 64n),
  };
}

function planWindow(
  node: WindowNode | undefined,
  granule: bigint,
  limit: bigint,
  path: InputPath,
  problems: Problems,
): Span | null | undefined {
  if (node === undefined) return undefined;
  if (node === "closed") return null;
  const first = BigInt(node.first);
  const last = BigInt(node.last);
  const step = `0x${granule.toString(16)}`;
  if (first % granule !== 0n) {
    problems.add([...path, "first"], "is not aligned", `a multiple of ${step}`);
  }
  if ((last + 1n) % granule !== 0n) {
    problems.add([...path, "last"], "is not aligned", `one less than a multiple of ${step}`);
  }
  if (last < first || last >= limit) {
    const expected = `first to 0x${(limit - 1n).toString(16)}`;
    problems.add([...path, "last"], "does not fit", expected);
  }
  return last < first ? null : { first, last };
}

function big(value: number | string | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}
