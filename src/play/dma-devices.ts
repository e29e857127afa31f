/**
 * Two kinds of devices as their drivers hand them out, beside those of `driver`: a function that
 * tells "no PASIDs at all" from "PASIDs that cannot be used here", as the calls of the kernel do
 * (EOPNOTSUPP, EINVAL); and a slice with one fixed PASID.
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
import { type Bdf, makePasid } from "../units/index.js";

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

/**
 * A slice whose requests without PASID always use one PASID of the parent's, fixed when it was
 * made. It names no PASIDs of its own.
 */
export function fixedSlice(
  driver: IommuDriver,
  parent: Bdf,
  label: string,
  fixed: number,
): DmaDevice {
  const own = makePasid(fixed);
  return {
    label,
    function: parent,
    mediated: true,
    declaration: { ...SLICES, routing: "rid", pasids: 0 },
    get capabilities(): DeviceCapabilities | undefined {
      return { ...driver.capabilities(parent), maxPasids: 0 };
    },
    pasidSpace: parent + 1,
    slotOf(pasid): HardwareSlot {
      if (pasid === undefined) return { device: parent, pasid: own };
      throw new UapiError("EOPNOTSUPP", "the device has no PASIDs");
    },
    releaseSlot() {},
  };
}

/** What the driver of a function with slices declares. */
export const SLICES: DriverDeclaration = {
  name: "parent",
  routing: "rid+pasid",
  pasids: 1024,
  noSnoop: false,
  ats: false,
  pri: false,
  translatedOnly: false,
};
