/**
 * What a capture does not show of each device, as the published list of missing facts:
 *
 *   config     its configuration space, or the part with its capabilities, was not readable
 *   windows    a bridge window or a memory BAR is not known or not assigned: it counts as reachable
 *   topology   the bridge above it is not in the capture, or its place is contradictory
 *   acs, ids, scope  what a rule needed and did not find; the rule sets say so themselves
 */
import { type Bar, type Fabric, hasUnknownWindows, type PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import type { MissingFact } from "./evidence.js";
import type { Unknown } from "./report-types.js";

const ORDER: readonly MissingFact[] = ["config", "topology", "windows", "acs", "ids", "scope"];

/**
 * Merges what the fabric shows with the lists of others; sorted by device, facts in a fixed order.
 */
export function unknownsOf(fabric: Fabric, lists: readonly (readonly Unknown[])[]): Unknown[] {
  const found = new Map<Bdf, Set<MissingFact>>();
  const note = (device: Bdf, fact: MissingFact): void => {
    const facts = found.get(device);
    if (facts === undefined) found.set(device, new Set([fact]));
    else facts.add(fact);
  };
  for (const fn of fabric.functions) {
    if (fn.config.extent < 256) note(fn.bdf, "config");
    if (hasUnknownAddresses(fn)) note(fn.bdf, "windows");
  }
  for (const problem of fabric.problems) note(problem.at, "topology");
  for (const list of lists) {
    for (const { device, missing } of list) for (const fact of missing) note(device, fact);
  }
  return [...found]
    .sort(([a], [b]) => a - b)
    .map(([device, facts]) => ({ device, missing: ORDER.filter((f) => facts.has(f)) }));
}

/** A window or memory BAR without an address. A VF's BARs are in its PF, and are not looked for. */
export function hasUnknownAddresses(fn: PciFunction): boolean {
  if (fn.isBridge && hasUnknownWindows(fn)) return true;
  if (fn.isVirtual) return false;
  const { bars } = fn;
  return bars === undefined ? fn.config.extent === 0 : bars.some(isUnassigned);
}

const isUnassigned = (bar: Bar): boolean => bar.kind !== "io" && bar.base === undefined;
