/**
 * Layout: gives a plan its bus numbers, BAR addresses and bridge windows.
 *
 * Buses are numbered depth first, in order of device and function; numbers that VFs run into are
 * kept free (PCIe 6 § 9.2.1.2). Addresses grow in the same order, so the windows of siblings never
 * overlap and a window holds exactly what is below its bridge, rounded to the bridge's granularity
 * (PCI-to-PCI Bridge 1.2 § 3.2.5). 64-bit prefetchable BARs live above 4 GiB, other memory BARs
 * below it, I/O below 64 KiB per segment. Addresses that a plan fixes are kept as they are:
 * automatic ones keep clear of them and, behind a fixed window, are taken from it. Fixed addresses
 * that overlap or leave their window are problems.
 */
import type { FunctionSpec } from "../pcie/index.js";
import { formatBdf, makeBdf, type Span } from "../units/index.js";
import { AddressCursor, type AddressPool, alignUp, type Pools, poolOf } from "./address-cursor.js";
import { checkUse, emptyUse, fixedSpans, type Use } from "./layout-check.js";
import type { LayoutProblem } from "./layout-problem.js";
import type { InputPath } from "./line-map.js";
import type { PlannedBar, PlannedFunction, PlannedRoot, PlannedSrIov } from "./plan.js";
import { virtualSpec } from "./virtual-function.js";

export interface LaidOutFunction {
  readonly spec: FunctionSpec;
  readonly plan: PlannedFunction;
}

export interface Layout {
  /** In enumeration order; VFs follow their PF. */
  readonly functions: readonly LaidOutFunction[];
  readonly problems: readonly LayoutProblem[];
}

const POOL_SPAN: Readonly<Record<AddressPool, Span>> = {
  io: { first: 0x1000n, last: 0xffffn },
  memory: { first: 0x8000_0000n, last: 0xfebf_ffffn },
  prefetchable: { first: 0x40_0000_0000n, last: 0xf_ffff_ffff_ffffn },
};

/** Never throws: what cannot be laid out is in `problems`. Cost: n log n in functions. */
export function layOut(roots: readonly PlannedRoot[]): Layout {
  const fixed = fixedSpans(roots.flatMap((root) => root.functions));
  const memory: Omit<Pools, "io"> = {
    memory: new AddressCursor(POOL_SPAN.memory, fixed.memory),
    prefetchable: new AddressCursor(POOL_SPAN.prefetchable, fixed.prefetchable),
  };
  const io = new Map<number, AddressCursor>();
  const out = new Builder();
  const next = new Map<number, number>();
  const shared = emptyUse();
  const uses = new Map<number, Use>();
  const numbered = roots.filter((root) => root.bus !== undefined);
  for (const root of [...numbered, ...roots.filter((r) => r.bus === undefined)]) {
    const bus = root.bus ?? next.get(root.segment) ?? 0;
    let ports = io.get(root.segment);
    if (ports === undefined) {
      const taken = fixedSpans(
        roots.flatMap((r) => (r.segment === root.segment ? r.functions : [])),
      );
      ports = new AddressCursor(POOL_SPAN.io, taken.io);
      io.set(root.segment, ports);
      uses.set(root.segment, { ...shared, io: [] });
    }
    const use = uses.get(root.segment) ?? shared;
    const end = out.root(root, bus, { ...memory, io: ports }, use);
    next.set(root.segment, Math.max(next.get(root.segment) ?? 0, end));
  }
  out.check(shared, undefined);
  // Segments share memory addresses, but each has I/O addresses of its own.
  for (const { io } of uses.values()) out.check({ ...emptyUse(), io }, undefined);
  return { functions: out.functions, problems: out.problems };
}

const POOLS: readonly AddressPool[] = ["io", "memory", "prefetchable"];
const GRANULE: Readonly<Record<AddressPool, bigint>> = {
  io: 0x1000n,
  memory: 0x10_0000n,
  prefetchable: 0x10_0000n,
};

interface Walk {
  readonly segment: number;
  readonly pools: Pools;
  /** Windows that are closed on the way up: what needs them stays unassigned. */
  readonly closed: ReadonlySet<AddressPool>;
}

class Builder {
  readonly functions: LaidOutFunction[] = [];
  readonly problems: LayoutProblem[] = [];
  readonly #addresses = new Set<number>();
  /** Claimed bus numbers, segment * 256 + bus. */
  readonly #claimed = new Set<number>();

  /** Returns the first bus number after the root's. */
  root(root: PlannedRoot, bus: number, pools: Pools, use: Use): number {
    const walk: Walk = { segment: root.segment, pools, closed: new Set() };
    return this.#bus(root.functions, bus, walk, use, root.origin);
  }

  /** Reports addresses on one bus that overlap, or leave the windows of the bridge above. */
  check(use: Use, bridge: PlannedFunction | undefined): void {
    this.problems.push(...checkUse(use, bridge));
  }

  #bus(
    functions: readonly PlannedFunction[],
    bus: number,
    walk: Walk,
    used: Use,
    origin: InputPath | undefined,
  ): number {
    if (!this.#claim(walk.segment, bus, origin)) return bus + 1;
    let next = bus + 1;
    for (const fn of functions) next = Math.max(next, lastVfBus(fn, bus) + 1);
    for (let b = bus + 1; b < next; b++) this.#claim(walk.segment, b, origin);
    const sorted = [...functions].sort((a, b) => a.devFn - b.devFn);
    for (const fn of sorted) {
      next =
        fn.below === undefined
          ? this.#endpoint(fn, bus, walk, used, next)
          : this.#bridge(fn, bus, walk, used, next);
    }
    return next;
  }

  #endpoint(plan: PlannedFunction, bus: number, walk: Walk, used: Use, next: number): number {
    const bdf = makeBdf(walk.segment, bus, plan.devFn >>> 3, plan.devFn & 7);
    const bars = this.#bars(plan.bars, 1n, walk, used, plan);
    const sriov = plan.sriov;
    const vfBars =
      sriov === undefined
        ? []
        : this.#bars(sriov.vfBars, BigInt(Math.max(1, sriov.total)), walk, used, plan);
    const {
      devFn,
      windows,
      sriov: _,
      secondary,
      subordinate,
      below,
      origin,
      handle,
      engine,
      mediated,
      ...facts
    } = plan;
    const spec: FunctionSpec = {
      ...facts,
      bdf,
      bars,
      ...(sriov === undefined
        ? {}
        : {
            sriov: {
              total: sriov.total,
              enabled: sriov.enabled,
              offset: sriov.offset,
              stride: sriov.stride,
              vfDevice: sriov.vfDevice,
              vfBars,
            },
          }),
    };
    this.#add(spec, plan);
    if (sriov !== undefined) this.#virtual(spec, plan, sriov, vfBars);
    return next;
  }

  #virtual(
    pf: FunctionSpec,
    plan: PlannedFunction,
    sriov: PlannedSrIov,
    bars: NonNullable<FunctionSpec["bars"]>,
  ): void {
    for (let i = 0; i < sriov.enabled; i++) {
      const spec = virtualSpec(pf, sriov, i, bars);
      if (spec === undefined) {
        this.#problem(plan, "sriov", "VF requester IDs run past bus ff", "fewer VFs");
        return;
      }
      this.#add(spec, plan);
    }
  }

  #bridge(plan: PlannedFunction, bus: number, walk: Walk, used: Use, next: number): number {
    const bdf = makeBdf(walk.segment, bus, plan.devFn >>> 3, plan.devFn & 7);
    const bars = this.#bars(plan.bars, 1n, walk, used, plan);
    const index = this.functions.length;
    this.#add({ bdf }, plan);
    const secondary = plan.secondary ?? next;
    const closed = new Set(walk.closed);
    const pools = { ...walk.pools };
    for (const pool of POOLS) {
      const given = plan.windows?.[pool];
      if (given === null) closed.add(pool);
      else if (given === undefined) walk.pools[pool].align(GRANULE[pool]);
      else pools[pool] = new AddressCursor(given, fixedSpans(plan.below ?? [])[pool]);
    }
    const inside = emptyUse();
    const below: Walk = { segment: walk.segment, pools, closed };
    let end = this.#bus(plan.below ?? [], secondary, below, inside, plan.origin);
    this.check(inside, plan);
    for (const pool of POOLS) walk.pools[pool].align(GRANULE[pool]);
    for (let b = end; b <= (plan.subordinate ?? 0); b++, end++) {
      this.#claim(walk.segment, b, plan.origin);
    }
    const window = (pool: AddressPool): Span | undefined => {
      const given = plan.windows?.[pool];
      if (given === null) return undefined;
      const span =
        given ??
        hull(
          inside[pool].map((u) => u.span),
          GRANULE[pool],
        );
      if (span !== undefined) used[pool].push({ span, plan });
      return span;
    };
    const {
      devFn,
      windows,
      sriov,
      secondary: _,
      subordinate,
      below: __,
      origin,
      handle,
      engine,
      mediated,
      ...facts
    } = plan;
    const spec: FunctionSpec = {
      ...facts,
      bdf,
      bars,
      bridge: true,
      buses: [bus, secondary, Math.max(end - 1, secondary)],
      ioWindow: window("io"),
      memoryWindow: window("memory"),
      prefetchableWindow: window("prefetchable"),
    };
    this.functions[index] = { spec, plan };
    return Math.max(next, end);
  }

  #bars(
    bars: readonly PlannedBar[] | undefined,
    count: bigint,
    walk: Walk,
    used: Use,
    plan: PlannedFunction,
  ): NonNullable<FunctionSpec["bars"]> {
    return (bars ?? []).map((bar) => {
      const pool = poolOf(bar.kind, bar.prefetchable === true);
      const { index, kind, prefetchable, size } = bar;
      const place = { index, kind, prefetchable, size };
      if (bar.base === null) return place;
      if (bar.base === undefined && walk.closed.has(pool)) return place;
      const bytes = size * count;
      const base = bar.base ?? walk.pools[pool].take(bytes, size);
      if (base === undefined) {
        this.#problem(
          plan,
          "bars",
          `no ${pool} addresses are left for BAR ${index}`,
          "smaller BARs",
        );
        return place;
      }
      used[pool].push({ span: { first: base, last: base + bytes - 1n }, plan });
      return { ...place, base };
    });
  }

  #add(spec: FunctionSpec, plan: PlannedFunction): void {
    if (this.#addresses.has(spec.bdf)) {
      const text = `${formatBdf(spec.bdf)} is used twice`;
      this.#problem(plan, "at", text, "another device or function number");
    }
    this.#addresses.add(spec.bdf);
    this.functions.push({ spec, plan });
  }

  #claim(segment: number, bus: number, origin: InputPath | undefined): boolean {
    const key = segment * 256 + bus;
    if (bus <= 255 && !this.#claimed.has(key)) {
      this.#claimed.add(key);
      return true;
    }
    const text =
      bus > 255
        ? `segment ${segment} needs more than 256 bus numbers`
        : `bus 0x${bus.toString(16)} of segment ${segment} is used twice`;
    const expected = bus > 255 ? "fewer bridges" : "another bus number";
    this.problems.push({ origin, field: "bus", text, expected });
    return false;
  }

  #problem(plan: PlannedFunction, field: string, text: string, expected: string): void {
    this.problems.push({ origin: plan.origin, field, text, expected });
  }
}

function lastVfBus(fn: PlannedFunction, bus: number): number {
  if (fn.sriov === undefined) return bus;
  const { offset, stride, enabled, total } = fn.sriov;
  const most = Math.max(enabled, total);
  return most === 0 ? bus : bus + ((fn.devFn + offset + (most - 1) * stride) >>> 8);
}

function hull(spans: readonly Span[], granule: bigint): Span | undefined {
  let first: bigint | undefined;
  let last = 0n;
  for (const span of spans) {
    if (first === undefined || span.first < first) first = span.first;
    if (span.last > last) last = span.last;
  }
  if (first === undefined) return undefined;
  return { first: first - (first % granule), last: alignUp(last + 1n, granule) - 1n };
}
