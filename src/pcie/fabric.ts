/**
 * Fabric: the functions of a host wired into buses, with what could not be wired.
 *
 * Built once from descriptions, then read only. Cost: O(n log n) in functions.
 */
import {
  type Bdf,
  bdfFromRid,
  busOf,
  formatBdf,
  makeBdf,
  NumberMap,
  segmentOf,
} from "../units/index.js";
import { PortType } from "./capability/express.js";
import { ExtendedCapabilityId } from "./capability/list.js";
import { vfRids } from "./capability/sriov.js";
import { Bus, type FunctionDescription, PciFunction } from "./function.js";

/** Something a fabric had to decide on without proof. */
export interface TopologyProblem {
  readonly kind: "duplicate-function" | "bus-claimed-twice" | "missing-bridge" | "bus-loop";
  readonly at: Bdf;
  readonly text: string;
}

export interface FabricDescription {
  readonly functions: readonly FunctionDescription[];
}

/** All functions and buses of a host, wired; made by {@link buildFabric}. */
export class Fabric {
  /**
   * In enumeration order: each bus by device and function, parents before children, high segments
   * last.
   */
  readonly functions: readonly PciFunction[];
  /** The same functions in order of their addresses. */
  readonly byAddress: readonly PciFunction[];
  readonly rootBuses: readonly Bus[];
  readonly problems: readonly TopologyProblem[];
  /** Position in `functions`. */
  readonly #byBdf: NumberMap;
  readonly #buses: ReadonlyMap<number, Bus>;

  /**
   * `functions` in enumeration order, each numbered with its place; `byBdf` gives that place.
   */
  constructor(
    functions: readonly PciFunction[],
    byAddress: readonly PciFunction[],
    buses: ReadonlyMap<number, Bus>,
    byBdf: NumberMap,
    problems: readonly TopologyProblem[],
  ) {
    this.functions = functions;
    this.byAddress = byAddress;
    this.rootBuses = [...buses.values()].filter((b) => b.isRoot);
    this.problems = problems;
    this.#byBdf = byBdf;
    this.#buses = buses;
  }

  function(bdf: Bdf): PciFunction | undefined {
    const place = this.#byBdf.get(bdf);
    return place < 0 ? undefined : this.functions[place];
  }

  /** Place in `functions`; -1 when the fabric has no such function. */
  indexOf(bdf: Bdf): number {
    return this.#byBdf.get(bdf);
  }

  bus(segment: number, number: number): Bus | undefined {
    return this.#buses.get(segment * 256 + number);
  }

  get buses(): Iterable<Bus> {
    return this.#buses.values();
  }

  get busCount(): number {
    return this.#buses.size;
  }
}

/** Wires functions into buses. Never throws for odd input: what does not fit is in `problems`. */
export function buildFabric(description: FabricDescription): Fabric {
  const problems: TopologyProblem[] = [];
  const places = new NumberMap(description.functions.length);
  const all = makeFunctions(description.functions, places, problems);
  const at = (bdf: Bdf): PciFunction | undefined => {
    const place = places.get(bdf);
    return place < 0 ? undefined : all[place];
  };
  const buses = makeBuses(all);
  linkVirtualFunctions(all, at);
  linkBridges(all, buses, problems);
  linkVirtualBuses(buses, problems);
  const ordered = enumerate(buses, problems);
  ordered.forEach((fn, i) => {
    fn.index = i;
    places.set(fn.bdf, i);
    correctPortType(fn);
    fn.multifunction = multifunctionFlag(fn);
  });
  return new Fabric(ordered, all, buses, places, problems);
}

/** One function for each address, by address; `places` gets their places. */
function makeFunctions(
  descriptions: readonly FunctionDescription[],
  places: NumberMap,
  problems: TopologyProblem[],
): PciFunction[] {
  const all: PciFunction[] = [];
  let sorted = true;
  for (const d of descriptions) {
    if (places.add(d.bdf, all.length) !== -1) {
      problems.push(
        problem("duplicate-function", d.bdf, "described twice; the first description is used"),
      );
      continue;
    }
    sorted &&= all.length === 0 || (all[all.length - 1] as PciFunction).bdf < d.bdf;
    all.push(new PciFunction(d));
  }
  if (sorted) return all;
  all.sort((a, b) => a.bdf - b.bdf);
  all.forEach((fn, i) => {
    places.set(fn.bdf, i);
  });
  return all;
}

function makeBuses(sorted: readonly PciFunction[]): Map<number, Bus> {
  const buses = new Map<number, Bus>();
  for (const fn of sorted) {
    const bus = obtainBus(buses, fn.segment, fn.busNumber);
    bus.add(fn);
    fn.bus = bus;
  }
  return buses;
}

function obtainBus(buses: Map<number, Bus>, segment: number, number: number): Bus {
  const key = segment * 256 + number;
  let bus = buses.get(key);
  if (bus === undefined) {
    bus = new Bus(segment, number);
    buses.set(key, bus);
  }
  return bus;
}

/** The PF by its name in the capture, else by the numbers in its SR-IOV capability. */
function linkVirtualFunctions(
  all: readonly PciFunction[],
  at: (bdf: Bdf) => PciFunction | undefined,
): void {
  for (const fn of all) {
    const named = fn.description.physfn;
    if (named !== undefined) {
      fn.isVirtual = true;
      fn.physfn = at(named);
    } else if (fn.description.virtual === true || looksVirtual(fn)) fn.isVirtual = true;
  }
  for (const pf of all) {
    if (!pf.sriov) continue;
    for (const rid of vfRids(pf.rid, pf.sriov)) {
      const vf = at(bdfFromRid(pf.segment, rid));
      if (vf === undefined || vf === pf || vf.sriov) continue;
      vf.isVirtual = true;
      vf.physfn ??= pf;
    }
  }
}

/** A VF's own vendor and device id registers read ffff (PCIe 6 § 9.3.4.1.1). */
function looksVirtual(fn: PciFunction): boolean {
  return (
    fn.config.knownU16(0) === 0xffff &&
    fn.config.knownU16(2) === 0xffff &&
    fn.config.knownU8(0x0e) !== 0xff
  );
}

function linkBridges(
  all: readonly PciFunction[],
  buses: Map<number, Bus>,
  problems: TopologyProblem[],
): void {
  for (const bridge of all) {
    const secondary = bridge.secondaryBusNumber;
    if (secondary === undefined || secondary === 0) continue;
    const bus = obtainBus(buses, bridge.segment, secondary);
    if (bus.bridge !== undefined || bus === bridge.bus) {
      const owner = formatBdf((bus.bridge ?? bridge).bdf);
      const text = `secondary bus ${secondary.toString(16)} already belongs to ${owner}`;
      problems.push(problem("bus-claimed-twice", bridge.bdf, text));
      continue;
    }
    bus.bridge = bridge;
    bridge.secondaryBus = bus;
  }
  for (const fn of all) linkByName(fn, buses);
}

/** Parents that the capture names win where no register told. */
function linkByName(fn: PciFunction, buses: Map<number, Bus>): void {
  const parent = fn.description.parent;
  if (parent === undefined || parent === null || fn.bus.bridge !== undefined || fn.isVirtual)
    return;
  const bus = buses.get(segmentOf(parent) * 256 + busOf(parent));
  const bridge = bus?.functions.find((f) => f.bdf === parent);
  if (bridge === undefined || bridge.secondaryBus !== undefined || bridge.bus === fn.bus) return;
  fn.bus.bridge = bridge;
  bridge.secondaryBus = fn.bus;
}

/** A bus without a bridge that only carries VFs continues with its PF's bus (§ 9.2.1.2). */
function linkVirtualBuses(buses: Map<number, Bus>, problems: TopologyProblem[]): void {
  for (const bus of buses.values()) {
    if (bus.bridge !== undefined) continue;
    const pf = bus.functions.find((f) => f.isVirtual && f.physfn !== undefined)?.physfn;
    if (pf !== undefined && bus.functions.every((f) => f.isVirtual) && pf.bus !== bus) {
      bus.virtualOf = pf.bus;
      bus.bridge = pf.bus.bridge;
      continue;
    }
    const orphan = bus.functions.find((f) => cannotSitOnRootBus(f));
    if (orphan !== undefined) {
      problems.push(
        problem("missing-bridge", orphan.bdf, "the bridge above this bus is not in the capture"),
      );
    }
  }
}

/**
 * A switch port always has a bridge above it. (Endpoints on root buses do occur in emulators and
 * some chipsets.)
 */
function cannotSitOnRootBus(fn: PciFunction): boolean {
  if (fn.description.parent === null) return false;
  return fn.portType === PortType.UpstreamPort || fn.portType === PortType.DownstreamPort;
}

/** Numbers the buses in the order in which it meets them. */
function enumerate(buses: Map<number, Bus>, problems: TopologyProblem[]): PciFunction[] {
  const sorted = [...buses.values()].sort((a, b) => a.segment - b.segment || a.number - b.number);
  const virtual = new Map<Bus, Bus[]>();
  for (const bus of sorted) {
    if (bus.virtualOf !== undefined)
      virtual.set(bus.virtualOf, [...(virtual.get(bus.virtualOf) ?? []), bus]);
  }
  const ordered: PciFunction[] = [];
  let visited = 0;
  const visit = (root: Bus): void => {
    const stack = [root];
    for (let bus = stack.pop(); bus !== undefined; bus = stack.pop()) {
      if (bus.index >= 0) continue;
      bus.index = visited++;
      for (const fn of bus.functions) ordered.push(fn);
      // The stack turns the order round: virtual buses come first, then those below bridges.
      for (let i = bus.functions.length - 1; i >= 0; i--) {
        const below = (bus.functions[i] as PciFunction).secondaryBus;
        if (below !== undefined) stack.push(below);
      }
      const continued = virtual.get(bus);
      for (let i = (continued?.length ?? 0) - 1; i >= 0; i--) {
        const child = continued?.[i] as Bus;
        // A cut above may have taken the bridge that a virtual bus shares with this one.
        if (child.index < 0) child.bridge = bus.bridge;
        stack.push(child);
      }
    }
  };
  for (const bus of sorted) if (bus.isRoot) visit(bus);
  for (const bus of sorted) {
    if (bus.index >= 0) continue;
    // Only a loop of bridges keeps a bus from being reached.
    const at = bus.functions[0]?.bdf ?? makeBdf(bus.segment, bus.number, 0, 0);
    problems.push(problem("bus-loop", at, "bridges form a loop here; it was cut"));
    if (bus.bridge !== undefined) bus.bridge.secondaryBus = undefined;
    bus.bridge = undefined;
    visit(bus);
  }
  return ordered;
}

/**
 * A downstream port below a downstream-facing port is an upstream port, and the reverse (some
 * switches are mislabelled).
 */
function correctPortType(fn: PciFunction): void {
  const parent = fn.bus.bridge;
  if (parent === undefined || !fn.isBridge) return;
  const above = parent.portType;
  if (fn.portType === PortType.DownstreamPort) {
    const facing =
      above === PortType.RootPort ||
      above === PortType.DownstreamPort ||
      above === PortType.PciToPcieBridge;
    if (facing) fn.portType = PortType.UpstreamPort;
  } else if (fn.portType === PortType.UpstreamPort && above === PortType.UpstreamPort) {
    fn.portType = PortType.DownstreamPort;
  }
}

/**
 * A function of an ARI device that is not its first: below a port that forwards by ARI all 8 bits
 * are the function number (PCIe 6 § 6.13).
 */
function isAriFunction(fn: PciFunction): boolean {
  if (fn.device === 0 || fn.bus.bridge?.express?.ariForwarding !== true) return false;
  return fn.bus.at(0)?.capabilities.extended?.has(ExtendedCapabilityId.Ari) === true;
}

function multifunctionFlag(fn: PciFunction): boolean | undefined {
  if (fn.isVirtual) return false;
  if (fn.fn !== 0 || isAriFunction(fn)) return true;
  if (fn.multifunctionBit !== undefined) return fn.multifunctionBit;
  for (let f = 1; f < 8; f++) {
    const sibling = fn.bus.at(fn.devFn + f);
    if (sibling !== undefined && !sibling.isVirtual) return true;
  }
  return fn.config.extent === 0 ? undefined : false;
}

function problem(kind: TopologyProblem["kind"], at: Bdf, text: string): TopologyProblem {
  return { kind, at, text: `${formatBdf(at)}: ${text}` };
}
