/** How functions become a tree, and what odd input turns into. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { arbitraryFabric } from "../../test/support/random-fabric.js";
import { type Bdf, formatBdf, makeBdf, ridOf } from "../units/index.js";
import {
  buildFabric,
  ConfigSpace,
  describeFunction,
  type FunctionDescription,
  type FunctionSpec,
  PortType,
} from "./index.js";

const SEED = 5;
const at = (bus: number, device = 0, fn = 0) => makeBdf(0, bus, device, fn);
const build = (specs: readonly FunctionSpec[]) =>
  buildFabric({ functions: specs.map(describeFunction) });

/** The naive tree: the parent of a bus is the bridge whose secondary number it is. */
function naiveParent(specs: readonly FunctionSpec[], spec: FunctionSpec): Bdf | undefined {
  const pf = specs.find((s) => s.bdf === spec.physfn);
  const here = pf ?? spec;
  const bus = ridOf(here.bdf) >>> 8;
  const segment = Math.floor(here.bdf / 65536);
  return specs.find((s) => s.buses?.[1] === bus && Math.floor(s.bdf / 65536) === segment)?.bdf;
}

test("parents, PFs and order on random topologies are those of a naive search", () => {
  fc.assert(
    fc.property(arbitraryFabric({ maxBuses: 12 }), (specs) => {
      const shuffled = [...specs].sort((a, b) => ((a.bdf * 7919) % 1009) - ((b.bdf * 7919) % 1009));
      const fabric = build(shuffled);
      assert.equal(fabric.functions.length, specs.length);
      const seen = new Set<Bdf>();
      for (const fn of fabric.functions) {
        const spec = specs.find((s) => s.bdf === fn.bdf);
        assert.ok(spec);
        assert.equal(fn.upstreamBridge?.bdf, naiveParent(specs, spec), formatBdf(fn.bdf));
        assert.equal(fn.physfn?.bdf, spec.physfn);
        assert.equal(fn.isVirtual, spec.physfn !== undefined);
        assert.equal(fabric.function(fn.bdf), fn);
        assert.equal(fn.bus.at(fn.devFn), fn);
        const above = fn.upstreamBridge?.bdf;
        assert.ok(above === undefined || seen.has(above), "parents come before children");
        seen.add(fn.bdf);
      }
    }),
    { seed: SEED, numRuns: 150 },
  );
});

test("the PF is found by numbers when the capture does not name it", () => {
  const sriov = { total: 4, enabled: 3, offset: 0x100, stride: 2 };
  const pf = describeFunction({ bdf: at(1), type: PortType.Endpoint, sriov });
  const vfs = [0, 2, 4].map((n): FunctionDescription => {
    const { config } = describeFunction({
      bdf: at(2, 0, n),
      type: PortType.Endpoint,
      physfn: at(1),
    });
    return { bdf: at(2, 0, n), config };
  });
  const fabric = buildFabric({ functions: [...vfs, pf] });
  for (const vf of vfs) {
    const fn = fabric.function(vf.bdf);
    assert.equal(fn?.physfn?.bdf, at(1));
    assert.equal(fn?.multifunction, false);
    assert.equal(fn?.bus.virtualOf, fabric.bus(0, 1));
    assert.equal(fn?.bus.isRoot, false);
  }
});

test("a VF without its PF is a VF all the same", () => {
  const vf = describeFunction({ bdf: at(1), type: PortType.Endpoint, physfn: at(9) });
  const fabric = buildFabric({ functions: [vf, { ...vf, bdf: at(2), physfn: undefined }] });
  for (const fn of fabric.functions) {
    assert.equal(fn.isVirtual, true);
    assert.equal(fn.physfn, undefined);
  }
});

test("a function described twice keeps its first description", () => {
  const one = describeFunction({ bdf: at(1), device: 1 });
  const two = describeFunction({ bdf: at(1), device: 2 });
  const fabric = buildFabric({ functions: [one, two] });
  assert.equal(fabric.function(at(1))?.ids.device, 1);
  assert.deepEqual(
    fabric.problems.map((p) => p.kind),
    ["duplicate-function"],
  );
});

test("a bus that two bridges claim goes to the first", () => {
  const port = (device: number): FunctionSpec => ({
    bdf: at(0, device),
    type: PortType.RootPort,
    buses: [0, 1, 1],
  });
  const fabric = build([port(1), port(2), { bdf: at(1), type: PortType.Endpoint }]);
  assert.equal(fabric.function(at(1))?.upstreamBridge?.bdf, at(0, 1));
  assert.deepEqual(
    fabric.problems.map((p) => [p.kind, p.at]),
    [["bus-claimed-twice", at(0, 2)]],
  );
});

test("bridges in a loop are cut and reported, and every function is still there", () => {
  const bridge = (bus: number, below: number): FunctionSpec => ({
    bdf: at(bus),
    type: PortType.PcieToPciBridge,
    buses: [bus, below, 9],
  });
  const fabric = build([bridge(1, 2), bridge(2, 3), bridge(3, 1)]);
  assert.equal(fabric.functions.length, 3);
  assert.ok(fabric.problems.some((p) => p.kind === "bus-loop"));
});

test("a switch port whose bridge is not in the capture is reported", () => {
  const fabric = build([{ bdf: at(5), type: PortType.DownstreamPort, buses: [5, 6, 6] }]);
  assert.deepEqual(
    fabric.problems.map((p) => p.kind),
    ["missing-bridge"],
  );
});

test("a bridge that is not set up has no bus below", () => {
  const fabric = build([{ bdf: at(0, 1), type: PortType.RootPort, buses: [0, 0, 0] }]);
  assert.equal(fabric.functions[0]?.secondaryBus, undefined);
});

test("the parent that a capture names wins where registers do not tell", () => {
  const port = describeFunction({ bdf: at(0, 1), type: PortType.RootPort });
  const nothing = new ConfigSpace(new Uint8Array(0), 0);
  const fabric = buildFabric({
    functions: [port, { bdf: at(1), config: nothing, parent: at(0, 1) }],
  });
  assert.equal(fabric.function(at(1))?.upstreamBridge?.bdf, at(0, 1));
  assert.equal(fabric.function(at(1))?.multifunction, undefined);
});

test("mislabelled switch ports are put right", () => {
  const port = (bdf: Bdf, type: number, buses: [number, number, number]): FunctionSpec => ({
    bdf,
    type,
    buses,
  });
  const fabric = build([
    port(at(0, 1), PortType.RootPort, [0, 1, 3]),
    port(at(1), PortType.DownstreamPort, [1, 2, 3]),
    port(at(2), PortType.UpstreamPort, [2, 3, 3]),
  ]);
  assert.equal(fabric.function(at(1))?.portType, PortType.UpstreamPort);
  assert.equal(fabric.function(at(2))?.portType, PortType.DownstreamPort);
});

test("function 0 decides the multi-function flag; above 0, and by ARI, it is always on", () => {
  const ari = { type: PortType.Endpoint, ari: true, multifunction: false } as const;
  const fabric = build([
    { bdf: at(0, 1), type: PortType.RootPort, buses: [0, 1, 1], ariForwarding: true },
    { bdf: at(1, 0, 0), ...ari },
    { bdf: at(1, 0, 3), ...ari },
    { bdf: at(1, 2, 0), ...ari },
    { bdf: at(0, 2, 0), multifunction: true },
  ]);
  const flag = (bdf: Bdf) => fabric.function(bdf)?.multifunction;
  assert.deepEqual([at(1), at(1, 0, 3), at(1, 2), at(0, 2)].map(flag), [false, true, true, true]);
});

test("subsystem ids of a bridge come from its own capability", () => {
  const bytes = new Uint8Array(256);
  bytes.set([0x10], 6);
  bytes[0x0e] = 1;
  bytes[0x34] = 0x40;
  bytes.set([0x0d, 0, 0, 0, 0x28, 0x10, 0xab, 0x07], 0x40);
  const fabric = buildFabric({
    functions: [{ bdf: at(0, 1), config: ConfigSpace.fromDump(bytes) }],
  });
  assert.deepEqual(
    [fabric.functions[0]?.ids.subVendor, fabric.functions[0]?.ids.subDevice],
    [0x1028, 0x07ab],
  );
});

test("garbage in place of configuration space builds a fabric", () => {
  const garbage = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 0x1ff }), fc.uint8Array({ minLength: 256, maxLength: 256 })),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(garbage, (list) => {
      const functions = list.map(([rid, bytes]) => ({
        bdf: makeBdf(0, rid >>> 8, (rid >>> 3) & 31, rid & 7),
        config: ConfigSpace.fromDump(bytes),
      }));
      const fabric = buildFabric({ functions });
      assert.equal(fabric.functions.length, new Set(functions.map((f) => f.bdf)).size);
      for (const fn of fabric.functions) void [fn.bars, fn.windows, fn.upstreamBridge];
    }),
    { seed: SEED, numRuns: 200 },
  );
});
