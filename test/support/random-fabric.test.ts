import assert from "node:assert/strict";
import { test } from "node:test";
import { buildFabric, describeFunction } from "../../src/pcie/index.js";
import { spanContains } from "../../src/units/index.js";
import { sampleFabrics } from "./random-fabric.js";

const SEED = 2;

test("random fabrics build without problems, and windows hold what is below", () => {
  const seen = { functions: 0, virtual: 0, virtualBus: 0, bridges: 0, max: 0 };
  for (const specs of sampleFabrics(SEED, 300)) {
    const fabric = buildFabric({ functions: specs.map(describeFunction) });
    assert.deepEqual(
      fabric.problems.filter((p) => p.kind !== "missing-bridge").map((p) => p.text),
      [],
    );
    assert.equal(fabric.functions.length, specs.length);
    seen.functions += specs.length;
    seen.max = Math.max(seen.max, specs.length);
    for (const fn of fabric.functions) {
      if (fn.isVirtual) seen.virtual++;
      if (fn.isVirtual && fn.bus.virtualOf !== undefined) seen.virtualBus++;
      if (fn.isBridge) seen.bridges++;
      const above = fn.upstreamBridge?.windows;
      for (const bar of fn.bars ?? []) {
        if (bar.base === undefined || bar.size === undefined || above === undefined) continue;
        const span = { first: bar.base, last: bar.base + bar.size - 1n };
        const windows = [above.io, above.memory, above.prefetchable];
        assert.ok(windows.some((w) => w.state === "open" && spanContains(w.span, span)));
      }
    }
  }
  console.log("seed", SEED, seen);
  assert.ok(seen.virtual > 50 && seen.virtualBus > 10 && seen.bridges > 500);
});

test("samples of one seed are equal", () => {
  assert.deepEqual(sampleFabrics(5, 20), sampleFabrics(5, 20));
});
