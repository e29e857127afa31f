/** Machines with the hardware that their platform describes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Opcode, startCommand, writeLocal } from "../devices/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { makeBdf } from "../units/index.js";
import { Machine } from "./index.js";

const OWNER = { label: "test" };
const ROOT = { bus: 0, devices: [{ kind: "endpoint", name: "a", engine: "dma" }] };
const bytes = (text: string) => new TextEncoder().encode(text);
const sendHello = { opcode: Opcode.Copy, source: 0n, sourceLocal: true, length: 5 } as const;

test("a machine has VT-d hardware of its own; before software sets it up nothing is translated", () => {
  const description = readPlatform({
    schema: "ioasis/platform/1",
    roots: [ROOT],
    iommu: { kind: "intel", pasid: false },
  });
  const machine = new Machine(buildPlatform(description));
  const a = machine.names.get("a") ?? makeBdf(0, 0, 0, 0);
  assert.equal(machine.unitOf(a)?.iommu.kind, "vtd");
  const { cap, ecap } = machine.facts.dmar?.units[0] ?? {};
  assert.equal(((cap ?? 0n) >> 16n) & 0x3fn, 47n, "48 address bits");
  assert.equal(((ecap ?? 0n) >> 40n) & 1n, 0n, "no PASIDs");
  machine.memory.placeFrame(0x1234, OWNER);
  const endpoint = machine.engine(a);
  assert.ok(endpoint !== undefined);
  const read = (offset: number, length: number) => endpoint.readBar(0, offset, length);
  const write = (offset: number, data: Uint8Array) => endpoint.writeBar(0, offset, data);
  writeLocal({ read, write }, 0, bytes("hello"));
  startCommand({ read, write }, { ...sendHello, destination: 0x1234_000n });
  const into = new Uint8Array(5);
  machine.memory.read(0x1234, 0, into);
  assert.deepEqual(into, bytes("hello"));
});

test("an IOMMU without requester matching is one table", () => {
  const description = readPlatform({
    schema: "ioasis/platform/1",
    roots: [ROOT],
    iommu: { kind: "intel", requesterMatching: false },
  });
  const machine = new Machine(buildPlatform(description));
  assert.equal(machine.units[0]?.iommu.kind, "single-table");
});
