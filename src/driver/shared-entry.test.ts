/** Devices that the hardware knows by one requester ID, and VFs, which go by their PF. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../machine/index.js";
import { memoryRequest } from "../pcie/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { type Bdf, bdfFromRid, makePasid, ridOf } from "../units/index.js";
import { HostDriver } from "./host-driver.js";
import { machineHost } from "./machine-host.js";

const PLAIN = { nestParent: false, dirtyTracking: false, pasid: true, userAllocated: false };

function start(roots: readonly object[]) {
  const iommu = { kind: "intel" };
  const platform = readPlatform({ schema: "ioasis/platform/1", iommu, roots });
  const machine = new Machine(buildPlatform(platform));
  const driver = new HostDriver(machineHost(machine));
  const name = (of: string) => machine.names.get(of) as Bdf;
  const send = (from: Bdf, pfn: number, how: { pasid?: number; translated?: boolean }) => {
    const { pasid, translated } = how;
    const tlp = memoryRequest({
      requester: ridOf(from),
      address: BigInt(pfn) << 12n,
      access: "read",
      addressType: translated === true ? "translated" : "untranslated",
      prefix:
        pasid === undefined
          ? undefined
          : { pasid: makePasid(pasid), privileged: false, execute: false },
    });
    return machine.transact(from, { tlp, data: undefined }).delivery.kind;
  };
  return { machine, driver, name, send };
}

/** Two functions that send as one VMD; the first has neither PASIDs nor ATS. */
function vmdHost() {
  const port = (name: string, more: object) => ({
    kind: "root-port",
    acs: "full",
    below: [{ kind: "endpoint", name, ...more }],
  });
  const able = { ats: { enabled: false }, pasid: { width: 16 } };
  const vmd = { kind: "integrated-endpoint", name: "vmd", id: "8086:467f", class: "010400" };
  const inside = [port("plain", {}), port("able", able), port("other", able)];
  return start([
    { bus: 0, devices: [vmd] },
    { segment: 0x10000, bus: 0xe0, vmd: "vmd", devices: inside },
  ]);
}

test("PASIDs of a shared entry pass when any of its devices has them, however it was made", () => {
  const { machine, driver, name, send } = vmdHost();
  const [plain, able] = [name("plain"), name("able")];
  driver.attach(plain, undefined, driver.allocPaging(plain, PLAIN, undefined));
  const domain = driver.allocPaging(able, PLAIN, undefined);
  domain.map(5, machine.memory.allocateFrame({ label: "data" }) ?? 0, 1, 3);
  // Beyond what the first device's width has room for.
  driver.attach(able, makePasid(40_000), domain);
  assert.equal(send(able, 5, { pasid: 40_000 }), "memory");
});

test("ATS of a shared entry stays on until the last of its devices has it off", () => {
  const { machine, driver, name, send } = vmdHost();
  const [plain, able, other] = [name("plain"), name("able"), name("other")];
  const pfn = machine.memory.allocateFrame({ label: "data" }) ?? 0;
  const set = (device: Bdf, ats: boolean) => driver.configure(device, { ats, pageRequests: false });
  const reaches = () => send(able, pfn, { translated: true });
  set(able, true);
  set(other, true);
  set(plain, false);
  assert.equal(reaches(), "memory", "another device without it takes nothing away");
  set(other, false);
  assert.equal(reaches(), "memory");
  driver.removeDevice(plain);
  assert.equal(reaches(), "memory");
  driver.removeDevice(able);
  assert.equal(reaches(), "fault", "who is gone has nothing on");
});

test("a VF below ports without ACS may use PASIDs as its PF may: that is policy", () => {
  const acs = "none";
  const sriov = { vfs: 1, each: { endEndPrefix: true } };
  const pf = { kind: "endpoint", name: "pf", pasid: { width: 16, enabled: true }, sriov };
  const { driver, name } = start([{ devices: [{ kind: "root-port", acs, below: [pf] }] }]);
  const vf = bdfFromRid(0, ridOf(name("pf")) + 8);
  assert.equal(driver.capabilities(name("pf")).maxPasids, 2 ** 16);
  assert.equal(driver.capabilities(vf).maxPasids, 2 ** 16);
});
