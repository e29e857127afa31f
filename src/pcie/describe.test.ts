/** What is described is what is read back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import { makeBdf } from "../units/index.js";
import { describeFunction, PciFunction, PortType, readVfBars } from "./index.js";

const SEED = 6;

test("every fact of random functions survives the way through bytes", () => {
  for (const spec of sampleFabrics(SEED, 150).flat()) {
    const fn = new PciFunction(describeFunction(spec));
    assert.equal(fn.isPcie, spec.type !== undefined);
    assert.equal(fn.portType, spec.type);
    assert.equal(fn.express?.endEndPrefix ?? false, spec.type !== undefined && !!spec.endEndPrefix);
    if (spec.acs === undefined || spec.type === undefined) assert.equal(fn.acs, null);
    else {
      assert.equal(fn.acs?.capability, spec.acs.capability);
      assert.equal(fn.acs?.control, spec.acs.control);
    }
    assert.equal(fn.ats?.enabled, spec.ats && (spec.ats.enabled ?? false));
    assert.equal(fn.pasid?.width, spec.pasid?.width);
    assert.equal(fn.pri?.enabled, spec.pri && (spec.pri.enabled ?? false));
    assert.equal(fn.sriov?.numVfs, spec.sriov?.enabled);
    assert.equal(fn.sriov?.firstVfOffset, spec.sriov?.offset);
    if (spec.physfn === undefined) {
      assert.deepEqual(
        fn.bars?.map((b) => [b.index, b.kind, b.base, b.size]),
        spec.bars?.map((b) => [b.index, b.kind, b.base, b.size]) ?? [],
      );
    }
    for (const [name, span] of [
      ["memory", spec.memoryWindow],
      ["prefetchable", spec.prefetchableWindow],
      ["io", spec.ioWindow],
    ] as const) {
      if (fn.windows === undefined) continue;
      const window = fn.windows[name];
      assert.deepEqual(window.state === "open" ? window.span : undefined, span);
      if (span === undefined) assert.equal(window.state, "closed");
    }
  }
});

test("VF BARs are read from the PF, each VF one size further on", () => {
  const size = 0x4000n;
  const vfBars = [
    { index: 0, kind: "memory64", prefetchable: true, size, base: 1n << 40n },
  ] as const;
  const fn = new PciFunction(
    describeFunction({
      bdf: makeBdf(0, 1, 0, 0),
      type: PortType.Endpoint,
      sriov: { total: 8, enabled: 2, offset: 8, stride: 1, vfBars },
    }),
  );
  assert.ok(fn.sriov);
  assert.deepEqual(readVfBars(fn.config, fn.sriov.offset, [{ index: 0, size }]), vfBars);
  assert.deepEqual(fn.vfBars, vfBars);
});

test("a BAR that the header does not have is refused", () => {
  const bars = [{ index: 2, size: 0x1000n }];
  const spec = { bdf: makeBdf(0, 1, 0, 0), type: PortType.RootPort, bars };
  assert.throws(() => describeFunction(spec), RangeError);
});
