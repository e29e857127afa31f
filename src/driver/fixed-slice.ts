/** A slice of a function with one PASID that never changes: what a device's firmware set aside. */
import { UapiError } from "../abi/index.js";
import { type Bdf, makePasid } from "../units/index.js";
import type { DmaDevice, DriverDeclaration, HardwareSlot } from "./device-driver.js";
import type { DeviceCapabilities, IommuDriver } from "./driver-port.js";

/**
 * A slice whose requests without PASID always use one PASID of the parent's, fixed when it was
 * made. It names no PASIDs of its own.
 */
export function fixedSlice(
  driver: IommuDriver,
  parent: Bdf,
  label: string,
  fixed: number,
  parentDeclaration: DriverDeclaration,
): DmaDevice {
  const own = makePasid(fixed);
  return {
    label,
    function: parent,
    mediated: true,
    declaration: { ...parentDeclaration, routing: "rid", pasids: 0 },
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
