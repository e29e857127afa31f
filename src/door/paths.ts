/** Paths of functions and buses below /sys, and relative links between paths. */
import type { PciFunction } from "../pcie/index.js";
import { type Bdf, formatBdf } from "../units/index.js";

/** `0000:03` for a bus. */
export function formatBus(segment: number, bus: number): string {
  const hex = (n: number, digits: number) => n.toString(16).padStart(digits, "0");
  return `${hex(segment, 4)}:${hex(bus, 2)}`;
}

/**
 * The directory of a function: its bridge's directory and its address, or that of its root bus. The
 * root bus of a domain behind a VMD function stands in the directory of that function.
 * @param above directory of another function; undefined when it is not there.
 */
export function functionPath(fn: PciFunction, above: (bdf: Bdf) => string | undefined): string {
  const name = formatBdf(fn.bdf);
  const bridge = fn.upstreamBridge;
  const below = bridge === undefined ? undefined : above(bridge.bdf);
  if (below !== undefined) return `${below}/${name}`;
  const { behindVmd } = fn.description;
  const owner = behindVmd === undefined ? undefined : above(behindVmd);
  const bus = fn.bus.virtualOf ?? fn.bus;
  const root = `pci${formatBus(fn.segment, bus.number)}`;
  return `${owner ?? "/sys/devices"}/${root}/${name}`;
}

/** The text of a link at `from` that leads to `to`; both absolute. */
export function relative(from: string, to: string): string {
  const a = from.split("/").slice(1, -1);
  const b = to.split("/").slice(1);
  let same = 0;
  while (same < a.length && same < b.length - 1 && a[same] === b[same]) same++;
  return [...a.slice(same).map(() => ".."), ...b.slice(same)].join("/");
}
