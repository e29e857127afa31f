/** Captures that no hardware makes: routing ends, never throws, never loops. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bdfFromRid, makeRid } from "../units/index.js";
import { routeCompletion } from "./completion.js";
import { ConfigSpace } from "./config-space.js";
import { buildFabric, type Fabric } from "./fabric.js";
import type { FunctionDescription } from "./function.js";
import { Router } from "./route.js";
import { memoryRequest } from "./tlp.js";

const SEED = 9;

/**
 * Bridges of any kind with any bus numbers and windows, capabilities of any shape, names that
 * contradict.
 */
const hostileFunction = fc
  .record({
    rid: fc.oneof(fc.nat(0x07ff), fc.nat(0xffff)),
    header: fc.constantFrom(0, 1, 1, 2, 0x80, 0x81, 0x7f),
    type: fc.nat(15),
    buses: fc.tuple(fc.nat(8), fc.nat(8), fc.nat(255)),
    fill: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    extent: fc.constantFrom(0, 64, 256, 4096),
    physfn: fc.option(fc.nat(0x07ff), { nil: undefined }),
    parent: fc.option(fc.nat(0x07ff), { nil: undefined }),
  })
  .map(({ rid, header, type, buses, fill, extent, physfn, parent }): FunctionDescription => {
    const bytes = new Uint8Array(extent);
    bytes.set(fill.subarray(0, Math.min(64, extent)));
    if (extent > 0) {
      bytes[6] = 0x10;
      bytes[0x0e] = header;
      bytes.set(header === 0 ? [] : buses, 0x18);
      bytes[0x34] = 0x40;
    }
    if (extent >= 256) bytes.set([0x10, 0, 2 | ((type & 0xf) << 4), type >>> 4], 0x40);
    return {
      bdf: bdfFromRid(0, rid),
      config: ConfigSpace.fromDump(bytes),
      physfn: physfn === undefined ? undefined : bdfFromRid(0, physfn),
      parent: parent === undefined ? undefined : bdfFromRid(0, parent),
    };
  });

function exercise(fabric: Fabric, addresses: readonly bigint[]): void {
  const router = new Router(fabric, { rootComplexPeers: "any", functionPeers: true });
  for (const from of fabric.functions) {
    for (const address of addresses) {
      const tlp = memoryRequest({ requester: makeRid(0x1234), address, length: 1 });
      const { hops } = router.route(from, tlp);
      assert.ok(hops.length >= 1 && hops.length * 5 <= router.walk(0, tlp).hops.length);
    }
    const completion = { requester: makeRid(0x0203), completer: from.rid, relaxedOrdering: true };
    assert.ok(routeCompletion(router, from, completion).hops.length >= 1);
  }
}

test("nonsense fabrics are routed to an end", () => {
  console.log("seed", SEED);
  fc.assert(
    fc.property(
      fc.array(hostileFunction, { minLength: 1, maxLength: 30 }),
      fc.array(fc.bigInt(0n, (1n << 64n) - 1n), { minLength: 1, maxLength: 4 }),
      (functions, addresses) => {
        exercise(buildFabric({ functions }), addresses);
      },
    ),
    { seed: SEED, numRuns: 400 },
  );
});
