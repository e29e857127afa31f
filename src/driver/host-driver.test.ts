/** The driver on a running machine: units of several makes, devices that leave. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isRefusal } from "../abi/index.js";
import { Machine } from "../machine/index.js";
import { memoryRequest } from "../pcie/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { type Bdf, makePasid, ridOf } from "../units/index.js";
import { HostDriver } from "./host-driver.js";
import { machineAnalysis, machineHost } from "./machine-host.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: false, userAllocated: false };
const ENDPOINT = {
  kind: "endpoint",
  engine: "dma",
  driver: null,
  pasid: { width: 16, enabled: false },
  ats: { enabled: false },
};

function start(iommu: object) {
  const port = (name: string) => ({
    kind: "root-port",
    acs: "full",
    below: [{ ...ENDPOINT, name }],
  });
  const description = readPlatform({
    schema: "ioasis/platform/1",
    host: { kernel: "7.2.13", architecture: "x86", firmware: "acpi" },
    iommu,
    roots: [{ devices: [port("a"), port("b")] }],
  });
  const machine = new Machine(buildPlatform(description));
  const driver = new HostDriver(machineHost(machine));
  const name = (of: string) => machine.names.get(of) as Bdf;
  const send = (from: Bdf, iova: bigint, pasid?: number) => {
    const prefix =
      pasid === undefined
        ? undefined
        : { pasid: makePasid(pasid), privileged: false, execute: false };
    const requester = ridOf(from);
    const tlp = memoryRequest({ requester, address: iova, access: "write", prefix });
    const { delivery } = machine.transact(from, { tlp, data: new Uint8Array(4) });
    return delivery.kind === "memory" ? Number(delivery.address >> 12n) : delivery.kind;
  };
  return { machine, driver, a: name("a"), b: name("b"), send };
}

test("DMA of each device lands in what it was given, by PASID too", () => {
  const { machine, driver, a, b, send } = start({ kind: "intel" });
  const [one, two] = [1, 2].map(() => machine.memory.allocateFrame({ label: "data" }) ?? 0);
  const space = (pfn: number | undefined) => {
    const domain = driver.allocPaging(a, { ...PLAIN, pasid: true }, undefined);
    domain.map(5, pfn ?? 0, 1, 3);
    return domain;
  };
  driver.attach(a, undefined, space(one));
  driver.attach(b, makePasid(9), space(two));
  assert.equal(send(a, 0x5000n), one);
  assert.equal(send(b, 0x5000n, 9), two);
  assert.equal(send(b, 0x5000n), "fault");
  assert.equal(driver.capabilities(b).maxPasids, 2 ** 16);
});

test("a device that is unplugged while attached can still be detached, and comes back blocked", () => {
  const { machine, driver, a, send } = start({ kind: "intel" });
  const data = machine.memory.allocateFrame({ label: "data" }) ?? 0;
  const domain = driver.allocPaging(a, PLAIN, undefined);
  domain.map(5, data, 2, 3);
  driver.attach(a, undefined, domain);
  driver.configure(a, { ats: true, pageRequests: false });
  assert.equal(send(a, 0x5000n), data);
  const gone = machine.unplug(a);
  assert.equal(send(a, 0x5000n), "lost");
  domain.unmap(6, 1);
  domain.sync();
  assert.ok((driver.vtd.units[0]?.queue.timeouts ?? 0) > 0, "it does not answer invalidations");
  assert.equal(driver.attached(a, undefined), domain);
  driver.attach(a, undefined, driver.blocked(a));
  driver.removeDevice(a);
  driver.removeDevice(a);
  domain.free();
  assert.throws(
    () => driver.capabilities(a),
    (e) => isRefusal(e, "ENODEV"),
  );
  machine.plug(gone);
  assert.equal(send(a, 0x5000n), "fault");
});

test("the analysis follows the machine, and is kept while nothing changes", () => {
  const { machine, a } = start({ kind: "intel" });
  const analysis = machineAnalysis(machine);
  const before = analysis();
  assert.equal(analysis(), before);
  machine.unplug(a);
  assert.notEqual(analysis(), before);
  assert.equal(analysis().deviceReport(a), undefined);
});

test("a unit without requester matching has the same port", () => {
  const { machine, driver, a, b, send } = start({ kind: "intel", requesterMatching: false });
  assert.equal(machine.units[0]?.iommu.kind, "single-table");
  const data = machine.memory.allocateFrame({ label: "data" }) ?? 0;
  const domain = driver.allocPaging(a, PLAIN, undefined);
  domain.map(5, data, 1, 3);
  for (const device of [a, b]) driver.attach(device, undefined, domain);
  assert.deepEqual([send(a, 0x5000n), send(b, 0x5000n)], [data, data]);
  assert.deepEqual(driver.configure(a, { ats: true, pageRequests: true }), {
    ats: false,
    pageRequests: false,
  });
  const frames = driver.tableFrames;
  for (const device of [a, b]) driver.attachDefault(device);
  domain.free();
  assert.ok(driver.tableFrames < frames);
});
