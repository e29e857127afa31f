import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import {
  buildFabric,
  claimedSpans,
  describeFunction,
  type Fabric,
  type FunctionSpec,
  memoryRequest,
  memoryWindows,
  type PciFunction,
  type RouteOptions,
  Router,
} from "../pcie/index.js";
import { formatBdf } from "../units/index.js";
import { buildP2pGraph } from "./p2p-graph.js";
import { type P2pReach, reachesOf, whoReaches } from "./p2p-graph-reach.js";
import type { TurnKind } from "./p2p-graph-types.js";

const SEED = 20;
const FABRICS = 150;
const TOP = (1n << 64n) - 1n;

/** Every address at which some decoder's answer may change. */
function interestingAddresses(fabric: Fabric): bigint[] {
  const out = new Set<bigint>([0x10n]);
  for (const fn of fabric.functions) {
    const spans = [...claimedSpans(fn), ...(fn.isBridge ? memoryWindows(fn) : [])];
    for (const { first, last } of spans) {
      for (const a of [first, last, first - 1n, last + 1n]) if (a >= 0n && a <= TOP) out.add(a);
    }
  }
  return [...out];
}

/** Compares what routing does with every address against what the graph says of one function. */
function compare(
  fabric: Fabric,
  options: RouteOptions,
  kinds: readonly TurnKind[],
): { delivered: number; requests: number } {
  const router = new Router(fabric, options);
  const graph = buildP2pGraph(fabric);
  const addresses = interestingAddresses(fabric);
  let delivered = 0;
  for (const from of fabric.functions) {
    const reaches = reachesOf(graph, from).filter((r) => kinds.includes(r.via));
    for (const address of addresses) {
      const tlp = memoryRequest({ requester: from.rid, address, length: 1 });
      const { result, hops } = router.route(from, tlp);
      const routed = result.kind === "peer" ? result.function : undefined;
      if (routed !== undefined) delivered++;
      const expected = reaches.find((r) => covers(r, address))?.device;
      const trace = hops.map((h) => `${name(h.at)} ${h.reason.kind}`);
      const shown = `${name(from)} to 0x${address.toString(16)}: ${trace}`;
      assert.equal(name(routed), name(expected), shown);
    }
  }
  return { delivered, requests: addresses.length * fabric.functions.length };
}

const covers = (r: P2pReach, address: bigint): boolean =>
  r.windows.some((w) => w.first <= address && address <= w.last);
const name = (fn: PciFunction | undefined): string => (fn ? formatBdf(fn.bdf) : "nobody");

test("the graph is what routing does, address by address: certain paths", () => {
  const seen = { delivered: 0, requests: 0 };
  for (const specs of sampleFabrics(SEED, FABRICS, { maxBuses: 12 })) {
    const fabric = buildFabric({ functions: specs.map(describeFunction) });
    const { delivered, requests } = compare(fabric, {}, ["switch", "bus"]);
    seen.delivered += delivered;
    seen.requests += requests;
  }
  console.log("seed", SEED, seen);
  assert.ok(seen.delivered > 1000);
});

test("the graph is what routing does, address by address: with all optional paths", () => {
  const all = { rootComplexPeers: "any", functionPeers: true } as const;
  const seen = { delivered: 0, requests: 0 };
  for (const specs of sampleFabrics(SEED + 1, FABRICS, { maxBuses: 12 })) {
    const fabric = buildFabric({ functions: specs.map(describeFunction) });
    const { delivered, requests } = compare(fabric, all, ["switch", "bus", "function", "root"]);
    seen.delivered += delivered;
    seen.requests += requests;
  }
  console.log("seed", SEED + 1, seen);
  assert.ok(seen.delivered > 1000);
});

test("who reaches a function is the inverse of whom a function reaches", () => {
  for (const specs of sampleFabrics(SEED + 2, 60, { maxBuses: 12 })) {
    const fabric = buildFabric({ functions: specs.map(describeFunction) });
    const graph = buildP2pGraph(fabric);
    const forward: string[] = [];
    const backward: string[] = [];
    const edge = (a: PciFunction, b: PciFunction, r: P2pReach): string =>
      `${name(a)} ${name(b)} ${r.via} ${r.certainty} ${r.unknown}`;
    for (const fn of fabric.functions) {
      for (const r of reachesOf(graph, fn)) forward.push(edge(fn, r.device, r));
      for (const r of whoReaches(graph, fn)) backward.push(edge(r.device, fn, r));
    }
    assert.deepEqual(backward.sort(), forward.sort());
  }
});

/** Port numbers and vectors that differ, so that egress control selects. */
function withEgress(spec: FunctionSpec, i: number): FunctionSpec {
  const { acs } = spec;
  if (acs === undefined || i % 2 === 0) return { ...spec, portNumber: i % 30 };
  const capability = (acs.capability & 0x5f) | 0x2020;
  const egressVector = [0x9e3779b9 >>> (i % 20)];
  return {
    ...spec,
    portNumber: i % 30,
    acs: { capability, control: acs.control | 0x20, egressVector },
  };
}

test("the graph is what routing does where egress control selects peers", () => {
  const all = { rootComplexPeers: "any", functionPeers: true } as const;
  let selective = 0;
  for (const specs of sampleFabrics(SEED + 4, 80, { maxBuses: 12 })) {
    const functions = specs.map((s, i) => describeFunction(withEgress(s, i)));
    const fabric = buildFabric({ functions });
    compare(fabric, all, ["switch", "bus", "function", "root"]);
    for (const { sources } of buildP2pGraph(fabric).turns) {
      for (const { because } of sources) {
        if (because.some((e) => e.kind === "egress-control-allows")) selective++;
      }
    }
  }
  assert.ok(selective > 50);
});

test("edges are counted as the pairs that turns allow", () => {
  for (const specs of sampleFabrics(SEED + 3, 100)) {
    const functions = specs.map((s, i) => describeFunction(withEgress(s, i)));
    const graph = buildP2pGraph(buildFabric({ functions }));
    const counted = { certain: 0, implementationDefined: 0 };
    for (const turn of graph.turns) {
      for (const source of turn.sources) {
        for (const target of turn.targets) {
          if (turn.uniform) assert.equal(turn.allows(source, target), source.port !== target.port);
          if (!turn.allows(source, target)) continue;
          const windows = Math.max(1, target.windows.length);
          if (turn.certainty === "certain") counted.certain += windows;
          else counted.implementationDefined += windows;
        }
      }
    }
    assert.deepEqual(graph.edges, counted);
  }
});
