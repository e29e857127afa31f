/** Random driver operations on two devices, judged after each step by a Map of pages per slot. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DriverMachine } from "../../../test/support/driver-machine.js";
import { t3 } from "../../../test/support/topologies.js";
import { isRefusal } from "../../abi/index.js";
import { type Bdf, makePasid, type Pasid } from "../../units/index.js";
import type { Domain } from "../driver-port.js";
import type { VtdPagingDomain } from "./paging-domain.js";

const SEED = 23;
const DOMAINS = 3;
const PLAIN = { nestParent: false, dirtyTracking: false, pasid: true, userAllocated: false };

const place = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 500, max: 530 }),
  fc.constantFrom(512, 1024),
);
const count = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant(512));
const action = fc.oneof(
  fc.record({
    kind: fc.constant("map" as const),
    domain: fc.nat(DOMAINS - 1),
    iova: place,
    pfn: fc.oneof(fc.integer({ min: 0, max: 2 ** 39 }), fc.constantFrom(512, 2048)),
    count,
    prot: fc.constantFrom(1, 2, 3),
  }),
  fc.record({
    kind: fc.constant("unmap" as const),
    domain: fc.nat(DOMAINS - 1),
    iova: place,
    count,
  }),
  fc.record({
    kind: fc.constant("attach" as const),
    device: fc.nat(1),
    pasid: fc.constantFrom(undefined, 1, 64, 70000),
    domain: fc.nat(DOMAINS),
  }),
  fc.record({ kind: fc.constant("default" as const), device: fc.nat(1) }),
  fc.record({ kind: fc.constant("remove" as const), device: fc.nat(1) }),
);
const PROBES = [0, 1, 5, 19, 39, 500, 511, 512, 513, 529, 1023, 1024, 1030];

interface Page {
  readonly pfn: number;
  readonly prot: number;
}

class Model {
  readonly m: DriverMachine;
  readonly devices: readonly Bdf[];
  readonly domains: readonly VtdPagingDomain[];
  readonly pages = Array.from({ length: DOMAINS }, () => new Map<number, Page>());
  /** `device:pasid` to domain number. */
  readonly slots = new Map<string, number>();

  constructor(scalable: boolean, identity: boolean) {
    const defaultMode = identity ? "identity" : "translated";
    // In caching mode every new row and page is followed by invalidations: they must be accepted
    // too.
    const hardware = { scalable, cachingMode: !scalable };
    this.m = new DriverMachine(t3(), hardware, { defaultMode });
    this.devices = [this.m.fn("03:00.0"), this.m.fn("04:00.0")];
    const [first] = this.devices;
    this.domains = this.pages.map(() => this.m.driver.allocPaging(first as Bdf, PLAIN, undefined));
  }

  expected(device: number, pasid: number | undefined, iova: number, write: boolean) {
    const domain = this.slots.get(`${device}:${pasid}`);
    if (domain === undefined) return undefined;
    if (domain < 0) return iova;
    const page = this.pages[domain]?.get(iova);
    return page !== undefined && (page.prot & (write ? 2 : 1)) !== 0 ? page.pfn : undefined;
  }

  check(): void {
    for (const [d, device] of this.devices.entries()) {
      for (const pasid of [undefined, 1, 64, 70000]) {
        for (const iova of PROBES) {
          for (const write of [false, true]) {
            const how = pasid === undefined ? { write } : { write, pasid };
            const answer = this.m.ask(device, iova, how);
            const met = typeof answer === "number" ? answer : undefined;
            assert.equal(met, this.expected(d, pasid, iova, write), `${d} ${pasid} ${iova}`);
          }
        }
      }
    }
  }
}

function attach(model: Model, d: number, number: number | undefined, domain: number): void {
  const { driver } = model.m;
  const device = model.devices[d] as Bdf;
  const pasid: Pasid | undefined = number === undefined ? undefined : makePasid(number);
  const to: Domain = model.domains[domain] ?? driver.blocked(device);
  try {
    driver.attach(device, pasid, to);
  } catch (error) {
    assert.ok(isRefusal(error, "EOPNOTSUPP"), String(error));
    return;
  }
  if (domain === DOMAINS) model.slots.delete(`${d}:${number}`);
  else model.slots.set(`${d}:${number}`, domain);
}

type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

function apply(model: Model, step: Action, identity: boolean): void {
  switch (step.kind) {
    case "attach":
      attach(model, step.device, step.pasid, step.domain);
      return;
    case "default":
      model.m.driver.attachDefault(model.devices[step.device] as Bdf);
      if (identity) model.slots.set(`${step.device}:undefined`, -1);
      else model.slots.delete(`${step.device}:undefined`);
      return;
    case "remove":
      model.m.driver.removeDevice(model.devices[step.device] as Bdf);
      for (const key of model.slots.keys()) {
        if (key.startsWith(`${step.device}:`)) model.slots.delete(key);
      }
      return;
    default:
      change(model, step);
  }
}

function change(model: Model, step: Extract<Action, { kind: "map" | "unmap" }>): void {
  const domain = model.domains[step.domain] as VtdPagingDomain;
  const pages = model.pages[step.domain] as Map<number, Page>;
  const range = Array.from({ length: step.count }, (_, i) => step.iova + i);
  if (step.kind === "unmap") {
    domain.split(step.iova);
    domain.split(step.iova + step.count);
    const there = range.filter((at) => pages.delete(at)).length;
    assert.equal(domain.unmap(step.iova, step.count), there);
    domain.sync();
    return;
  }
  if (range.some((at) => pages.has(at))) {
    assert.throws(() => domain.map(step.iova, step.pfn, step.count, step.prot));
    return;
  }
  domain.map(step.iova, step.pfn, step.count, step.prot);
  for (const [i, at] of range.entries()) pages.set(at, { pfn: step.pfn + i, prot: step.prot });
}

for (const [scalable, identity] of [
  [true, false],
  [true, true],
  [false, true],
] as const) {
  const name = `${scalable ? "scalable" : "legacy"}, ${identity ? "identity" : "translated"}`;
  test(`${name}: each request meets what the Maps say, after every operation`, () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 30 }), (steps) => {
        const model = new Model(scalable, identity);
        for (const step of steps) {
          apply(model, step, identity);
          model.check();
        }
        const { driver } = model.m;
        for (const device of model.devices) driver.removeDevice(device);
        for (const domain of model.domains) domain.free();
        assert.equal(driver.units[0]?.usedIds, 0);
        assert.equal(model.m.memory.tableFrames, driver.frames.held);
      }),
      { seed: SEED, numRuns: 40 },
    );
  });
}
