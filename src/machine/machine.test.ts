/** Machines with a small IOMMU of the test's own: page n of requester r goes to n + 0x800000. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AddressMode,
  type BarAccess,
  type EngineCommand,
  Opcode,
  PageResponse,
  readLocal,
  readOutcome,
  startCommand,
  writeLocal,
} from "../devices/index.js";
import {
  type DmaAnswer,
  type DmaRequest,
  DmaStatus,
  type Iommu,
  type IommuPorts,
} from "../iommu/index.js";
import { addressHigh, addressLow, frameOf } from "../memory/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { InputError, makeBdf, makePasid, makeRid } from "../units/index.js";
import { type Delivery, Machine, type TraceRecord } from "./index.js";

const SHIFT = 0x80_0000;
const OWNER = { label: "test" };

class TestUnit implements Iommu {
  readonly name = "test";
  readonly kind = "vtd";
  observer: Iommu["observer"] = undefined;
  readonly memoryReads = 0;
  readonly refused = new Set<number>();
  readonly asked: { requester: number; pasid: number | undefined; type: number }[] = [];
  readonly ports: IommuPorts;
  readonly pages: number[] = [];
  shift = SHIFT;

  constructor(ports: IommuPorts) {
    this.ports = ports;
  }

  translate(request: DmaRequest, answer: DmaAnswer): void {
    const pasid = request.hasPasid ? request.pasid : undefined;
    this.asked.push({ requester: request.requester, pasid, type: request.addressType });
    this.observer?.entryRead("stage2-entry", 1, 0x1000, 0, 0x2003, 1);
    const pfn = frameOf(request.lo, request.hi);
    if (pfn >= 0xfee00 && pfn <= 0xfeeff) {
      answer.status = DmaStatus.interrupt;
      return;
    }
    const moved = pfn + this.shift;
    answer.lo = addressLow(moved, request.lo & 0xfff);
    answer.hi = addressHigh(moved);
    answer.pageShift = 12;
    answer.readable = true;
    answer.writable = true;
    answer.reason = 7;
    answer.completion = "unsupported-request";
    answer.status = this.refused.has(request.requester)
      ? DmaStatus.fault
      : request.addressType === 1
        ? DmaStatus.completed
        : DmaStatus.translated;
    if (request.addressType === 2) {
      answer.lo = request.lo;
      answer.hi = request.hi;
    }
  }

  interrupt({
    requester,
    data,
  }: Parameters<Iommu["interrupt"]>[0]): ReturnType<Iommu["interrupt"]> {
    if (this.refused.has(requester)) return { kind: "fault", reason: 0x22, index: undefined };
    return {
      kind: "delivered",
      remapped: true,
      interrupt: {
        vector: data & 0xff,
        destination: 0,
        destinationMode: "physical",
        deliveryMode: 0,
        trigger: "edge",
        index: 0,
      },
    };
  }

  pageRequest(message: Parameters<Iommu["pageRequest"]>[0]): ReturnType<Iommu["pageRequest"]> {
    this.pages.push(message.frame);
    return { kind: "queued" };
  }

  readRegister32 = () => 0;
  writeRegister32 = () => {};
  readRegister64 = () => 0n;
  writeRegister64 = () => {};
  inspect = () => ({ iotlb: [], contexts: [], pasids: [], interrupts: [] });
  faultName = (reason: number) => `fault ${reason}`;
}

const engine = (name: string, more: object = {}) => ({
  kind: "endpoint",
  name,
  engine: "dma",
  ats: true,
  pri: true,
  pasid: { width: 16, enabled: true },
  ...more,
});

/** Root port, switch, two engines; `acs` at the downstream ports. */
function switched(acs?: unknown): object {
  const port = (below: object) => ({
    kind: "switch-downstream",
    acs: acs ?? "none",
    below: [below],
  });
  const below = [port(engine("a")), port(engine("b"))];
  const upstream = { kind: "switch-upstream", below };
  return { bus: 0, devices: [{ kind: "root-port", name: "rp", acs: "full", below: [upstream] }] };
}

class Bench {
  readonly machine: Machine;
  readonly units: TestUnit[] = [];
  readonly records: TraceRecord[] = [];

  constructor(root: object, iommu: object = { kind: "intel" }) {
    const description = readPlatform({ schema: "ioasis/platform/1", roots: [root], iommu });
    this.machine = new Machine(buildPlatform(description), {
      makeUnit: (_plan, _memory, ports) => {
        const unit = new TestUnit(ports);
        this.units.push(unit);
        return unit;
      },
    });
    this.machine.observer = { record: (record) => this.records.push(record) };
  }

  bdf(name: string) {
    const found = this.machine.names.get(name);
    assert.ok(found !== undefined, name);
    return found;
  }

  bar(name: string): BarAccess {
    const endpoint = this.machine.endpoint(this.bdf(name));
    assert.ok(endpoint !== undefined);
    return {
      read: (offset, length) => endpoint.readBar(0, offset, length),
      write: (offset, data) => endpoint.writeBar(0, offset, data),
    };
  }

  run(name: string, command: EngineCommand) {
    this.records.length = 0;
    return startCommand(this.bar(name), command);
  }

  /** Where the last transaction ended. */
  delivery(): Delivery | undefined {
    const last = this.records.filter((r) => r.kind === "delivered").at(-1);
    return last?.kind === "delivered" ? last.delivery : undefined;
  }

  address(name: string): bigint {
    const base = this.machine.fabric.function(this.bdf(name))?.bars?.[0]?.base;
    assert.ok(base !== undefined);
    return base;
  }
}

function lost(bench: Bench) {
  const delivery = bench.delivery();
  assert.ok(delivery?.kind === "lost");
  return delivery;
}

function peer(bench: Bench) {
  const delivery = bench.delivery();
  assert.ok(delivery?.kind === "peer");
  return delivery;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const sendHello = { opcode: Opcode.Copy, source: 0n, sourceLocal: true, length: 5 } as const;

test("a write of a device lands where its unit sends it", () => {
  const bench = new Bench(switched());
  bench.machine.memory.placeFrame(SHIFT + 0x55, OWNER);
  writeLocal(bench.bar("a"), 0, bytes("hello"));
  const outcome = bench.run("a", { ...sendHello, destination: 0x55010n });
  assert.equal(outcome.error, "None");
  const into = new Uint8Array(5);
  bench.machine.memory.read(SHIFT + 0x55, 0x10, into);
  assert.deepEqual(into, bytes("hello"));
  const kinds = bench.records.map((r) => r.kind);
  assert.equal(kinds[0], "request");
  assert.ok(kinds.indexOf("hop") < kinds.indexOf("unit"));
  assert.deepEqual(kinds.slice(kinds.indexOf("unit")), [
    "unit",
    "entry",
    "translated",
    "delivered",
  ]);
  const entry = bench.records.find((r) => r.kind === "entry");
  assert.deepEqual(entry?.kind === "entry" && [entry.address, entry.value], [
    0x1000n,
    0x1_0000_2003n,
  ]);
});

test("without ACS at the switch an address of the peer never reaches the unit", () => {
  const bench = new Bench(switched());
  writeLocal(bench.bar("a"), 0, bytes("hello"));
  const destination = bench.address("b") + 0x4000n;
  bench.run("a", { ...sendHello, destination, pasid: makePasid(5) });
  assert.equal(bench.units[0]?.asked.length, 0);
  assert.deepEqual(bench.delivery(), {
    kind: "peer",
    device: bench.bdf("b"),
    bar: 0,
    offset: 0x4000n,
    byAgent: false,
  });
  assert.deepEqual(readLocal(bench.bar("b"), 0, 5), bytes("hello"));
});

test("with redirect and forwarding the unit sees it, and may send it to the peer", () => {
  const bench = new Bench(switched("full"));
  bench.run("a", { ...sendHello, destination: bench.address("b"), pasid: makePasid(5) });
  assert.deepEqual(bench.units[0]?.asked, [{ requester: 0x0300, pasid: 5, type: 0 }]);
  assert.equal(bench.delivery()?.kind, "lost");
  const unit = bench.units[0];
  assert.ok(unit !== undefined);
  unit.shift = 0;
  bench.run("a", { ...sendHello, destination: bench.address("b") + 0x4000n });
  assert.equal(peer(bench).byAgent, true);
});

test("switching redirect on in the port's registers changes the way at once", () => {
  const bench = new Bench(switched({ capability: ["SV", "RR", "CR", "UF"] }));
  const destination = bench.address("b") + 0x4000n;
  bench.run("a", { ...sendHello, destination });
  assert.equal(bench.delivery()?.kind, "peer");
  for (const fn of bench.machine.fabric.functions) {
    const at = fn.acs?.offset;
    if (at !== undefined) bench.machine.configWrite(fn.bdf, at + 6, 2, 0x1d);
  }
  bench.run("a", { ...sendHello, destination });
  assert.equal(bench.units[0]?.asked.length, 1);
});

test("a closed window loses what went through it", () => {
  const bench = new Bench(switched());
  const destination = bench.address("b");
  const port = bench.machine.fabric.function(bench.bdf("b"))?.bus.bridge;
  assert.ok(port !== undefined);
  bench.machine.configWrite(port.bdf, 0x20, 4, 0x0000_fff0);
  bench.run("a", { ...sendHello, destination });
  assert.ok(bench.delivery()?.kind !== "peer");
});

test("reads come back; nothing there is an unsupported request", () => {
  const bench = new Bench(switched());
  bench.machine.memory.placeFrame(SHIFT + 1, OWNER);
  bench.machine.memory.write(SHIFT + 1, 8, bytes("world"));
  const read = { opcode: Opcode.Copy, destinationLocal: true, length: 5 } as const;
  bench.run("a", { ...read, source: 0x1008n });
  assert.deepEqual(readLocal(bench.bar("a"), 0, 5), bytes("world"));
  const outcome = bench.run("a", { ...read, source: 0x2008n });
  assert.equal(outcome.error, "UnsupportedRequest");
  assert.equal(lost(bench).why, "absent-memory");
});

test("memory that is poisoned or refuses says so", () => {
  const bench = new Bench(switched());
  bench.machine.memory.placeFrame(SHIFT + 1, OWNER);
  const read = { opcode: Opcode.Copy, destinationLocal: true, length: 5, source: 0x1000n } as const;
  bench.machine.memory.mark(SHIFT + 1, "poisoned");
  bench.run("a", read);
  assert.equal(lost(bench).why, "poisoned-memory");
  bench.machine.memory.mark(SHIFT + 1, "violation");
  bench.run("a", read);
  assert.equal(lost(bench).why, "access-violation");
});

test("fetch-and-add carries over bytes", () => {
  const bench = new Bench(switched());
  bench.machine.memory.placeFrame(SHIFT + 1, OWNER);
  bench.machine.memory.write(SHIFT + 1, 0, new Uint8Array([0xff, 0, 0, 0, 0, 0, 0, 0]));
  bench.run("a", { opcode: Opcode.FetchAdd, destination: 0x1000n, pattern: 1n });
  const into = new Uint8Array(2);
  bench.machine.memory.read(SHIFT + 1, 0, into);
  assert.deepEqual(into, new Uint8Array([0, 1]));
});

test("a fault names unit and requester, and a read fails with it", () => {
  const bench = new Bench(switched());
  bench.units[0]?.refused.add(0x0300);
  const outcome = bench.run("a", {
    opcode: Opcode.Copy,
    destinationLocal: true,
    length: 4,
    source: 0x1000n,
  });
  assert.equal(outcome.error, "UnsupportedRequest");
  const requester = makeRid(0x0300);
  const delivery = bench.delivery();
  assert.deepEqual(delivery, {
    kind: "fault",
    unit: "dmar0",
    reason: 7,
    name: "fault 7",
    requester,
  });
});

test("a forged requester passes where nothing validates it, and never changes the unit", () => {
  const forged = { ...sendHello, hostile: true, requester: makeRid(0x0400), destination: 0x1000n };
  const open = new Bench(switched());
  open.run("a", forged);
  // The root port has source validation, and bus 4 is below it too.
  assert.deepEqual(open.units[0]?.asked[0]?.requester, 0x0400);
  const guarded = new Bench(switched("full"));
  guarded.run("a", forged);
  assert.deepEqual(lost(guarded).bits, ["SV"]);
});

test("translations are cached in the device until the unit takes them back", () => {
  const bench = new Bench(switched());
  bench.machine.memory.placeFrame(SHIFT + 1, OWNER);
  const command = { ...sendHello, destination: 0x1000n, mode: AddressMode.Ats };
  assert.equal(bench.run("a", command).error, "None");
  assert.deepEqual(
    bench.units[0]?.asked.map((a) => a.type),
    [1, 2],
  );
  const all = { requester: 0x0300, pasid: undefined, global: false, frame: 0, pageCount: 2 ** 52 };
  assert.equal(bench.units[0]?.ports.invalidateDeviceTlb(all), true);
  assert.equal(bench.machine.engine(bench.bdf("a"))?.tlb.size, 0);
  assert.equal(bench.units[0]?.ports.invalidateDeviceTlb({ ...all, requester: 0x0900 }), false);
});

test("page requests reach the unit and its answer the device", () => {
  const bench = new Bench(switched());
  const unit = bench.units[0];
  assert.ok(unit !== undefined);
  const real = unit.translate.bind(unit);
  unit.translate = (request, answer) => {
    real(request, answer);
    if (request.addressType !== 1) return;
    answer.readable = false;
    answer.writable = false;
  };
  const command = {
    ...sendHello,
    destination: 0x1000n,
    mode: AddressMode.Ats,
    pasid: makePasid(5),
    requestPages: true,
  };
  assert.equal(bench.run("a", command).busy, true);
  assert.deepEqual(unit.pages, [1]);
  const answer = { requester: 0x0300, pasid: 5, groupIndex: 0, code: PageResponse.InvalidRequest };
  unit.ports.answerPageGroup(answer);
  assert.equal(readOutcome(bench.bar("a")).error, "PageRefused");
});

test("an unplugged device is gone with what is below, and comes back reset", () => {
  const bench = new Bench(switched());
  const gone = bench.machine.unplug(bench.bdf("rp"));
  assert.equal(gone.length, 6);
  assert.equal(bench.machine.configRead(bench.bdf("a"), 0, 2), 0xffff);
  assert.equal(bench.machine.endpoint(bench.bdf("a")), undefined);
  assert.equal(bench.machine.fabric.functions.length, 0);
  bench.machine.plug(gone);
  bench.machine.memory.placeFrame(SHIFT + 1, OWNER);
  assert.equal(bench.run("a", { ...sendHello, destination: 0x1000n }).error, "None");
  assert.equal(bench.delivery()?.kind, "memory");
  const ats = { ...sendHello, destination: 0x1000n, mode: AddressMode.Ats };
  assert.equal(bench.run("a", ats).error, "AtsOff");
});

test("a message sent by an unplugged device is lost", () => {
  const bench = new Bench(switched());
  const bar = bench.bar("a");
  bench.machine.unplug(bench.bdf("a"));
  bench.records.length = 0;
  startCommand(bar, { ...sendHello, destination: 0x1000n });
  assert.equal(lost(bench).why, "unplugged");
});

test("interrupts go through the unit; without one any message counts", () => {
  const seen: (readonly [boolean, number])[] = [];
  const message = { opcode: Opcode.Message, destination: 0xfee0_0000n, pattern: 0x41n } as const;
  for (const iommu of [{ kind: "intel" }, { kind: "none" }]) {
    const bench = new Bench(switched(), iommu);
    bench.machine.onInterrupt = ({ remapped, data }) => seen.push([remapped, data]);
    bench.run("a", message);
    bench.units[0]?.refused.add(0x0300);
    bench.run("a", message);
  }
  assert.deepEqual(seen, [
    [true, 0x41],
    [false, 0x41],
    [false, 0x41],
  ]);
});

test("without a unit addresses stay, and translations are refused", () => {
  const bench = new Bench(switched(), { kind: "none" });
  bench.machine.memory.placeFrame(0x1234, OWNER);
  bench.run("a", { ...sendHello, destination: 0x1234_000n });
  assert.deepEqual(bench.delivery(), { kind: "memory", address: 0x1234_000n, length: 5 });
  const ats = { ...sendHello, destination: 0x1234_000n, mode: AddressMode.Ats };
  assert.equal(bench.run("a", ats).error, "UnsupportedRequest");
});

test("a unit that covers only one device leaves the other alone", () => {
  const bench = new Bench(switched(), { kind: "intel", covers: ["a"] });
  bench.machine.memory.placeFrame(0x1234, OWNER);
  bench.run("b", { ...sendHello, destination: 0x1234_000n });
  assert.equal(bench.delivery()?.kind, "memory");
  assert.equal(bench.units[0]?.asked.length, 0);
  bench.run("a", { ...sendHello, destination: 0x1000n });
  assert.equal(bench.units[0]?.asked.length, 1);
});

test("VFs come and go with VF Enable, and fall with a reset of their PF", () => {
  const sriov = { vfs: 2, each: { engine: "dma", ats: true } };
  const root = { bus: 0, devices: [engine("pf", { flr: true, sriov })] };
  const bench = new Bench(root);
  const pf = bench.bdf("pf");
  const fn = bench.machine.fabric.function(pf);
  const vf = bench.machine.fabric.functions.find((f) => f.physfn === fn)?.bdf;
  assert.ok(fn?.sriov && vf !== undefined);
  assert.ok(bench.machine.engine(vf) !== undefined);
  bench.machine.configWrite(pf, fn.sriov.offset + 8, 2, 0);
  assert.equal(bench.machine.isPresent(vf), false);
  bench.machine.configWrite(pf, fn.sriov.offset + 8, 2, 9);
  assert.equal(bench.machine.isPresent(vf), true);
});

test("there is no hardware for other IOMMUs", () => {
  const iommu = { kind: "amd", function: "unit" };
  const root = {
    bus: 0,
    devices: [
      { kind: "conventional", name: "unit", at: "00.2" },
      { kind: "conventional", at: "00.0" },
    ],
  };
  assert.throws(
    () => new Bench(root, iommu),
    (error) => InputError.is(error),
  );
});

test("a function that never was there sends nothing", () => {
  const bench = new Bench(switched());
  const bdf = makeBdf(0, 9, 0, 0);
  assert.equal(bench.machine.unitOf(bdf), undefined);
  assert.equal(bench.machine.configRead(bdf, 0, 4), 0xffff_ffff);
  bench.machine.configWrite(bdf, 0, 4, 0);
  assert.deepEqual(bench.machine.unplug(bdf), []);
});
