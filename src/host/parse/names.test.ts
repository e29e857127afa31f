import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../../units/index.js";
import { resolveName, resolveSubsystem } from "./names.js";
import { builtInNames } from "./names-built-in.js";
import { parsePciIds } from "./names-pci-ids.js";

const TEXT = `# comment
1234  Example Corp
\t0001  Old Name
\t0001  New Name
\t0002  Twin
\t0003  Twin
\t0004  Card
\t\t5678 0009  Board A
\t\t5678 000a  Board B
1235  Example Corp Labs
\t0001  Chip
5678  Boards Inc.
5679  Shared
567a  Shared
\t0007  Only here
\t0008  Both
5679  Shared
\t0008  Both

# classes
C 06  Bridge
\t04  PCI bridge
\t\t00  Normal decode
`;
const tables = [parsePciIds(TEXT)];
const idsOf = (name: string): unknown => {
  const { vendor, device, candidates } = resolveName(name, tables);
  return candidates ?? [vendor, device];
};

test("the longest vendor name that leaves a device wins", () => {
  assert.deepEqual(idsOf("Example Corp New Name"), [0x1234, 1]);
  assert.deepEqual(idsOf("Example Corp Labs Chip"), [0x1235, 1]);
  assert.deepEqual(idsOf("Example Corp   Old\tName"), [0x1234, 1]);
});

test("numbers inside names", () => {
  assert.deepEqual(idsOf("Example Corp Device 09a2"), [0x1234, 0x09a2]);
  assert.deepEqual(idsOf("Example Corp: Unknown device 24d3"), [0x1234, 0x24d3]);
  assert.deepEqual(idsOf("Example Corp Device [8d10]"), [0x1234, 0x8d10]);
});

test("a name of several ids is ambiguous and lists them", () => {
  assert.deepEqual(idsOf("Example Corp Twin"), [
    { vendor: 0x1234, device: 2 },
    { vendor: 0x1234, device: 3 },
  ]);
  assert.deepEqual(idsOf("Shared Only here"), [0x567a, 7]);
  assert.equal(resolveName("Shared Both", tables).vendor, undefined);
  assert.equal(resolveName("Shared Both", tables).candidates?.length, 2);
});

test("an unknown device keeps its vendor; an unknown vendor gives nothing", () => {
  assert.deepEqual(idsOf("Example Corp Nothing"), [0x1234, undefined]);
  assert.deepEqual(idsOf("Nobody Something"), [undefined, undefined]);
  assert.deepEqual(idsOf(""), [undefined, undefined]);
});

test("subsystems: by number, by name below the device, by the device's own name", () => {
  const owner = { vendor: 0x1234, device: 4 };
  assert.deepEqual(resolveSubsystem("Boards Inc. Device 0042", owner, tables), [0x5678, 0x42]);
  assert.deepEqual(resolveSubsystem("Boards Inc. Board B", owner, tables), [0x5678, 0x0a]);
  assert.deepEqual(resolveSubsystem("Boards Inc. Board C", owner, tables), [0x5678, undefined]);
  assert.deepEqual(resolveSubsystem("Example Corp Card", owner, tables), [0x1234, 4]);
});

test("classes, and a text without vendors is refused", () => {
  assert.equal(tables[0]?.classId("PCI bridge"), 0x0604);
  assert.equal(tables[0]?.classId("Normal decode"), undefined);
  assert.throws(() => parsePciIds("nothing here", "x.ids"), InputError);
});

test("the shipped table knows quirk devices under old and new names", () => {
  const shipped = [builtInNames()];
  // Renamed between 2021 and 2026 editions of pci.ids; PCI class codes are ISA-like constants.
  assert.equal(builtInNames().classId("PCI bridge"), 0x0604);
  assert.equal(builtInNames().classId("Non-Volatile memory controller"), 0x0108);
  const igb = resolveName("Intel Corporation 82576 Gigabit Network Connection", shipped);
  const ids = igb.candidates ?? [igb];
  assert.ok(ids.some(({ vendor, device }) => vendor === 0x8086 && device === 0x10c9));
});
