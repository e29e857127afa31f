import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { makeBdf } from "../units/index.js";
import { describeFunction, type FunctionSpec } from "./describe.js";
import { buildFabric, type Fabric } from "./fabric.js";
import type { PciFunction } from "./function.js";

const SEED = 41;
const RUNS = 2000;

/** Walks up from every function; a loop would not end. */
function deepest(fabric: Fabric): number {
  let most = 0;
  for (const fn of fabric.functions) {
    let depth = 0;
    for (let at: PciFunction | undefined = fn; at !== undefined; at = at.upstreamBridge) {
      assert.ok(depth++ <= 256, "the bridges above a function form a loop");
    }
    most = Math.max(most, depth);
  }
  return most;
}

test("a loop through the bus of a bridge that claims to be a VF is cut", () => {
  const at = (bus: number) => makeBdf(0, bus, 0, 0);
  const sriov = { total: 1, enabled: 1, offset: at(9) - at(1), stride: 1 };
  const specs: FunctionSpec[] = [
    { bdf: at(1), type: 0, sriov },
    { bdf: at(9), bridge: true, buses: [9, 5, 5] },
    { bdf: at(5), bridge: true, buses: [5, 1, 1] },
  ];
  const fabric = buildFabric({ functions: specs.map(describeFunction) });
  assert.ok(deepest(fabric) >= 2);
  assert.equal(fabric.problems[0]?.kind, "bus-loop");
});

test(`contradictory buses never make a loop (seed ${SEED}, ${RUNS} hosts)`, () => {
  const number = fc.integer({ min: 0, max: 7 });
  const spec = fc.record({
    bus: number,
    device: fc.integer({ min: 0, max: 2 }),
    kind: fc.constantFrom("bridge" as const, "bridge" as const, "pf" as const, "plain" as const),
    secondary: number,
    target: number,
  });
  const hosts = fc.array(spec, { minLength: 2, maxLength: 12 });
  fc.assert(
    fc.property(hosts, (parts) => {
      const functions = parts.map(({ bus, device, kind, secondary, target }): FunctionSpec => {
        const bdf = makeBdf(0, bus, device, 0);
        if (kind === "bridge") return { bdf, bridge: true, buses: [bus, secondary, secondary] };
        if (kind === "plain") return { bdf, type: 0 };
        const offset = (target * 256 - bdf) & 0xffff;
        return { bdf, type: 0, sriov: { total: 2, enabled: 2, offset, stride: 8 } };
      });
      const fabric = buildFabric({ functions: functions.map(describeFunction) });
      deepest(fabric);
      assert.equal(new Set(fabric.functions).size, fabric.functions.length);
    }),
    { seed: SEED, numRuns: RUNS },
  );
});
