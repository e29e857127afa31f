/**
 * Devices as their drivers hand them out to users: a plain function, a slice of a parent with
 * PASIDs of its own, and one whose DMA software does.
 */
import { UapiError } from "../abi/index.js";
import type {
  DeviceCapabilities,
  DmaDevice,
  DriverDeclaration,
  HardwareSlot,
  IommuDriver,
} from "../driver/index.js";
import type { PciFunction } from "../pcie/index.js";
import { type Bdf, makePasid, type Pasid } from "../units/index.js";

/** PASIDs that a user of a slice may name. */
const SLICE_PASIDS = 1024;

export function plainDevice(
  driver: IommuDriver,
  fn: PciFunction,
  label: string,
  declaration: DriverDeclaration,
): DmaDevice {
  const device = fn.bdf;
  const hasPasids = fn.pasid !== undefined && fn.pasid !== null;
  return {
    label,
    function: device,
    mediated: false,
    declaration,
    get capabilities(): DeviceCapabilities | undefined {
      return driver.capabilities(device);
    },
    pasidSpace: device + 1,
    slotOf(pasid) {
      if (pasid !== undefined) checkRouting(declaration, hasPasids);
      return { device, pasid };
    },
    releaseSlot() {},
  };
}

function checkRouting(declaration: DriverDeclaration, hasPasids: boolean): void {
  if (declaration.routing === "rid") {
    throw new UapiError("EINVAL", "the device's driver declares requests without PASID only");
  }
  if (!hasPasids) throw new UapiError("EOPNOTSUPP", "the device has no PASIDs");
}

/** PASIDs of one parent, handed out to its slices; number 0 stands for "no PASID". */
export class ParentPasids {
  readonly parent: Bdf;
  readonly limit: number;
  readonly #used = new Set<number>();

  constructor(parent: Bdf, limit: number) {
    this.parent = parent;
    this.limit = limit;
  }

  /** @throws UapiError ENOSPC. */
  take(): Pasid {
    for (let n = 1; n < this.limit; n++) {
      if (this.#used.has(n)) continue;
      this.#used.add(n);
      return makePasid(n);
    }
    throw new UapiError("ENOSPC", "the parent has no PASID left");
  }

  give(pasid: Pasid): void {
    this.#used.delete(pasid);
  }
}

/**
 * A slice: the user's PASIDs, and "none", each stand for a PASID of the parent's. `fixed`: requests
 * without a PASID always use that one.
 */
export function sliceDevice(
  driver: IommuDriver,
  pasids: ParentPasids,
  label: string,
  fixed: number | undefined,
): DmaDevice {
  const device = pasids.parent;
  const taken = new Map<Pasid | undefined, Pasid>();
  return {
    label,
    function: device,
    mediated: true,
    declaration: {
      name: "parent",
      routing: "rid+pasid",
      pasids: SLICE_PASIDS,
      noSnoop: false,
      ats: false,
      pri: false,
      translatedOnly: false,
    },
    get capabilities(): DeviceCapabilities | undefined {
      return { ...driver.capabilities(device), maxPasids: SLICE_PASIDS };
    },
    pasidSpace: device + 1,
    slotOf(pasid): HardwareSlot {
      if (pasid !== undefined && pasid >= SLICE_PASIDS) {
        throw new UapiError("EINVAL", "the PASID is larger than the device has");
      }
      if (pasid === undefined && fixed !== undefined) return { device, pasid: makePasid(fixed) };
      const found = taken.get(pasid) ?? pasids.take();
      taken.set(pasid, found);
      return { device, pasid: found };
    },
    releaseSlot(pasid) {
      const found = taken.get(pasid);
      if (found === undefined) return;
      taken.delete(pasid);
      pasids.give(found);
    },
  };
}

/** A device that sends nothing: its driver reaches memory through an access. */
export function softwareDevice(label: string): DmaDevice {
  return {
    label,
    function: undefined,
    mediated: true,
    declaration: {
      name: "software",
      routing: "software",
      pasids: 0,
      noSnoop: false,
      ats: false,
      pri: false,
      translatedOnly: false,
    },
    capabilities: undefined,
    pasidSpace: 0,
    slotOf: () => undefined,
    releaseSlot() {},
  };
}
