// What the examples beside this file share: a host from a platform file, one user of /dev/iommu
// with some memory, and a way to let a device send a write and see where it lands.
import { fileURLToPath } from "node:url";
import { readPlatformFile } from "ioasis/host/io";
import { Iommufd } from "ioasis/iommufd";
import { memoryRequest } from "ioasis/pcie";
import { buildPlatform } from "ioasis/platform";
import { World } from "ioasis/play";
import { makePasid, ridOf } from "ioasis/units";

const NO_LIMIT = { charge: () => true, uncharge: () => {} };

/** @param platform a file of examples/platforms, without `.yaml`. */
export async function start(platform) {
  const url = new URL(`../platforms/${platform}.yaml`, import.meta.url);
  const description = await readPlatformFile(fileURLToPath(url));
  const world = new World(buildPlatform(description), "device-centric");
  const user = new Iommufd(world, {
    label: "user",
    memory: world.process,
    mayLockMemory: true,
    mayRaiseLimits: false,
    userLocked: NO_LIMIT,
    processLocked: NO_LIMIT,
    countPinned: () => {},
  });
  return { world, user, ...helpers(world, user) };
}

function helpers(world, user) {
  const { machine } = world;
  return {
    bdf: (name) => machine.names.get(name),
    /** An address space in which `iova` leads to a page of memory of that name. */
    space(name, iova) {
      const buffer = world.process.add(name, 1);
      const ioasId = user.ioasAlloc();
      const userVa = BigInt(buffer.firstPage) * 4096n;
      user.ioasMap({ ioasId, flags: 7, userVa, length: 4096n, iova });
      return ioasId;
    },
    /** A function sends a write of four bytes. */
    send(bdf, iova, pasid) {
      const prefix =
        pasid === undefined
          ? undefined
          : { pasid: makePasid(pasid), privileged: false, execute: false };
      const requester = ridOf(bdf);
      const tlp = memoryRequest({ requester, address: iova, access: "write", prefix });
      const { delivery } = machine.transact(bdf, { tlp, data: new Uint8Array(4) });
      if (delivery.kind === "fault") return `refused by the IOMMU: ${delivery.name}`;
      if (delivery.kind !== "memory") return delivery.kind;
      const place = world.process.placeOf(Number(delivery.address >> 12n));
      return `lands in ${place?.buffer.name ?? "memory of nobody"}`;
    },
  };
}

/** What a call answers: its refusal, or "done". */
export function attempt(act) {
  try {
    act();
    return "done";
  } catch (error) {
    if (error.errno === undefined) throw error;
    return error.message;
  }
}

export function say(what, outcome) {
  console.log(`${what}\n    ${outcome}`);
}
