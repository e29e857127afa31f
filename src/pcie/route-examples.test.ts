/** Worked examples: one for each ACS bit and each outcome. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  A_BAR,
  acs,
  B_BAR,
  C_BAR,
  type Changes,
  conventional,
  fnAt,
  switchOfTwo,
  twoFunctions,
} from "../../test/support/routing-hosts.js";
import { bdfFromRid, formatBdf, makePasid, makeRid } from "../units/index.js";
import { ConfigSpaceBuilder } from "./config-space.js";
import { describeFunction } from "./describe.js";
import { buildFabric, type Fabric } from "./fabric.js";
import type { PciFunction } from "./function.js";
import { type RouteResult, Router, routeMemory } from "./route.js";
import type { RouteOptions } from "./route-options.js";
import { type MemoryRequestSpec, memoryRequest } from "./tlp.js";
import { PASS_THROUGH_AGENT } from "./translation-agent.js";

const PREFIX = { pasid: makePasid(5), privileged: false, execute: false };

type Send = Partial<MemoryRequestSpec> & { readonly to: bigint };

function send(fabric: Fabric, from: string, spec: Send, options: RouteOptions = {}) {
  const fn = fnAt(fabric, from);
  const { to, ...rest } = spec;
  const tlp = memoryRequest({ requester: fn.rid, ...rest, address: to });
  return routeMemory(fabric, fn, tlp, options);
}

function short(result: RouteResult): string {
  switch (result.kind) {
    case "peer":
      return `peer ${formatBdf(result.function.bdf).slice(5)} BAR ${result.bar}`;
    case "acs-violation":
      return `violation ${formatBdf(result.at.bdf).slice(5)} ${result.bits} ${result.handling}`;
    case "unsupported-request":
    case "prefix-blocked":
      return `${result.kind} ${formatBdf(result.at.bdf).slice(5)} ${result.handling}`;
    case "malformed":
      return `malformed ${formatBdf(result.at.bdf).slice(5)}`;
    default:
      return result.kind;
  }
}

const both = (word: number, vector?: number[]): Changes => ({
  "02:00.0": { acs: acs(word, vector) },
  "02:01.0": { acs: acs(word, vector) },
});
const SV = 1;
const TB = 2;
const RR = 4;
const UF = 0x10;
const EC = 0x20;
const DT = 0x40;
/** Egress control vector of port 1 naming port 2, and one that names nobody. */
const NAMES_2 = [0b100];
const NAMES_NONE = [0];

const CASES: readonly (readonly [string, Changes, Send, string])[] = [
  ["no ACS: a switch must route to the peer", {}, { to: B_BAR }, "peer 04:00.0 BAR 0"],
  ["with a PASID the same", {}, { to: B_BAR, prefix: PREFIX }, "peer 04:00.0 BAR 0"],
  [
    "as a translation request the same",
    {},
    { to: B_BAR, addressType: "translation-request" },
    "peer 04:00.0 BAR 0",
  ],
  ["RR sends it up", both(RR), { to: B_BAR }, "unsupported-request 00:01.0 unsupported-request"],
  [
    "RR, and UF at the root port, to the agent",
    { ...both(RR), "00:01.0": { acs: acs(UF) } },
    { to: B_BAR },
    "translation-agent",
  ],
  [
    "RR with a PASID the same",
    { ...both(RR), "00:01.0": { acs: acs(UF) } },
    { to: B_BAR, prefix: PREFIX },
    "translation-agent",
  ],
  ["memory outside every window goes up", {}, { to: 0x1000n }, "translation-agent"],
  [
    "SV: the requester ID of a device elsewhere",
    both(SV),
    { to: B_BAR, requester: makeRid(0x400) },
    "violation 02:00.0 SV completer-abort",
  ],
  [
    "SV drops posted requests",
    both(SV),
    { to: B_BAR, requester: makeRid(0x400), access: "write" },
    "violation 02:00.0 SV dropped",
  ],
  ["SV passes the port's own buses", both(SV), { to: B_BAR }, "peer 04:00.0 BAR 0"],
  [
    "TB: translated",
    both(TB),
    { to: 0x1000n, addressType: "translated" },
    "violation 02:00.0 TB completer-abort",
  ],
  [
    "TB: translation requests are not untranslated either",
    both(TB),
    { to: 0x1000n, addressType: "translation-request" },
    "violation 02:00.0 TB completer-abort",
  ],
  ["TB passes untranslated", both(TB), { to: 0x1000n }, "translation-agent"],
  [
    "EC with the peer named",
    both(EC, NAMES_2),
    { to: B_BAR },
    "violation 02:00.0 EC completer-abort",
  ],
  ["EC without the peer named", both(EC, NAMES_NONE), { to: B_BAR }, "peer 04:00.0 BAR 0"],
  [
    "EC and RR with the peer named: redirected",
    { ...both(EC | RR, NAMES_2), "00:01.0": { acs: acs(UF) } },
    { to: B_BAR },
    "translation-agent",
  ],
  [
    "EC and RR without the peer named: direct",
    both(EC | RR, NAMES_NONE),
    { to: B_BAR },
    "peer 04:00.0 BAR 0",
  ],
  [
    "DT overrides RR for translated requests",
    both(RR | DT),
    { to: B_BAR, addressType: "translated" },
    "peer 04:00.0 BAR 0",
  ],
  [
    "DT overrides EC too",
    both(EC | DT, NAMES_2),
    { to: B_BAR, addressType: "translated" },
    "peer 04:00.0 BAR 0",
  ],
  [
    "DT does nothing for untranslated ones",
    { ...both(RR | DT), "00:01.0": { acs: acs(UF) } },
    { to: B_BAR },
    "translation-agent",
  ],
  [
    "the own window without UF",
    {},
    { to: A_BAR + 0x8000n },
    "unsupported-request 02:00.0 unsupported-request",
  ],
  [
    "the own window with UF",
    { ...both(UF), "00:01.0": { acs: acs(UF) } },
    { to: A_BAR + 0x8000n },
    "translation-agent",
  ],
  [
    "inside the switch's window, but no port claims it",
    { "01:00.0": { memoryWindow: { first: A_BAR, last: A_BAR + 0x3fffffn } } },
    { to: A_BAR + 0x300000n },
    "unsupported-request 02:00.0 unsupported-request",
  ],
  [
    "forwarded down, nobody there",
    {},
    { to: B_BAR + 0x8000n },
    "unsupported-request 02:01.0 unsupported-request",
  ],
  [
    "a prefix at a port without support",
    { "02:00.0": { endEndPrefix: false } },
    { to: 0x1000n, prefix: PREFIX },
    "malformed 02:00.0",
  ],
  [
    "a prefix at a peer without support",
    { "04:00.0": { endEndPrefix: false } },
    { to: B_BAR, prefix: PREFIX },
    "malformed 04:00.0",
  ],
  [
    "prefixes blocked at the upstream port's egress",
    { "01:00.0": { endEndPrefixBlocking: true } },
    { to: 0x1000n, prefix: PREFIX, access: "write" },
    "prefix-blocked 01:00.0 dropped",
  ],
  [
    "prefixes blocked at the peer port's egress",
    { "02:01.0": { endEndPrefixBlocking: true } },
    { to: B_BAR, prefix: PREFIX },
    "prefix-blocked 02:01.0 unsupported-request",
  ],
];

for (const [name, changes, spec, expected] of CASES) {
  test(`A of a switch sends: ${name}`, () => {
    assert.equal(short(send(switchOfTwo(changes), "03:00.0", spec).result), expected);
  });
}

test("peer to peer inside the root complex is an option, and root ports with RR never do it", () => {
  const to = { to: C_BAR };
  const any = { rootComplexPeers: "same-root-bus" } as const;
  assert.equal(short(send(switchOfTwo(), "03:00.0", to).result), "translation-agent");
  assert.equal(short(send(switchOfTwo(), "03:00.0", to, any).result), "peer 06:00.0 BAR 0");
  const redirect = switchOfTwo({ "00:01.0": { acs: acs(RR) } });
  assert.equal(short(send(redirect, "03:00.0", to, any).result), "translation-agent");
  const noPeers = switchOfTwo({ "00:01.0": { acs: { capability: SV | TB, control: 0 } } });
  assert.equal(short(send(noPeers, "03:00.0", to, any).result), "translation-agent");
});

test("functions of one device: no ACS leaves a path open, RR or its absence closes it", () => {
  const open = { functionPeers: true };
  const to = { to: B_BAR };
  assert.equal(short(send(twoFunctions(), "01:00.0", to, open).result), "peer 01:00.1 BAR 0");
  const up = { "00:01.0": { acs: acs(UF) } };
  assert.equal(short(send(twoFunctions(up), "01:00.0", to).result), "translation-agent");
  for (const words of [acs(RR), { capability: 0, control: 0 }]) {
    const fabric = twoFunctions({ ...up, "01:00.0": { acs: words } });
    assert.equal(short(send(fabric, "01:00.0", to, open).result), "translation-agent");
  }
  const named = twoFunctions({ "01:00.0": { acs: acs(EC, [0b10]) } });
  const blocked = short(send(named, "01:00.0", to, open).result);
  assert.equal(blocked, "violation 01:00.0 EC completer-abort");
});

test("a conventional bus is shared, and bridges answer with their own requester ID", () => {
  const fabric = conventional();
  assert.equal(short(send(fabric, "02:00.0", { to: B_BAR }).result), "peer 02:01.0 BAR 0");
  assert.equal(short(send(fabric, "02:00.0", { to: 0xe0200000n }).result), "peer 03:00.0 BAR 0");
  assert.equal(short(send(fabric, "03:00.0", { to: B_BAR }).result), "peer 02:01.0 BAR 0");
  for (const from of ["02:00.0", "03:00.0"]) {
    const { result } = send(fabric, from, { to: 0x1000n });
    assert.ok(result.kind === "translation-agent");
    assert.equal(result.arrived.requester, 0x0200, "secondary bus, device 0, function 0");
  }
  const unclaimed = send(fabric, "02:00.0", { to: 0xe0300000n, access: "write" });
  assert.equal(short(unclaimed.result), "unsupported-request 02:00.0 dropped");
});

test("a PASID cannot come from or pass a conventional bus", () => {
  const to = { to: 0x1000n, prefix: PREFIX };
  const sent = send(conventional(), "02:00.0", to);
  assert.equal(short(sent.result), "prefix-blocked 02:00.0 unsupported-request");
  const down = switchOfTwo({ "06:00.0": { type: 7, buses: [6, 7, 7], endEndPrefix: true } });
  const peers = { rootComplexPeers: "any" } as const;
  const passed = send(down, "03:00.0", { to: C_BAR, prefix: PREFIX }, peers);
  assert.equal(short(passed.result), "prefix-blocked 06:00.0 unsupported-request");
});

test("a translation agent may send a redirected request down again, or refuse it", () => {
  const up = { "00:01.0": { acs: acs(0x1d) }, ...both(0x1d) };
  const fabric = switchOfTwo(up);
  const from = fnAt(fabric, "03:00.0");
  const tlp = memoryRequest({ requester: from.rid, address: B_BAR });
  const router = new Router(fabric);
  const back = router.route(from, tlp, PASS_THROUGH_AGENT);
  assert.deepEqual(back.result, {
    kind: "peer",
    function: fnAt(fabric, "04:00.0"),
    bar: 0,
    byAgent: true,
  });
  const refused = router.route(from, tlp, {
    translate: (request) => ({ kind: "refused", reason: `rid ${request.requester}` }),
  });
  assert.ok(refused.result.kind === "refused" && refused.result.reason === "rid 768");
  const moved = router.route(from, tlp, {
    translate: () => ({ kind: "translated", pfn: 0x100, offset: 8 }),
  });
  assert.ok(moved.result.kind === "memory" && moved.result.pfn === 0x100);
});

test("command bits are ignored unless asked for", () => {
  const off = describeWithoutCommand();
  assert.equal(short(send(off, "03:00.0", { to: B_BAR }).result), "peer 04:00.0 BAR 0");
  const honour = { honourCommand: true };
  assert.equal(
    short(send(off, "03:00.0", { to: B_BAR }, honour).result),
    "unsupported-request 04:00.0 unsupported-request",
  );
  assert.equal(
    short(send(off, "04:00.0", { to: A_BAR }, honour).result),
    "unsupported-request 04:00.0 unsupported-request",
  );
});

/** The switch, with memory space and bus master off at B. */
function describeWithoutCommand(): Fabric {
  const fabric = switchOfTwo();
  return buildFabric({
    functions: fabric.functions.map((fn) => {
      if (formatBdf(fn.bdf) !== "0000:04:00.0") return fn.description;
      const bytes = fn.config.bytes.slice();
      bytes[4] = 0;
      const config = new ConfigSpaceBuilder();
      bytes.forEach((b, i) => {
        config.set8(i, b);
      });
      return { ...fn.description, config: config.build(4096) };
    }),
  });
}

test("what a capture does not show is a parameter, and hops say so", () => {
  const fabric = switchOfTwo();
  // A capture by non-root: headers only.
  const headers = buildFabric({
    functions: fabric.functions.map((fn) => {
      const config = new ConfigSpaceBuilder();
      for (let i = 0; i < 64; i++) config.set8(i, fn.config.u8(i));
      return { ...fn.description, config: config.build(64) };
    }),
  });
  const open = send(headers, "03:00.0", { to: B_BAR });
  assert.equal(short(open.result), "peer 04:00.0 BAR 0");
  assert.ok(open.hops.some((h) => h.reason.kind === "switch-peer" && h.unknown));
  const closed = send(headers, "03:00.0", { to: B_BAR }, { unknownAcs: "on" });
  assert.equal(short(closed.result), "translation-agent");
  const prefix = send(
    headers,
    "03:00.0",
    { to: B_BAR, prefix: PREFIX },
    { unknownPrefix: "unsupported" },
  );
  assert.equal(short(prefix.result), "malformed 02:00.0");
});

test("a quirk may vouch for a port whose registers say nothing", () => {
  const to = { to: B_BAR };
  const effectiveAcs = () => ({ word: 0x1d });
  assert.equal(
    short(send(switchOfTwo(), "03:00.0", to, { effectiveAcs }).result),
    "translation-agent",
  );
});

test("a segment that hangs below an endpoint sends under that endpoint's requester ID", () => {
  const child = switchOfTwo().functions.map((fn) => ({
    ...fn.description,
    bdf: bdfFromRid(0x10000, fn.rid),
  }));
  const fabric = buildFabric({ functions: [...conventional().functions.map(d), ...child] });
  const owner = fnAt(fabric, "00:01.0");
  const segmentOwner = (segment: number) => (segment === 0x10000 ? owner : undefined);
  const from = fabric.function(bdfFromRid(0x10000, 0x300));
  assert.ok(from !== undefined);
  const tlp = memoryRequest({ requester: from.rid, address: 0x1000n });
  const { result } = routeMemory(fabric, from, tlp, { segmentOwner });
  assert.ok(result.kind === "translation-agent");
  assert.deepEqual([result.arrived.segment, result.arrived.requester], [0, owner.rid]);
});
const d = (fn: PciFunction) => fn.description;

test("a walk allocates nothing", () => {
  const fabric = switchOfTwo();
  const router = new Router(fabric);
  const from = fnAt(fabric, "03:00.0");
  const index = router.model.indexOf(from);
  const tlps = [B_BAR, 0x1000n, 0xffff_ffff_ffff_f000n].map((address) =>
    memoryRequest({ requester: from.rid, address, prefix: PREFIX }),
  );
  const walks = (count: number): number => {
    let hops = 0;
    for (let i = 0; i < count; i++) {
      const tlp = tlps[i % tlps.length];
      if (tlp !== undefined) hops += router.walk(index, tlp).hopCount;
    }
    return hops;
  };
  walks(50_000);
  const before = process.memoryUsage().heapUsed;
  walks(200_000);
  // One heap number for each walk would be 2.4 MB or more.
  assert.ok(process.memoryUsage().heapUsed - before < 1_000_000);
});

test("a request that leaves its page, or is no number, is malformed", () => {
  const fabric = switchOfTwo();
  const from = fnAt(fabric, "03:00.0");
  const good = memoryRequest({ requester: from.rid, address: B_BAR });
  for (const bad of [
    { offset: 4093 },
    { length: 0 },
    { pfn: -1 },
    { pfn: 2 ** 52 },
    { pfn: Number.NaN },
    { offset: 0.5 },
  ]) {
    const { result } = routeMemory(fabric, from, { ...good, ...bad });
    assert.equal(result.kind, "malformed", JSON.stringify(bad));
  }
});

test("refusals of the caller's mistakes", () => {
  const requester = makeRid(0);
  assert.throws(() => memoryRequest({ requester, address: -1n }), RangeError);
  assert.throws(() => memoryRequest({ requester, address: 1n << 64n }), RangeError);
  assert.throws(() => memoryRequest({ requester, address: 0n, length: 4097 }), RangeError);
  const stranger = fnAt(switchOfTwo(), "03:00.0");
  const tlp = memoryRequest({ requester, address: 0n });
  assert.throws(() => routeMemory(switchOfTwo(), stranger, tlp), RangeError);
});

test("overlapping windows and a fabric without bridges still answer", () => {
  const fabric = switchOfTwo({
    "02:01.0": { memoryWindow: { first: A_BAR, last: B_BAR + 0xfffffn } },
  });
  assert.equal(short(send(fabric, "03:00.0", { to: B_BAR }).result), "peer 04:00.0 BAR 0");
  const lone = fnAt(fabric, "03:00.0").description;
  const alone = buildFabric({ functions: [lone] });
  assert.equal(short(send(alone, "03:00.0", { to: B_BAR }).result), "translation-agent");
  assert.equal(buildFabric({ functions: [] }).functions.length, 0);
  new Router(buildFabric({ functions: [] }));
  describeFunction({ bdf: lone.bdf });
});
