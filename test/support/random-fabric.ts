/**
 * Random topologies, as fast-check arbitraries that shrink and as seeded samples.
 *
 * Everything a host may hold occurs: several segments and root buses, root ports and switches (also
 * nested, also with multi-function ports), every kind of bridge, integrated and multi-function
 * endpoints, SR-IOV with VFs on virtual buses, ARI, phantom functions, VMD child domains, all ACS
 * shapes, unassigned BARs, closed windows. Bus numbers and windows are consistent (layOut).
 */
import fc from "fast-check";
import { type BarKind, type FunctionSpec, PortType } from "../../src/pcie/index.js";
import {
  layOut,
  type PlannedBar,
  type PlannedFunction,
  type PlannedRoot,
} from "../../src/platform/index.js";

export interface RandomFabricOptions {
  /** Bridges below one segment are dropped beyond this many buses. Default 40, at most 200. */
  readonly maxBuses?: number | undefined;
  /** Ids to mix in, for quirks; each function takes one of them with probability 1/4. */
  readonly ids?: readonly { readonly vendor: number; readonly device: number }[] | undefined;
  /** More than one segment and VMD domains. Default true. */
  readonly segments?: boolean | undefined;
  /** BARs without address and closed windows. Default true. */
  readonly unassigned?: boolean | undefined;
}

/** Functions of one random host. */
export function arbitraryFabric(options: RandomFabricOptions = {}): fc.Arbitrary<FunctionSpec[]> {
  return arbitraryRoots(options).map((roots) => {
    const layout = layOut(prune(roots, options.maxBuses ?? 40));
    const first = layout.problems[0];
    if (first !== undefined) throw new Error(`random plan cannot be laid out: ${first.text}`);
    return layout.functions.map((f) => f.spec);
  });
}

/** `count` hosts, the same for the same seed. */
export function sampleFabrics(
  seed: number,
  count: number,
  options: RandomFabricOptions = {},
): FunctionSpec[][] {
  return fc.sample(arbitraryFabric(options), { seed, numRuns: count });
}

/** The plan before numbering, for tests of the numbering itself. */
export function arbitraryRoots(options: RandomFabricOptions): fc.Arbitrary<PlannedRoot[]> {
  const make = new Arbitraries(options);
  const root = fc.record({ functions: make.rootBus() });
  const one = root.map(({ functions }) => [{ segment: 0, functions }]);
  if (options.segments === false) return one;
  const many = fc
    .array(fc.record({ segment: fc.constantFrom(0, 0, 1), functions: make.rootBus() }), {
      minLength: 2,
      maxLength: 3,
    })
    .map((roots) => roots.map((r) => ({ segment: r.segment, functions: r.functions })));
  const vmd = fc.tuple(root, root).map(([host, domain]): PlannedRoot[] => [
    { segment: 0, functions: withVmd(host.functions) },
    { segment: 0x10000, functions: domain.functions },
  ]);
  return fc.oneof({ weight: 5, arbitrary: one }, { weight: 3, arbitrary: many }, vmd);
}

/** Volume management device 8086:28c0 at 0e.0, if the slot is free. */
function withVmd(functions: readonly PlannedFunction[]): PlannedFunction[] {
  const rest = functions.filter((f) => f.devFn >>> 3 !== 0x0e);
  const vmd = { vendor: 0x8086, device: 0x28c0, classCode: 0x010400 };
  return [...rest, { devFn: 0x70, type: PortType.RcIntegratedEndpoint, ...vmd }];
}

class Arbitraries {
  readonly #options: RandomFabricOptions;
  readonly #links = new Map<number, fc.Arbitrary<PlannedFunction[]>>();
  readonly #buses = new Map<number, fc.Arbitrary<PlannedFunction[]>>();

  constructor(options: RandomFabricOptions) {
    this.#options = options;
  }

  rootBus(): fc.Arbitrary<PlannedFunction[]> {
    const slot = fc.oneof(
      { weight: 6, arbitrary: this.#portSlot(PortType.RootPort, 2) },
      { weight: 2, arbitrary: this.#mixedSlot() },
      { weight: 2, arbitrary: this.#endpoints(PortType.RcIntegratedEndpoint) },
      { weight: 1, arbitrary: this.#endpoints(PortType.Endpoint) },
      { weight: 2, arbitrary: this.#endpoints(undefined) },
      { weight: 1, arbitrary: this.#legacyBridge(undefined, 1) },
      { weight: 1, arbitrary: this.#legacyBridge(PortType.PcieToPciBridge, 1) },
      { weight: 1, arbitrary: this.#eventCollector() },
    );
    return slots(slot, 5);
  }

  /** What may be below a PCI Express link: one device, number 0 (or, with ARI, one big device). */
  #link(depth: number): fc.Arbitrary<PlannedFunction[]> {
    let made = this.#links.get(depth);
    if (made !== undefined) return made;
    const leaf = [
      { weight: 5, arbitrary: this.#endpoints(PortType.Endpoint) },
      { weight: 1, arbitrary: this.#endpoints(PortType.LegacyEndpoint) },
      // A conventional device straight behind a port: emulators and mislabelled hardware.
      { weight: 1, arbitrary: this.#endpoints(undefined) },
      { weight: 2, arbitrary: this.#sriov() },
      { weight: 1, arbitrary: this.#ari() },
      { weight: 1, arbitrary: fc.constant<PlannedFunction[]>([]) },
    ];
    const deep = () => [
      { weight: 5, arbitrary: this.#switch(depth - 1) },
      { weight: 2, arbitrary: this.#legacyBridge(PortType.PcieToPciBridge, depth - 1) },
    ];
    made = depth <= 0 ? fc.oneof(...leaf) : fc.oneof(...leaf, ...deep());
    this.#links.set(depth, made);
    return made;
  }

  #portSlot(type: PortType, depth: number): fc.Arbitrary<PlannedFunction[]> {
    const port = this.#bridge(type, this.#link(depth));
    return fc.oneof(
      { weight: 2, arbitrary: port.map((p) => [p]) },
      {
        weight: 1,
        arbitrary: fc.array(port, { minLength: 2, maxLength: 3 }).map(functionsOfOneDevice),
      },
    );
  }

  /** Root ports and integrated endpoints as functions of one device. */
  #mixedSlot(): fc.Arbitrary<PlannedFunction[]> {
    const port = this.#bridge(PortType.RootPort, this.#link(1));
    const endpoint = this.#endpoint(PortType.RcIntegratedEndpoint);
    return fc
      .array(fc.oneof(port, endpoint), { minLength: 2, maxLength: 4 })
      .map(functionsOfOneDevice);
  }

  #switch(depth: number): fc.Arbitrary<PlannedFunction[]> {
    const ports = slots(this.#portSlot(PortType.DownstreamPort, depth), 3);
    const upstream = this.#bridge(PortType.UpstreamPort, ports);
    const alone = upstream.map((up) => [up]);
    const withEndpoint = fc
      .tuple(upstream, this.#endpoint(PortType.Endpoint))
      .map(([up, endpoint]) => functionsOfOneDevice([up, endpoint]));
    return fc.oneof({ weight: 5, arbitrary: alone }, { weight: 1, arbitrary: withEndpoint });
  }

  /** A bridge with a conventional bus below. */
  #legacyBridge(type: PortType | undefined, depth: number): fc.Arbitrary<PlannedFunction[]> {
    return this.#bridge(type, this.#conventionalBus(depth)).map((b) => [b]);
  }

  #conventionalBus(depth: number): fc.Arbitrary<PlannedFunction[]> {
    let made = this.#buses.get(depth);
    if (made !== undefined) return made;
    const leaf = [{ weight: 4, arbitrary: this.#endpoints(undefined) }];
    const deep = () => [
      { weight: 1, arbitrary: this.#legacyBridge(undefined, depth - 1) },
      {
        weight: 1,
        arbitrary: this.#bridge(PortType.PciToPcieBridge, this.#link(depth - 1)).map((b) => [b]),
      },
    ];
    made = slots(depth <= 0 ? fc.oneof(...leaf) : fc.oneof(...leaf, ...deep()), 2);
    this.#buses.set(depth, made);
    return made;
  }

  #bridge(
    type: PortType | undefined,
    below: fc.Arbitrary<PlannedFunction[]>,
  ): fc.Arbitrary<PlannedFunction> {
    const facts = fc.record({
      acs: type === undefined ? fc.constant(undefined) : arbitraryAcs(),
      endEndPrefix: fc.constantFrom(true, false),
      hotPlug: fc.constantFrom(false, false, true),
      windows: this.#windows(),
      externalFacing: fc.constantFrom(undefined, undefined, undefined, true),
    });
    return fc.tuple(this.#ids(), facts, below).map(([ids, f, functions]) => {
      const express = type === undefined ? {} : { type, acs: f.acs, endEndPrefix: f.endEndPrefix };
      const facing = type === PortType.RootPort || type === PortType.DownstreamPort;
      const port = facing
        ? { hotPlug: f.hotPlug, ariForwarding: functions.some((b) => b.ari === true) }
        : {};
      const root = type === PortType.RootPort ? { externalFacing: f.externalFacing } : {};
      return {
        devFn: 0,
        ...ids,
        ...express,
        ...port,
        ...root,
        windows: f.windows,
        below: functions,
      };
    });
  }

  #endpoints(type: PortType | undefined): fc.Arbitrary<PlannedFunction[]> {
    const one = this.#endpoint(type);
    return fc.oneof(
      { weight: 3, arbitrary: one.map((e) => [e]) },
      {
        weight: 2,
        arbitrary: fc.array(one, { minLength: 2, maxLength: 4 }).map(functionsOfOneDevice),
      },
    );
  }

  #endpoint(type: PortType | undefined): fc.Arbitrary<PlannedFunction> {
    const bars = this.#bars();
    if (type === undefined) {
      return fc.tuple(this.#ids(), bars).map(([ids, b]) => ({ devFn: 0, ...ids, bars: b }));
    }
    const facts = fc.record({
      acs: arbitraryAcs(),
      ats: fc.constantFrom(undefined, { enabled: false }, { enabled: true }),
      pasid: fc.constantFrom(undefined, { width: 20, execute: true, enabled: true }, { width: 8 }),
      pri: fc.constantFrom(undefined, undefined, { enabled: true }),
      endEndPrefix: fc.boolean(),
      phantomBits: fc.constantFrom(0, 0, 0, 0, 1, 2, 3),
      flr: fc.boolean(),
    });
    return fc
      .tuple(this.#ids(), facts, bars)
      .map(([ids, f, b]) => ({ devFn: 0, type, ...ids, ...f, bars: b }));
  }

  #eventCollector(): fc.Arbitrary<PlannedFunction[]> {
    const type = PortType.RcEventCollector;
    return fc.constant([{ devFn: 0, type, classCode: 0x080700 }]);
  }

  #sriov(): fc.Arbitrary<PlannedFunction[]> {
    const shape = fc.record({
      enabled: fc.integer({ min: 0, max: 6 }),
      more: fc.integer({ min: 0, max: 2 }),
      // 128 is the offset that common network cards use; 256 and above put VFs on a virtual bus.
      offset: fc.constantFrom(8, 128, 248, 254, 256, 300),
      stride: fc.constantFrom(1, 1, 2, 4),
      vfAcs: arbitraryAcs(),
    });
    const pf = fc.tuple(this.#endpoint(PortType.Endpoint), shape).map(([e, s]) => ({
      ...e,
      ari: true,
      sriov: {
        total: s.enabled + s.more,
        enabled: s.enabled,
        offset: s.offset,
        stride: s.stride,
        vfDevice: 0x10ca,
        vfBars: [{ index: 0, kind: "memory64", prefetchable: true, size: 0x4000n } as const],
        vf: { acs: s.vfAcs, ari: true },
      },
    }));
    const two = fc.tuple(pf, this.#endpoint(PortType.Endpoint));
    return fc.oneof(
      pf.map((f) => [f]),
      two.map((pair) => functionsOfOneDevice(pair)),
    );
  }

  /** One ARI device with function numbers above 7. */
  #ari(): fc.Arbitrary<PlannedFunction[]> {
    const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 });
    return fc
      .tuple(this.#endpoint(PortType.Endpoint), numbers)
      .map(([e, others]) =>
        [0, ...others].map((devFn) => ({ ...e, devFn, ari: true, multifunction: true })),
      );
  }

  #ids(): fc.Arbitrary<{ vendor?: number; device?: number }> {
    const ids = this.#options.ids ?? [];
    const plain = fc.constant({});
    if (ids.length === 0) return plain;
    return fc.oneof(
      { weight: 3, arbitrary: plain },
      { weight: 1, arbitrary: fc.constantFrom(...ids) },
    );
  }

  #bars(): fc.Arbitrary<PlannedBar[]> {
    const kinds: readonly { kind: BarKind; prefetchable: boolean }[] = [
      { kind: "memory32", prefetchable: false },
      { kind: "memory64", prefetchable: true },
      { kind: "memory64", prefetchable: false },
    ];
    const loose = this.#options.unassigned !== false;
    const bar = fc.record({
      shape: fc.constantFrom(...kinds),
      size: fc.constantFrom(0x1000n, 0x4000n, 0x10_0000n),
      base: loose ? fc.constantFrom(undefined, undefined, undefined, null) : fc.constant(undefined),
    });
    return fc
      .array(bar, { maxLength: 2 })
      .map((list) =>
        list.map(({ shape, size, base }, i) => ({ index: 2 * i, ...shape, size, base })),
      );
  }

  #windows(): fc.Arbitrary<PlannedFunction["windows"]> {
    if (this.#options.unassigned === false) return fc.constant(undefined);
    return fc.constantFrom(undefined, undefined, undefined, undefined, undefined, {
      prefetchable: null,
    });
  }
}

/** No capability, everything on, everything off, and every mixture of bits. */
export function arbitraryAcs(): fc.Arbitrary<FunctionSpec["acs"]> {
  const mixed = fc
    .tuple(fc.integer({ min: 0, max: 0x7f }), fc.integer({ min: 0, max: 0x7f }))
    .map(([bits, on]) => {
      const vector = { capability: bits | 0x2000, control: bits & on, egressVector: [on] };
      return (bits & 0x20) === 0 ? { capability: bits, control: bits & on } : vector;
    });
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant(undefined) },
    { weight: 4, arbitrary: fc.constant({ capability: 0x1f, control: 0x1f }) },
    { weight: 1, arbitrary: fc.constant({ capability: 0x1d, control: 0x1d }) },
    { weight: 1, arbitrary: fc.constant({ capability: 0x5f, control: 0 }) },
    { weight: 1, arbitrary: fc.constant({ capability: 0, control: 0 }) },
    { weight: 3, arbitrary: mixed },
  );
}

/** Up to `max` slots with distinct device numbers on one bus; none of them with ARI or VFs. */
function slots(
  slot: fc.Arbitrary<PlannedFunction[]>,
  max: number,
): fc.Arbitrary<PlannedFunction[]> {
  return fc
    .uniqueArray(fc.tuple(fc.integer({ min: 0, max: 31 }), slot), {
      selector: ([device]) => device,
      minLength: 1,
      maxLength: max,
    })
    .map((list) =>
      list.flatMap(([device, functions]) =>
        functions.map((f) => ({ ...f, devFn: device * 8 + f.devFn })),
      ),
    );
}

function functionsOfOneDevice(functions: readonly PlannedFunction[]): PlannedFunction[] {
  return functions.map((f, i) => ({ ...f, devFn: i, multifunction: functions.length > 1 }));
}

/** Cuts bridges off beyond a number of buses per segment, depth first. */
function prune(roots: readonly PlannedRoot[], maxBuses: number): PlannedRoot[] {
  const left = new Map<number, number>();
  return roots.map((root) => {
    const walk = (functions: readonly PlannedFunction[]): PlannedFunction[] =>
      functions.map((fn) => {
        if (fn.below === undefined) return fn;
        const budget = left.get(root.segment) ?? maxBuses;
        left.set(root.segment, budget - 1);
        return { ...fn, below: budget <= 0 ? [] : walk(fn.below) };
      });
    return { ...root, functions: walk(root.functions) };
  });
}
