import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { naiveRoute } from "../../test/support/naive-route.js";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import { formatBdf, makePasid, makeRid } from "../units/index.js";
import { describeFunction, type FunctionSpec } from "./describe.js";
import { buildFabric, type Fabric } from "./fabric.js";
import { type Route, Router } from "./route.js";
import { claimedSpans, memoryWindows } from "./route-claims.js";
import type { MemoryRequest } from "./tlp.js";

const SEED = 31;

/** Port numbers, prefix blocking and egress vectors differ, so that each of them matters. */
function vary(spec: FunctionSpec, i: number): FunctionSpec {
  const { acs } = spec;
  const egress = acs === undefined || i % 3 !== 0;
  const vector = [0x9e3779b9 >>> (i % 20), 0x85ebca6b >>> (i % 13)];
  return {
    ...spec,
    portNumber: i % 40,
    endEndPrefix: spec.type !== undefined && i % 11 !== 0,
    endEndPrefixBlocking: i % 13 === 0,
    acs: egress
      ? acs
      : {
          capability: (acs.capability & 0x5f) | 0x2020,
          control: acs.control | 0x20,
          egressVector: vector,
        },
  };
}

function build(specs: readonly FunctionSpec[]): Fabric {
  return buildFabric({ functions: specs.map((s, i) => describeFunction(vary(s, i))) });
}

function addressesOf(fabric: Fabric): bigint[] {
  const out = [0n, 0xfee00000n, (1n << 64n) - 1n];
  for (const fn of fabric.functions) {
    for (const { first, last } of [...claimedSpans(fn), ...memoryWindows(fn)])
      out.push(first, last);
  }
  return out;
}

function arbitraryRequest(addresses: readonly bigint[], rids: readonly number[]) {
  return fc
    .record({
      address: fc.constantFrom(...addresses),
      requester: fc.option(fc.constantFrom(...rids), { nil: undefined }),
      access: fc.constantFrom("read", "write", "atomic"),
      addressType: fc.constantFrom("untranslated", "translated", "translation-request"),
      prefix: fc.boolean(),
      from: fc.nat(),
    })
    .map(({ address, requester, prefix, from, ...rest }) => ({
      from,
      requester,
      tlp: {
        ...rest,
        pfn: Number(address >> 12n),
        offset: Number(address & 0xfffn),
        length: 1,
        relaxedOrdering: false,
        noSnoop: false,
        idOrdering: false,
        prefix: prefix ? { pasid: makePasid(5), privileged: false, execute: false } : undefined,
      } as Omit<MemoryRequest, "requester">,
    }));
}

function line({ result }: Route): string {
  switch (result.kind) {
    case "peer":
      return `peer ${formatBdf(result.function.bdf)} bar ${result.bar}`;
    case "translation-agent":
      return `agent ${result.arrived.requester}`;
    case "acs-violation":
      return `violation ${formatBdf(result.at.bdf)}`;
    case "unsupported-request":
      return `unsupported ${formatBdf(result.at.bdf)}`;
    case "prefix-blocked":
      return `blocked ${formatBdf(result.at.bdf)}`;
    case "malformed":
      return `malformed ${formatBdf(result.at.bdf)}`;
    default:
      return result.kind;
  }
}

test("a naive model agrees on random transactions, honest and forged", () => {
  const seen: Record<string, number> = {};
  const policies = [
    { functions: false, root: false },
    { functions: true, root: true },
  ];
  for (const specs of sampleFabrics(SEED, 120, { maxBuses: 16 })) {
    const fabric = build(specs);
    const rids = fabric.functions.map((f) => f.rid as number).concat(0, 0xffff, 0x1234);
    const requests = fc.sample(arbitraryRequest(addressesOf(fabric), rids), {
      seed: SEED,
      numRuns: 150,
    });
    for (const policy of policies) {
      const router = new Router(fabric, {
        functionPeers: policy.functions,
        rootComplexPeers: policy.root ? "any" : "none",
      });
      for (const request of requests) {
        const from = fabric.functions[request.from % fabric.functions.length];
        assert.ok(from !== undefined);
        const tlp = { ...request.tlp, requester: makeRid(request.requester ?? from.rid) };
        const route = router.route(from, tlp);
        const got = line(route);
        const hops = route.hops.map((h) => `${formatBdf(h.at.bdf)} ${h.reason.kind} ${h.bits}`);
        const shown = `${formatBdf(from.bdf)} ${JSON.stringify(tlp)}\n${hops.join("\n")}`;
        assert.equal(got, naiveRoute(fabric, from, tlp, policy), shown);
        const kind = got.split(" ")[0] ?? "";
        seen[kind] = (seen[kind] ?? 0) + 1;
        for (const hop of route.hops) seen[hop.reason.kind] = (seen[hop.reason.kind] ?? 0) + 1;
      }
    }
  }
  console.log("seed", SEED, seen);
  for (const kind of ["peer", "agent", "violation", "unsupported", "blocked", "malformed"]) {
    assert.ok((seen[kind] ?? 0) > 20, kind);
  }
});

test("hops are a connected journey, within the tree", () => {
  for (const specs of sampleFabrics(SEED + 1, 40)) {
    const fabric = build(specs);
    const router = new Router(fabric, { rootComplexPeers: "any", functionPeers: true });
    const requests = fc.sample(arbitraryRequest(addressesOf(fabric), [1]), {
      seed: SEED,
      numRuns: 50,
    });
    for (const request of requests) {
      const from = fabric.functions[request.from % fabric.functions.length];
      assert.ok(from !== undefined);
      const tlp = { ...request.tlp, requester: from.rid };
      const { hops } = router.route(from, tlp);
      assert.equal(hops[0]?.at, from);
      assert.ok(hops.length <= router.walk(0, tlp).hops.length / 5);
      for (const hop of hops.slice(0, -1)) assert.notEqual(hop.decision, "stop");
    }
  }
});
