/** Every address that the router does not take to the IOMMU is in a window, and no other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { analyse } from "../isolation/index.js";
import { Machine, type TraceRecord } from "../machine/index.js";
import { memoryRequest } from "../pcie/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { misroutedWindows } from "./misrouted-windows.js";

const SEED = 11;
const BARS = [{ size: "64K" }, { size: "2M", kind: "memory64", prefetchable: true }];

/** A switch with three ports; which of them have ACS is up to chance. */
function machine(acs: readonly boolean[]): Machine {
  const below = acs.map((on, i) => ({
    kind: "switch-downstream",
    acs: on ? "full" : "none",
    below: [{ kind: "endpoint", name: `e${i}`, engine: "dma", bars: BARS }],
  }));
  const upstream = { kind: "switch-upstream", below };
  const root = { devices: [{ kind: "root-port", acs: "full", below: [upstream] }] };
  const node = { schema: "ioasis/platform/1", iommu: { kind: "intel" }, roots: [root] };
  return new Machine(buildPlatform(readPlatform(node)));
}

test("a request reaches the IOMMU exactly where no window says otherwise", () => {
  const picks = fc.record({
    acs: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    sender: fc.nat(2),
    near: fc.nat(40),
    offset: fc.bigInt({ min: -0x20_0000n, max: 0x40_0000n }),
  });
  fc.assert(
    fc.property(picks, ({ acs, sender, near, offset }) => {
      const m = machine(acs);
      const from = m.names.get(`e${sender}`);
      assert.ok(from !== undefined);
      const windows = misroutedWindows(analyse(m.fabric, m.facts), from);
      if (acs[sender] === true) return assert.deepEqual(windows, []);
      const open = m.fabric.functions
        .flatMap((fn) => [fn.windows?.memory, fn.windows?.prefetchable])
        .flatMap((w) => (w?.state === "open" ? [w.span.first] : []));
      const start = (open[near % open.length] ?? 0n) + offset;
      const address = (start < 0n ? 0n : start) & ~0xfffn;
      const records: TraceRecord[] = [];
      m.observer = { record: (record) => records.push(record) };
      const requester = m.fabric.function(from)?.rid;
      assert.ok(requester !== undefined);
      m.transact(from, { tlp: memoryRequest({ requester, access: "read", address }) });
      const seen = records.some((record) => record.kind === "unit");
      const inside = windows.some(({ span }) => address >= span.first && address <= span.last);
      assert.equal(seen, !inside, `0x${address.toString(16)}`);
    }),
    { seed: SEED, numRuns: 300 },
  );
});
