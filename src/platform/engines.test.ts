/** Engines, mediated devices, IOMMU units and platforms that start from a capture. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { iommuScope } from "../isolation/index.js";
import { buildFabric, describeFunction, PortType } from "../pcie/index.js";
import { formatBdf, makeBdf } from "../units/index.js";
import { buildPlatform, readPlatform } from "./index.js";

const SCHEMA = { schema: "ioasis/platform/1" };
const platform = (rest: object) => readPlatform({ ...SCHEMA, ...rest });
const bus = (...devices: object[]) => ({ roots: [{ bus: 0, devices }] });

test("an engine gets ids, vectors and a register BAR of its own", () => {
  const built = buildPlatform(
    platform(bus({ kind: "endpoint", name: "a", engine: "dma" }, { kind: "endpoint" })),
  );
  const [a, stub] = buildFabric({ functions: built.functions }).functions;
  assert.ok(a !== undefined && stub !== undefined);
  assert.deepEqual([...built.engines], [a.bdf]);
  assert.deepEqual([a.ids.vendor, a.ids.device, a.bars?.[0]?.size], [0x1af4, 0x10d0, 0x8000n]);
  assert.ok(a.capabilities.standard?.has(0x11), "MSI-X");
});

test("every VF of a PF may have an engine", () => {
  const built = buildPlatform(
    platform(bus({ kind: "endpoint", sriov: { vfs: 2, each: { engine: "dma" } } })),
  );
  assert.equal(built.engines.size, 2);
});

test("engines are refused where they cannot be", () => {
  const small = bus({ kind: "endpoint", engine: "dma", bars: [{ size: "16K" }] });
  assert.throws(() => platform(small), /roots\[0\]\.devices\[0\]\.bars: .*32768/);
  const port = bus({ kind: "root-port", engine: "dma" });
  assert.throws(() => platform(port), /a root-port has no engine/);
});

test("mediated devices have a parent and names of their own", () => {
  const made = [
    { name: "m1", kind: "hardware" },
    { name: "s", kind: "software" },
  ];
  const built = buildPlatform(
    platform(bus({ kind: "endpoint", name: "p", engine: "dma", mediated: made })),
  );
  const parent = built.names.get("p");
  assert.deepEqual(built.mediated.get("s"), { name: "s", kind: "software", parent });
  const twice = [...made, { name: "m1", kind: "software" }];
  const bad = platform(bus({ kind: "endpoint", mediated: twice }));
  assert.throws(() => buildPlatform(bad), /"m1" is taken already/);
});

test("several units share the devices as DMAR says", () => {
  const built = buildPlatform(
    platform({
      ...bus({ kind: "endpoint", name: "a" }, { kind: "endpoint", name: "b" }),
      iommu: { kind: "intel", units: [{ covers: ["a"], scalable: false }, { covers: "all" }] },
    }),
  );
  const fabric = buildFabric({ functions: built.functions });
  const scope = iommuScope(fabric, built.facts);
  assert.deepEqual(
    fabric.functions.map((fn) => scope.unitOf(fn)),
    [0, 1],
  );
  const bases = built.facts.dmar?.units.map((unit) => unit.registerBase);
  assert.equal(new Set(bases).size, 2);
});

test("an IOMMU without requester matching is a fact of the host, and knows no PASID", () => {
  const iommu = { kind: "intel", requesterMatching: false };
  const built = buildPlatform(platform({ ...bus({ kind: "endpoint" }), iommu }));
  assert.equal(built.facts.requesterMatching, false);
  const bad = { ...bus({ kind: "endpoint" }), iommu: { ...iommu, pasid: true } };
  assert.throws(() => platform(bad), /without matching requesters/);
});

test("wrong units are refused", () => {
  const devices = bus({ kind: "endpoint", name: "a" });
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ kind: "smmuv3", units: [{ covers: "all" }] }, /describes VT-d units/],
    [{ kind: "intel", units: [{ covers: ["x"] }] }, /no device is named "x"/],
    [{ kind: "intel", units: [{ covers: "all" }, { covers: "all" }] }, /two units cover all/],
    [{ kind: "intel", covers: ["a"], units: [{ covers: "all" }] }, /belongs to each of the units/],
    [{ kind: "intel", addressWidth: 40 }, /39, 48 or 57/],
  ];
  for (const [iommu, problem] of cases) {
    assert.throws(() => platform({ ...devices, iommu }), problem);
  }
});

const CAPTURED = {
  functions: [describeFunction({ bdf: makeBdf(0, 3, 0, 0), type: PortType.Endpoint })],
  facts: { kernel: "6.1.0", iommuInUse: true },
};

test("a platform from a capture keeps its functions; named ones get an engine", () => {
  const description = platform({
    from: "lspci.txt",
    engines: ["03:00.0"],
    iommu: { kind: "intel" },
    host: { kernel: "7.2.13" },
  });
  const built = buildPlatform(description, CAPTURED);
  assert.deepEqual([...built.engines].map(formatBdf), ["0000:03:00.0"]);
  assert.equal(built.facts.kernel, "7.2.13");
  assert.equal(built.facts.dmar?.units.length, 1);
  assert.throws(() => buildPlatform(description), /from: is not read/);
});

test("what a capture says cannot be said again, and engines must be there", () => {
  const from = { from: "lspci.txt" };
  const missing = platform({ ...from, engines: ["04:00.0"] });
  assert.throws(() => buildPlatform(missing, CAPTURED), /no function of the capture/);
  assert.throws(() => platform({ ...from, ...bus() }), /both roots and from/);
  assert.throws(() => platform({}), /or neither/);
  assert.throws(() => platform({ ...bus(), engines: ["03:00.0"] }), /names functions of a capture/);
  const covers = { ...from, iommu: { kind: "intel", covers: "all" } };
  assert.throws(() => platform(covers), /is what the capture says/);
});
