import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import {
  acs,
  type Changes,
  conventional,
  fnAt,
  switchOfTwo,
  twoFunctions,
} from "../../test/support/routing-hosts.js";
import { formatBdf, makeRid } from "../units/index.js";
import { routeCompletion } from "./completion.js";
import { describeFunction } from "./describe.js";
import { buildFabric, type Fabric } from "./fabric.js";
import { Router } from "./route.js";

const CR = 0x08;
const UF = 0x10;
const SV_TB_EC = 0x23;

function complete(fabric: Fabric, from: string, to: string, relaxedOrdering = false): string {
  const completer = fnAt(fabric, from);
  const requester = makeRid(fnAt(fabric, to).rid);
  const tlp = { requester, completer: completer.rid, relaxedOrdering };
  const { result } = routeCompletion(fabric, completer, tlp);
  return result.kind === "delivered"
    ? `${formatBdf(result.function.bdf).slice(5)} ${result.via}`
    : `unexpected ${formatBdf(result.at.bdf).slice(5)}`;
}

const ports = (word: number): Changes => ({
  "02:00.0": { acs: acs(word) },
  "02:01.0": { acs: acs(word) },
});
const rootForwards = { "00:01.0": { acs: acs(UF) } };

test("completions between ports of a switch go directly", () => {
  assert.equal(complete(switchOfTwo(), "04:00.0", "03:00.0"), "03:00.0 peer");
  const others = switchOfTwo(ports(SV_TB_EC));
  assert.equal(complete(others, "04:00.0", "03:00.0"), "03:00.0 peer", "SV, TB, EC do not matter");
});

test("Completion Redirect sends them through the root complex, relaxed ones excepted", () => {
  const fabric = switchOfTwo({ ...ports(CR), ...rootForwards });
  assert.equal(complete(fabric, "04:00.0", "03:00.0"), "03:00.0 root-complex");
  assert.equal(complete(fabric, "04:00.0", "03:00.0", true), "03:00.0 peer");
});

test("a redirected completion needs Upstream Forwarding where it meets its own port", () => {
  assert.equal(complete(switchOfTwo(ports(CR)), "04:00.0", "03:00.0"), "unexpected 00:01.0");
});

test("completions across root ports come back through the root complex", () => {
  assert.equal(complete(switchOfTwo(), "06:00.0", "03:00.0"), "03:00.0 root-complex");
  assert.equal(complete(switchOfTwo(), "03:00.0", "06:00.0"), "06:00.0 root-complex");
});

test("between functions of one device only when it has such paths", () => {
  const fabric = twoFunctions();
  const from = fnAt(fabric, "01:00.1");
  const tlp = { requester: makeRid(0x100), completer: from.rid, relaxedOrdering: false };
  const inside = routeCompletion(fabric, from, tlp, { functionPeers: true });
  assert.ok(inside.result.kind === "delivered" && inside.result.via === "peer");
  const redirected = twoFunctions({ "01:00.1": { acs: acs(CR) }, ...rootForwards });
  const completer = fnAt(redirected, "01:00.1");
  const outside = routeCompletion(redirected, completer, tlp, { functionPeers: true });
  assert.ok(outside.result.kind === "delivered" && outside.result.via === "root-complex");
});

test("a bridge answers and takes answers for its conventional bus", () => {
  const fabric = conventional();
  const root = fnAt(fabric, "00:01.0");
  const tlp = { requester: makeRid(0x200), completer: root.rid, relaxedOrdering: false };
  const { result } = routeCompletion(fabric, root, tlp);
  assert.ok(result.kind === "delivered");
  assert.equal(formatBdf(result.function.bdf), "0000:01:00.0", "02:00.0 is the bridge's ID");
  assert.equal(complete(fabric, "03:00.0", "00:01.0"), "00:01.0 peer");
});

test("an ID that nobody has is unexpected", () => {
  const fabric = switchOfTwo();
  const from = fnAt(fabric, "03:00.0");
  for (const rid of [0x0301, 0x04ff, 0xffff, 0x0500]) {
    const tlp = { requester: makeRid(rid), completer: from.rid, relaxedOrdering: false };
    assert.equal(routeCompletion(fabric, from, tlp).result.kind, "unexpected");
  }
});

test("every completion ends, on random hosts with random IDs", () => {
  for (const specs of sampleFabrics(41, 60)) {
    const fabric = buildFabric({ functions: specs.map(describeFunction) });
    const router = new Router(fabric, { functionPeers: true });
    const rids = fabric.functions.map((f) => f.rid as number).concat(0x1234, 0xffff);
    for (const from of fabric.functions) {
      const [rid = 0] = fc.sample(fc.constantFrom(...rids), { seed: from.bdf, numRuns: 1 });
      const tlp = { requester: makeRid(rid), completer: from.rid, relaxedOrdering: false };
      const { result, hops } = routeCompletion(router, from, tlp);
      assert.ok(hops.length < 600);
      if (result.kind === "delivered" && result.function.rid !== rid) {
        assert.ok(result.function.isBridge);
      }
    }
  }
});
