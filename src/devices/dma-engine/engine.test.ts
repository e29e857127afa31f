import assert from "node:assert/strict";
import { test } from "node:test";
import { buildFabric, ConfigRegisters, describeFunction, PortType } from "../../pcie/index.js";
import { makeBdf, makePasid, makeRid } from "../../units/index.js";
import type { Endpoint } from "../endpoint.js";
import {
  type DeviceCompletion,
  type DevicePort,
  type DeviceRequest,
  type PageRequestMessage,
  PageResponse,
  type TranslationCompletion,
} from "../transaction.js";
import { writeDescriptor } from "./command.js";
import { DmaEngine } from "./engine.js";
import {
  type BarAccess,
  type EngineCommand,
  type EngineOutcome,
  readLocal,
  readOutcome,
  setVector,
  startCommand,
  writeLocal,
} from "./engine-driver.js";
import { AddressMode, EQUAL, Opcode, Region, Register } from "./registers.js";

/** A link that ends in 64 KiB of memory, and writes down what passed. */
class Bench implements DevicePort {
  readonly memory = new Uint8Array(0x10000);
  readonly sent: DeviceRequest[] = [];
  readonly pages: PageRequestMessage[] = [];
  readonly engine: DmaEngine;
  readonly config: ConfigRegisters;
  readonly bar: BarAccess;
  /** Offset of the PCI Express capability. */
  readonly express: number;
  /** Answers translation requests; default identity, read and write. */
  translation: (pfn: number) => Partial<TranslationCompletion> = (pfn) => ({ pfn });

  constructor() {
    const [fn] = buildFabric({
      functions: [
        describeFunction({
          bdf: makeBdf(0, 3, 0, 0),
          type: PortType.Endpoint,
          ats: { enabled: true },
          pri: { enabled: true },
          pasid: { width: 8, enabled: true },
          flr: true,
          msixVectors: 4,
          bars: [{ index: 0, base: 0xe000_0000n, size: 0x8000n }],
        }),
      ],
    }).functions;
    assert.ok(fn !== undefined);
    this.express = fn.express?.offset ?? 0;
    this.config = ConfigRegisters.of(fn);
    this.engine = new DmaEngine(fn, this, { registers: this.config });
    this.bar = barOf(this.engine);
  }

  issue(request: DeviceRequest): DeviceCompletion {
    this.sent.push({ tlp: request.tlp, data: request.data?.slice() });
    const { tlp, data } = request;
    if (tlp.addressType === "translation-request") {
      const translation = { ...FULL, ...this.translation(tlp.pfn) };
      return { kind: "translation", translation };
    }
    const at = tlp.pfn * 4096 + tlp.offset;
    if (at >= this.memory.length) {
      return tlp.access === "write" ? { kind: "posted" } : { kind: "unsupported-request" };
    }
    if (tlp.access === "read") {
      return { kind: "data", data: this.memory.slice(at, at + tlp.length) };
    }
    const old = this.memory.slice(at, at + tlp.length);
    this.memory.set(data ?? [], at);
    return tlp.access === "write" ? { kind: "posted" } : { kind: "data", data: old };
  }

  requestPage(message: PageRequestMessage): void {
    this.pages.push(message);
  }

  run(command: EngineCommand): EngineOutcome {
    return startCommand(this.bar, command);
  }
}

const FULL: TranslationCompletion = {
  pfn: 0,
  pageCount: 1,
  read: true,
  write: true,
  execute: false,
  privileged: false,
  global: false,
  untranslatedOnly: false,
  noSnoop: false,
};

function barOf(endpoint: Endpoint): BarAccess {
  return {
    read: (offset, length) => endpoint.readBar(0, offset, length),
    write: (offset, data) => endpoint.writeBar(0, offset, data),
  };
}

const bytes = (text: string) => new TextEncoder().encode(text);

test("a copy moves bytes in pieces that never cross a page", () => {
  const bench = new Bench();
  for (let i = 0; i < 6000; i++) bench.memory[0x0f80 + i] = i & 0xff;
  const source = 0x0f80n;
  const outcome = bench.run({ opcode: Opcode.Copy, source, destination: 0x8010n, length: 6000 });
  assert.deepEqual([outcome.error, outcome.count], ["None", 6000n]);
  assert.deepEqual(bench.memory.slice(0x8010, 0x8010 + 6000), bench.memory.slice(0x0f80, 0x26f0));
  for (const { tlp } of bench.sent) assert.ok(tlp.offset + tlp.length <= 4096);
  assert.ok(bench.sent.every(({ tlp }) => tlp.prefix === undefined && tlp.requester === 0x0300));
});

test("local memory is the other end of a plain read or write", () => {
  const bench = new Bench();
  writeLocal(bench.bar, 16, bytes("hello"));
  bench.run({
    opcode: Opcode.Copy,
    source: 16n,
    sourceLocal: true,
    destination: 0x2000n,
    length: 5,
  });
  assert.deepEqual(bench.memory.slice(0x2000, 0x2005), bytes("hello"));
  bench.run({
    opcode: Opcode.Copy,
    source: 0x2000n,
    destination: 64n,
    destinationLocal: true,
    length: 5,
  });
  assert.deepEqual(readLocal(bench.bar, 64, 5), bytes("hello"));
});

test("local addresses wrap at the end of the local memory, both ways", () => {
  const bench = new Bench();
  const end = bench.engine.local.length;
  writeLocal(bench.bar, end - 3, bytes("abc"));
  writeLocal(bench.bar, 0, bytes("de"));
  const source = BigInt(end - 3);
  bench.run({ opcode: Opcode.Copy, source, sourceLocal: true, destination: 0x2000n, length: 5 });
  assert.deepEqual(bench.memory.slice(0x2000, 0x2005), bytes("abcde"));
  bench.memory.set(bytes("vwxyz"), 0x2000);
  const destination = BigInt(end - 2);
  const back = { source: 0x2000n, destination, destinationLocal: true, length: 5 };
  bench.run({ opcode: Opcode.Copy, ...back });
  assert.deepEqual(readLocal(bench.bar, end - 2, 2), bytes("vw"));
  assert.deepEqual(readLocal(bench.bar, 0, 3), bytes("xyz"));
});

test("a fill keeps its phase whatever the size of its requests", () => {
  for (const chunk of [1, 3, 7, 8, 13, 100, 512]) {
    const bench = new Bench();
    const fill = { opcode: Opcode.Fill, pattern: 0x0807_0605_0403_0201n, length: 157, chunk };
    bench.run({ ...fill, destination: 0x1ff3n });
    const filled = bench.memory.slice(0x1ff3, 0x1ff3 + 157);
    assert.ok(
      filled.every((byte, i) => byte === (i % 8) + 1),
      `requests of ${chunk} bytes`,
    );
    assert.equal(bench.memory[0x1ff3 + 157], 0);
  }
});

test("fill repeats its pattern; compare finds the first difference", () => {
  const bench = new Bench();
  const fill = { opcode: Opcode.Fill, pattern: 0x0807_0605_0403_0201n, length: 1000 };
  bench.run({ ...fill, destination: 0x1000n });
  bench.run({ ...fill, destination: 0x3000n });
  assert.equal(bench.memory[0x1000 + 999], (999 % 8) + 1);
  const compare = {
    opcode: Opcode.Compare,
    source: 0x1000n,
    destination: 0x3000n,
    length: 1000,
  };
  assert.equal(bench.run(compare).result, EQUAL);
  bench.memory[0x3000 + 777] = 0xff;
  assert.equal(bench.run(compare).result, 777n);
});

test("a chain of descriptors runs in order and ends at zero", () => {
  const bench = new Bench();
  const fill = { opcode: Opcode.Fill, length: 8, source: 0n };
  bench.memory.set(writeDescriptor(0x1ff0n, { ...fill, destination: 0x5000n }), 0x1000);
  // The second descriptor crosses a page.
  bench.memory.set(writeDescriptor(0n, { ...fill, destination: 0x6000n }), 0x1ff0);
  const outcome = bench.run({ opcode: Opcode.Chase, source: 0x1000n, pattern: 0x1111n });
  assert.equal(outcome.error, "None");
  assert.deepEqual([bench.memory[0x5000], bench.memory[0x6000]], [0x11, 0x11]);
});

test("a chain that never ends is given up, and chains do not nest", () => {
  const bench = new Bench();
  const nop = { opcode: Opcode.Nop, length: 0, source: 0n, destination: 0n };
  bench.memory.set(writeDescriptor(0x1000n, nop), 0x1000);
  assert.equal(bench.run({ opcode: Opcode.Chase, source: 0x1000n }).error, "DescriptorLimit");
  bench.memory.set(writeDescriptor(0n, { ...nop, opcode: Opcode.Chase }), 0x1000);
  assert.equal(bench.run({ opcode: Opcode.Chase, source: 0x1000n }).error, "BadCommand");
});

test("errors of the link are reported with the address", () => {
  const bench = new Bench();
  const outcome = bench.run({
    opcode: Opcode.Copy,
    source: 0xf_0000n,
    destination: 0x1000n,
    length: 4,
  });
  assert.deepEqual(
    [outcome.error, outcome.errorAddress, outcome.busy],
    ["UnsupportedRequest", 0xf_0000n, false],
  );
});

test("PASID and its modes go out only where software allowed them", () => {
  const bench = new Bench();
  const command = { opcode: Opcode.Fill, destination: 0x1000n, length: 8 };
  assert.equal(bench.run({ ...command, pasid: makePasid(5) }).error, "None");
  assert.equal(bench.sent.at(-1)?.tlp.prefix?.pasid, 5);
  // Width 8; no privileged mode; no execute.
  assert.equal(bench.run({ ...command, pasid: makePasid(256) }).error, "PasidOff");
  assert.equal(bench.run({ ...command, pasid: makePasid(5), privileged: true }).error, "PasidOff");
  assert.equal(bench.run({ ...command, pasid: makePasid(5), execute: true }).error, "PasidOff");
  const at = bench.engine.fn.pasid?.offset ?? 0;
  bench.config.write(at + 6, 2, 0);
  assert.equal(bench.run({ ...command, pasid: makePasid(5) }).error, "PasidOff");
  assert.equal(bench.run({ ...command, pasid: makePasid(256), hostile: true }).error, "None");
  assert.equal(bench.sent.at(-1)?.tlp.prefix?.pasid, 256);
});

test("bus master enable gates even a hostile engine", () => {
  const bench = new Bench();
  bench.config.write(0x04, 2, 0);
  const outcome = bench.run({
    opcode: Opcode.Fill,
    destination: 0x1000n,
    length: 8,
    hostile: true,
  });
  assert.equal(outcome.error, "BusMasterOff");
  assert.equal(bench.sent.length, 0);
});

test("forging needs the hostile flag", () => {
  const bench = new Bench();
  const command = { opcode: Opcode.Fill, destination: 0x1000n, length: 8 };
  const requester = makeRid(0x0400);
  assert.equal(bench.run({ ...command, requester }).error, "BadCommand");
  assert.equal(bench.run({ ...command, mode: AddressMode.RawTranslated }).error, "BadCommand");
  assert.equal(bench.sent.length, 0);
  bench.run({ ...command, requester, mode: AddressMode.RawTranslated, hostile: true });
  const tlp = bench.sent.at(-1)?.tlp;
  assert.deepEqual([tlp?.requester, tlp?.addressType], [0x0400, "translated"]);
});

test("translations are asked for once, used, and dropped by an invalidation", () => {
  const bench = new Bench();
  bench.translation = (pfn) => ({ pfn: pfn + 4 });
  const command = {
    opcode: Opcode.Fill,
    destination: 0x1000n,
    length: 8,
    mode: AddressMode.Ats,
    pasid: makePasid(9),
    pattern: 0x77n,
  };
  bench.run(command);
  bench.run(command);
  const types = bench.sent.map(({ tlp }) => tlp.addressType);
  assert.deepEqual(types, ["translation-request", "translated", "translated"]);
  assert.equal(bench.sent[0]?.tlp.prefix?.pasid, 9);
  assert.equal(bench.sent[1]?.tlp.prefix, undefined);
  assert.equal(bench.memory[0x5000], 0x77);
  const range = { pfn: 0, pageCount: 16, global: false };
  bench.engine.invalidateAtc({ ...range, pasid: makePasid(8) });
  assert.equal(bench.engine.tlb.size, 1);
  bench.engine.invalidateAtc({ ...range, pasid: makePasid(9) });
  assert.equal(bench.engine.tlb.size, 0);
});

test("a large translation serves every page in it; U sends untranslated", () => {
  const bench = new Bench();
  bench.translation = () => ({ pfn: 0, pageCount: 8 });
  const read = { opcode: Opcode.Copy, destinationLocal: true, length: 4, mode: AddressMode.Ats };
  bench.run({ ...read, source: 0x1000n });
  bench.run({ ...read, source: 0x7000n });
  assert.equal(bench.sent.length, 3);
  assert.equal(bench.sent[2]?.tlp.pfn, 7);
  bench.translation = (pfn) => ({ pfn, untranslatedOnly: true });
  bench.run({ ...read, source: 0x9000n });
  assert.equal(bench.sent.at(-1)?.tlp.addressType, "untranslated");
});

test("a missing page is requested; success goes on, refusal ends", () => {
  const bench = new Bench();
  let mapped = false;
  bench.translation = (pfn) => ({ pfn, read: mapped, write: mapped });
  const command = {
    opcode: Opcode.Fill,
    destination: 0x1ffcn,
    length: 8,
    pattern: 0xffn,
    mode: AddressMode.Ats,
    pasid: makePasid(5),
    requestPages: true,
  };
  assert.equal(bench.run(command).busy, true);
  const page = bench.pages[0];
  assert.deepEqual([page?.pfn, page?.pasid, page?.write, page?.last], [1, 5, true, true]);
  mapped = true;
  const answer = { pasid: makePasid(5), group: page?.group ?? -1, code: PageResponse.Success };
  bench.engine.pageResponse({ ...answer, group: answer.group + 1 });
  assert.equal(readOutcome(bench.bar).busy, true, "another group's answer changes nothing");
  bench.engine.pageResponse(answer);
  assert.deepEqual(
    [readOutcome(bench.bar).busy, readOutcome(bench.bar).error, readOutcome(bench.bar).count],
    [false, "None", 8n],
  );
  mapped = false;
  bench.engine.tlb.clear();
  bench.run(command);
  const group = bench.pages[1]?.group ?? -1;
  bench.engine.pageResponse({ pasid: makePasid(5), group, code: PageResponse.InvalidRequest });
  assert.equal(readOutcome(bench.bar).error, "PageRefused");
});

test("pages that are promised and never come are given up", () => {
  const bench = new Bench();
  bench.translation = (pfn) => ({ pfn, read: false, write: false });
  bench.requestPage = (message) => {
    bench.pages.push(message);
    const { pasid, group } = message;
    bench.engine.pageResponse({ pasid, group, code: PageResponse.Success });
  };
  const outcome = bench.run({
    opcode: Opcode.Fill,
    destination: 0x1000n,
    length: 8,
    mode: AddressMode.Ats,
    requestPages: true,
  });
  assert.equal(outcome.error, "NoTranslation");
  assert.ok(bench.pages.length < 20);
});

test("a function-level reset clears PASID and ATS enables and the device TLB", () => {
  const bench = new Bench();
  const command = {
    opcode: Opcode.Fill,
    destination: 0x1000n,
    length: 8,
    mode: AddressMode.Ats,
  };
  bench.run({ ...command, pasid: makePasid(5) });
  assert.equal(bench.engine.tlb.size, 1);
  const express = bench.engine.fn.express?.offset ?? 0;
  bench.engine.configWritten(bench.config.write(express + 8, 2, 0x8000));
  assert.equal(bench.engine.tlb.size, 0);
  bench.config.write(0x04, 2, 0x0004);
  assert.equal(bench.run(command).error, "AtsOff");
  const plain = { ...command, mode: AddressMode.Untranslated, pasid: makePasid(5) };
  assert.equal(bench.run(plain).error, "PasidOff");
});

test("interrupts are writes; masked ones wait", () => {
  const bench = new Bench();
  setVector(bench.bar, 1, 0x4000n, 0xabcd);
  const msix = 0x90;
  bench.engine.configWritten(bench.config.write(msix + 2, 2, 0xc000));
  bench.run({ opcode: Opcode.Nop, vector: 1 });
  assert.equal(bench.sent.length, 0);
  assert.equal(bench.engine.readBar(0, Region.PendingBits, 1)[0], 2);
  bench.engine.configWritten(bench.config.write(msix + 2, 2, 0x8000));
  assert.equal(bench.engine.readBar(0, Region.PendingBits, 1)[0], 0);
  assert.deepEqual(bench.memory.slice(0x4000, 0x4004), new Uint8Array([0xcd, 0xab, 0, 0]));
  assert.equal(bench.sent[0]?.tlp.requester, 0x0300);
});

test("a forged interrupt is a write of four bytes anywhere", () => {
  const bench = new Bench();
  bench.run({ opcode: Opcode.Message, destination: 0x4004n, pattern: 0x1234_5678n });
  assert.deepEqual(bench.sent[0]?.data, new Uint8Array([0x78, 0x56, 0x34, 0x12]));
});

test("fetch-and-add returns what was there", () => {
  const bench = new Bench();
  bench.memory[0x2000] = 7;
  const outcome = bench.run({ opcode: Opcode.FetchAdd, destination: 0x2000n, pattern: 1n });
  assert.equal(outcome.result, 7n);
  const odd = bench.run({ opcode: Opcode.FetchAdd, destination: 0x2001n, pattern: 1n });
  assert.equal(odd.error, "BadCommand");
});

test("read-only registers stay, and the rest of the BAR reads zero", () => {
  const bench = new Bench();
  const id = Region.Registers + Register.Id;
  bench.engine.writeBar(0, id, new Uint8Array(4));
  assert.deepEqual(bench.engine.readBar(0, id, 4), bytes("DMA1"));
  bench.engine.writeBar(0, 0x3000, bytes("nothing"));
  assert.deepEqual(bench.engine.readBar(0, 0x3000, 4), new Uint8Array(4));
  bench.engine.writeBar(1, 0, bytes("nothing"));
});

test("requests are unsnooped when asked for and Enable No Snoop is set; the hostile flag lifts it", () => {
  const bench = new Bench();
  const control = bench.express + 8;
  const send = (more: Partial<EngineCommand>): boolean | undefined => {
    startCommand(bench.bar, { opcode: Opcode.Fill, destination: 0x1000n, length: 8, ...more });
    return bench.sent.at(-1)?.tlp.noSnoop;
  };
  const word = bench.config.read(control, 2);
  bench.config.write(control, 2, word | 0x0800);
  assert.deepEqual([send({ noSnoop: true }), send({ noSnoop: false })], [true, false]);
  bench.config.write(control, 2, word & ~0x0800);
  assert.deepEqual(
    [send({ noSnoop: true }), send({ noSnoop: true, hostile: true })],
    [false, true],
  );
});
