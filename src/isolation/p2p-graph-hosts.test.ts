/** The P2P graph of named topologies and of booted machines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bootedSamples } from "../../test/support/groundtruth.js";
import {
  A_BAR,
  acs,
  B_BAR,
  type Changes,
  conventional,
  fnAt,
  switchOfTwo,
  twoFunctions,
} from "../../test/support/routing-hosts.js";
import { skipWithoutShared } from "../../test/support/shared.js";
import { buildFabric, type Fabric, memoryRequest, Router, routeMemory } from "../pcie/index.js";
import { formatBdf } from "../units/index.js";
import { buildP2pGraph, type P2pGraphOptions } from "./p2p-graph.js";
import { reachesOf } from "./p2p-graph-reach.js";
import type { P2pGraph } from "./p2p-graph-types.js";

function turnsOf(graph: P2pGraph): string[] {
  return graph.turns.map((t) => {
    const names = (list: readonly { port: { bdf: Parameters<typeof formatBdf>[0] } }[]): string =>
      list.map((m) => formatBdf(m.port.bdf).slice(5)).join(" ");
    return `${t.kind} ${t.certainty}: ${names(t.sources)} -> ${names(t.targets)}`;
  });
}

function graphOf(fabric: Fabric, options?: P2pGraphOptions): string[] {
  return turnsOf(buildP2pGraph(fabric, options));
}

const ROOT = "root implementation-defined: 00:01.0 00:02.0 -> 00:01.0 00:02.0";
const BOTH = "02:00.0 02:01.0 -> 02:00.0 02:01.0";
const ports = (words: ReturnType<typeof acs>): Changes => ({
  "02:00.0": { acs: words },
  "02:01.0": { acs: words },
});

test("a switch without ACS: certain; with request redirect: nothing", () => {
  assert.deepEqual(graphOf(switchOfTwo()), [ROOT, `switch certain: ${BOTH}`]);
  assert.deepEqual(graphOf(switchOfTwo(ports(acs(0x1d)))), [ROOT]);
  const edges = buildP2pGraph(switchOfTwo()).edges;
  assert.deepEqual(edges, { certain: 2, implementationDefined: 2 });
});

test("a switch whose ports show ACS without redirect breaks the specification: open", () => {
  const graph = buildP2pGraph(switchOfTwo(ports({ capability: 0, control: 0 })));
  assert.deepEqual(turnsOf(graph), [ROOT, `switch implementation-defined: ${BOTH}`]);
  const [, source] = graph.turns[1]?.sources[0]?.because ?? [];
  assert.equal(source?.kind, "acs-bits-not-implemented");
});

test("one port with ACS is a target and no source", () => {
  const fabric = switchOfTwo({ "02:00.0": { acs: acs(0x1d) } });
  assert.deepEqual(graphOf(fabric), [ROOT, "switch certain: 02:01.0 -> 02:00.0 02:01.0"]);
});

test("root ports whose ACS capability lacks redirect have no peers", () => {
  const none = { acs: { capability: 0x03, control: 0 } };
  const fabric = switchOfTwo({ ...ports(acs(0x1d)), "00:01.0": none, "00:02.0": none });
  assert.deepEqual(graphOf(fabric), []);
});

test("functions of one device: open without ACS, closed by redirect", () => {
  assert.deepEqual(graphOf(twoFunctions()), [
    "function implementation-defined: 01:00.0 01:00.1 -> 01:00.0 01:00.1",
  ]);
  const closed = { acs: acs(0x04) };
  assert.deepEqual(graphOf(twoFunctions({ "01:00.0": closed, "01:00.1": closed })), []);
});

test("a conventional bus is shared, whatever is above", () => {
  const turns = graphOf(conventional({ "00:01.0": { acs: acs(0x1d) } }));
  assert.deepEqual(turns, ["bus certain: 02:00.0 02:01.0 02:02.0 -> 02:00.0 02:01.0 02:02.0"]);
});

test("a quirk that vouches takes a port out of the sources, one that denies puts it in", () => {
  const because = [{ kind: "quirk-isolates", at: A, quirk: "test", cite: "test" }] as const;
  const isolates = graphOf(switchOfTwo(), { effectiveAcs: () => ({ word: 0x1d, because }) });
  assert.deepEqual(isolates, []);
  const denied = buildP2pGraph(switchOfTwo(ports(acs(0x1d))), {
    effectiveAcs: (fn) => (fn.portType === 6 ? { word: 0, because } : undefined),
  });
  assert.deepEqual(turnsOf(denied), [ROOT, `switch certain: ${BOTH}`]);
  assert.ok(denied.turns[1]?.sources[0]?.because.some((e) => e.kind === "quirk-isolates"));
});
const A = fnAt(switchOfTwo(), "02:00.0").bdf;

test("what is not assigned counts as reachable, and says so", () => {
  const unassigned = { bars: [{ index: 0, size: 0x4000n }] };
  const fabric = switchOfTwo({
    "02:01.0": { memoryWindow: undefined },
    "04:00.0": unassigned,
  });
  const graph = buildP2pGraph(fabric);
  const [reach] = reachesOf(graph, fnAt(fabric, "03:00.0")).filter((r) => r.via === "switch");
  assert.equal(reach && formatBdf(reach.device.bdf), "0000:04:00.0");
  assert.deepEqual(reach?.windows, []);
  assert.equal(reach?.unknown, true);
});

test("command bits play no part, and BARs are clipped to the windows that lead to them", () => {
  const fabric = switchOfTwo({
    "04:00.0": { bars: [{ index: 0, base: B_BAR - 0x2000n, size: 0x4000n }] },
  });
  const reach = reachesOf(buildP2pGraph(fabric), fnAt(fabric, "03:00.0"));
  assert.deepEqual(
    reach.filter((r) => r.certainty === "certain").map((r) => r.windows),
    [[{ first: B_BAR, last: B_BAR + 0x1fffn }]],
  );
});

const SKIP = { skip: skipWithoutShared() };

test("17-switch-noacs: Linux separates the endpoints, the switch joins them", SKIP, () => {
  const sample = bootedSamples().find((s) => s.name === "17-switch-noacs");
  assert.ok(sample !== undefined);
  const fabric = buildFabric(sample);
  const nic = fnAt(fabric, "03:00.0");
  const nvme = fnAt(fabric, "04:00.0");
  const groupOf = (bdf: number) => sample.recorded.findIndex((g) => g.some((m) => m === bdf));
  assert.notEqual(groupOf(nic.bdf), groupOf(nvme.bdf), "the kernel's own groups");

  const reach = reachesOf(buildP2pGraph(fabric), nic).find((r) => r.device === nvme);
  assert.equal(reach?.certainty, "certain");
  assert.equal(formatBdf(reach?.turnsAt.port.bdf ?? A), "0000:02:00.0");
  const kinds = reach?.turnsAt.because.map((e) => e.kind);
  assert.deepEqual(kinds, ["switch-routes-peer", "acs-capability-missing"]);

  const address = nvme.bars?.find((b) => b.base !== undefined)?.base ?? A_BAR;
  const { result, hops } = routeMemory(
    fabric,
    nic,
    memoryRequest({ requester: nic.rid, address, access: "write" }),
  );
  assert.ok(result.kind === "peer" && result.function === nvme && !result.byAgent);
  assert.deepEqual(
    hops.map((h) => `${formatBdf(h.at.bdf).slice(5)} ${h.reason.kind}`),
    [
      "03:00.0 issued",
      "02:00.0 accepted",
      "02:00.0 switch-peer",
      "02:01.0 window-claims",
      "04:00.0 bar-claims",
    ],
  );
});

test("every booted machine: what the graph calls certain, routing delivers", SKIP, () => {
  let proven = 0;
  for (const sample of bootedSamples()) {
    const fabric = buildFabric(sample);
    const graph = buildP2pGraph(fabric);
    const router = new Router(fabric);
    for (const from of fabric.functions) {
      for (const reach of reachesOf(graph, from)) {
        if (reach.certainty !== "certain") continue;
        for (const { first } of reach.windows) {
          const tlp = memoryRequest({ requester: from.rid, address: first, length: 1 });
          const { result } = router.route(from, tlp);
          assert.ok(result.kind === "peer" && result.function === reach.device, sample.name);
          proven++;
        }
      }
    }
  }
  assert.ok(proven > 20, `${proven}`);
});
