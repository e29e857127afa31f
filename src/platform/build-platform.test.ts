/** Facts beside the fabric: kernel, firmware tables, and which devices they cover. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { iommuScope } from "../isolation/index.js";
import { buildFabric } from "../pcie/index.js";
import { buildPlatform, readPlatform } from "./index.js";

const SWITCH = {
  kind: "root-port",
  name: "port",
  acs: "full",
  below: [
    {
      kind: "switch-upstream",
      below: [
        { kind: "switch-downstream", below: [{ kind: "endpoint", name: "card" }] },
        {
          kind: "switch-downstream",
          below: [{ kind: "endpoint", name: "nic", sriov: { vfs: 2 } }],
        },
      ],
    },
  ],
};
const HOST = [
  SWITCH,
  { kind: "integrated-endpoint", name: "own" },
  { kind: "conventional", name: "unit", at: "00.2" },
  { kind: "conventional", at: "00.0" },
];

/** device name → covered or outside; VFs as `nic/vf`. */
function coverage(iommu: object, devices: readonly object[] = HOST): Record<string, string> {
  const description = readPlatform({
    schema: "ioasis/platform/1",
    iommu,
    roots: [{ bus: 0, devices }],
  });
  const { functions, facts, names } = buildPlatform(description);
  const fabric = buildFabric({ functions });
  const scope = iommuScope(fabric, facts);
  const out: Record<string, string> = {};
  for (const [name, bdf] of names) {
    const fn = fabric.function(bdf);
    assert.ok(fn);
    out[name] = scope.coverage(fn);
    const vf = fabric.functions.find((f) => f.physfn === fn);
    if (vf !== undefined) out[`${name}/vf`] = scope.coverage(vf);
  }
  return out;
}

const ALL = { port: "covered", card: "covered", nic: "covered", "nic/vf": "covered" };

test("an IOMMU covers everything unless it is told otherwise, but never itself", () => {
  const everything = { ...ALL, own: "covered", unit: "covered" };
  assert.deepEqual(coverage({ kind: "intel" }), everything);
  assert.deepEqual(coverage({ kind: "smmuv3", covers: "all" }), everything);
  const itself = { ...everything, unit: "outside" };
  assert.deepEqual(coverage({ kind: "amd", function: "unit" }), itself);
  assert.deepEqual(coverage({ kind: "virtio", function: "unit" }), itself);
});

test("a bridge that is covered brings what is below, and nothing else", () => {
  for (const kind of ["intel", "smmuv3"]) {
    const expected = { ...ALL, own: "outside", unit: "outside" };
    assert.deepEqual(coverage({ kind, covers: ["port"] }), expected, kind);
  }
  const amd = coverage({ kind: "amd", function: "unit", covers: ["port"] });
  assert.deepEqual(amd, { ...ALL, own: "outside", unit: "outside" });
});

test("single devices are covered by path or requester ID; under DMAR a VF goes with its PF", () => {
  const one = coverage({ kind: "intel", covers: ["nic"] });
  assert.equal(one["nic"], "covered");
  assert.equal(one["nic/vf"], "covered");
  assert.equal(one["card"], "outside");
  assert.equal(one["port"], "outside");
  const arm = coverage({ kind: "smmuv3", covers: ["own"] });
  assert.equal(arm["own"], "covered");
  assert.equal(arm["nic"], "outside");
});

test("reserved regions become RMRR and IVMD entries", () => {
  const reserved = [{ devices: ["own"], first: "0x7f000000", last: "0x7fffffff" }];
  const platform = (iommu: object) =>
    buildPlatform(readPlatform({ schema: "ioasis/platform/1", iommu, roots: [{ devices: HOST }] }));
  const intel = platform({ kind: "intel", reserved });
  assert.deepEqual(intel.facts.dmar?.reserved, [
    {
      segment: 0,
      span: { first: 0x7f00_0000n, last: 0x7fff_ffffn },
      scopes: [{ kind: "endpoint", bus: 0, path: [{ device: 2, fn: 0 }] }],
    },
  ]);
  const amd = platform({ kind: "amd", function: "unit", reserved });
  assert.equal(amd.facts.ivrs?.memory[0]?.first, 0x10);
  assert.equal(amd.facts.ivrs?.memory[0]?.unity, true);
});

test("kernel, command line and rules are handed on; no IOMMU is known to be none", () => {
  const built = buildPlatform(
    readPlatform({
      schema: "ioasis/platform/1",
      host: { kernel: "7.2.13", commandLine: "quiet", rules: "linux-7.2", firmware: "acpi" },
      iommu: { kind: "none" },
      roots: [{ devices: [] }],
    }),
  );
  assert.equal(built.rules, "linux-7.2");
  assert.equal(built.facts.kernel, "7.2.13");
  assert.equal(built.facts.commandLine, "quiet");
  assert.equal(built.facts.iommuInUse, false);
  assert.deepEqual(built.functions, []);
});

test("functions of a VMD domain name their owner", () => {
  const read = (vmd: string) =>
    readPlatform({
      schema: "ioasis/platform/1",
      roots: [
        { devices: [{ kind: "integrated-endpoint", name: "owner", id: "8086:28c0" }] },
        { segment: "0x10000", vmd, devices: [{ kind: "root-port" }] },
      ],
    });
  const { functions } = buildPlatform(read("owner"));
  assert.deepEqual(
    functions.map((f) => f.behindVmd),
    [undefined, functions[0]?.bdf],
  );
  assert.throws(() => read("nobody"), /roots\[1\]\.vmd: no device is named "nobody"/);
});

test("two PFs of one card do not share VF numbers", () => {
  const pf = (at: string) => ({ kind: "endpoint", at, sriov: { vfs: 4, total: 4 } });
  const { functions } = buildPlatform(
    readPlatform({
      schema: "ioasis/platform/1",
      roots: [{ devices: [{ kind: "root-port", below: [pf("00.0"), pf("00.1")] }] }],
    }),
  );
  assert.equal(new Set(functions.map((f) => f.bdf)).size, 11);
});

test("a host written by hand states the registers of its hardware: VT-d 5.0 § 11.4.2-11.4.3", () => {
  const unitsOf = (iommu: object) =>
    buildPlatform(readPlatform({ schema: "ioasis/platform/1", iommu, roots: [{ devices: HOST }] }))
      .facts.dmar?.units ?? [];
  const bit = (value: bigint | undefined, n: bigint) => ((value ?? 0n) >> n) & 1n;
  const [usual] = unitsOf({ kind: "intel" });
  // 48 address bits; PASIDs (40), of 20 bits (39:35), scalable mode (43), device TLBs (2).
  assert.equal(((usual?.cap ?? 0n) >> 16n) & 0x3fn, 47n);
  assert.equal(((usual?.ecap ?? 0n) >> 35n) & 0x1fn, 19n);
  assert.deepEqual(
    [40n, 43n, 2n].map((n) => bit(usual?.ecap, n)),
    [1n, 1n, 1n],
  );
  const [plain] = unitsOf({ kind: "intel", scalable: false, deviceTlb: false, addressWidth: 39 });
  assert.equal(((plain?.cap ?? 0n) >> 16n) & 0x3fn, 38n);
  assert.deepEqual(
    [40n, 43n, 2n].map((n) => bit(plain?.ecap, n)),
    [0n, 0n, 0n],
  );
  const [single] = unitsOf({ kind: "intel", requesterMatching: false });
  assert.deepEqual([single?.cap, single?.ecap], [undefined, undefined]);
});
