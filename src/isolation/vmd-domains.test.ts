import assert from "node:assert/strict";
import { test } from "node:test";
import { buildFabric, describeFunction, type FunctionSpec, PortType } from "../pcie/index.js";
import { type Bdf, makeBdf } from "../units/index.js";
import { linuxGroups } from "./linux-groups.js";
import { vmdDomains } from "./vmd-domains.js";

const vmd = (device: number, id = 0x28c0): FunctionSpec => ({
  bdf: makeBdf(0, 0, device, 5),
  vendor: 0x8086,
  device: id,
  classCode: 0x010400,
  type: PortType.RcIntegratedEndpoint,
});
const child = (segment: number): FunctionSpec => ({
  bdf: makeBdf(segment, 0, 0, 0),
  vendor: 0x144d,
  device: 0xa808,
  type: PortType.Endpoint,
});

function fabricOf(specs: readonly FunctionSpec[], behind: ReadonlyMap<Bdf, Bdf> = new Map()) {
  return buildFabric({
    functions: specs.map((spec) => ({
      ...describeFunction(spec),
      behindVmd: behind.get(spec.bdf),
    })),
  });
}

test("functions of a VMD domain join the VMD's group", () => {
  const fabric = fabricOf([vmd(0x05), child(0x10000)]);
  const made = linuxGroups(fabric, {}, "linux-6.1");
  assert.deepEqual(made.groups, [[makeBdf(0, 0, 5, 5), makeBdf(0x10000, 0, 0, 0)]]);
  assert.equal(made.joins[0]?.because[0]?.kind, "alias-vmd");
  assert.deepEqual(made.unknown, []);
});

test("a VMD without a driver in this kernel has no domain", () => {
  const fabric = fabricOf([vmd(5, 0xb60b), child(0x10000)]);
  assert.equal(linuxGroups(fabric, {}, "linux-6.12").groups.length, 1);
  const without = linuxGroups(fabric, {}, "linux-6.1");
  assert.deepEqual(
    without.ungrouped.map((u) => u.because[0]?.kind),
    ["excluded-by-driver"],
  );
  const arrowLake = fabricOf([vmd(5, 0xb07f), child(0x10000)]);
  assert.equal(linuxGroups(arrowLake, {}, "linux-6.12").ungrouped.length, 1);
  assert.equal(linuxGroups(arrowLake, {}, "linux-7.2").ungrouped.length, 0);
});

test("several VMDs are paired in order, and that is reported as a guess", () => {
  const fabric = fabricOf([vmd(5), vmd(7), child(0x10001), child(0x10000)]);
  const owners = vmdDomains(fabric, "linux-7.2");
  assert.deepEqual(
    [...owners].map(([segment, o]) => [segment, o.vmd?.device, o.by]),
    [
      [0x10000, 5, "guessed"],
      [0x10001, 7, "guessed"],
    ],
  );
  const made = linuxGroups(fabric, {}, "linux-7.2");
  assert.deepEqual(
    made.unknown.map((u) => u.missing),
    [["topology"], ["topology"]],
  );
});

test("a named pair wins over the order", () => {
  const [a, b] = [child(0x10000), child(0x10001)];
  const fabric = fabricOf([vmd(5), vmd(7), a, b], new Map([[a.bdf, makeBdf(0, 0, 7, 5)]]));
  const owners = vmdDomains(fabric, "linux-7.2");
  assert.deepEqual([owners.get(0x10000)?.vmd?.device, owners.get(0x10000)?.by], [7, "named"]);
  assert.equal(owners.get(0x10001)?.vmd?.device, 5);
});

test("a domain without any VMD is grouped for itself and listed as unknown", () => {
  const made = linuxGroups(fabricOf([child(0x10000)]), {}, "linux-7.2");
  assert.equal(made.groups.length, 1);
  assert.deepEqual(made.unknown[0]?.missing, ["topology"]);
});
