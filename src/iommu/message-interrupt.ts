/** An MSI that names its vector and destination itself: VT-d 5.0 § 5.1.2.1, PCIe 6 § 6.1.4. */
import { getField, MSI_COMPATIBILITY_ADDRESS, MSI_COMPATIBILITY_DATA } from "../formats/index.js";
import {
  DmaAccess,
  DmaAddressType,
  type DmaRequest,
  type InterruptAnswer,
  type InterruptRequest,
} from "./translation.js";

/** Delivered as it says, by whomever it comes from. */
export function messageInterrupt(request: InterruptRequest): InterruptAnswer {
  const address = [request.address];
  const data = [request.data];
  const A = MSI_COMPATIBILITY_ADDRESS;
  const D = MSI_COMPATIBILITY_DATA;
  return {
    kind: "delivered",
    remapped: false,
    interrupt: {
      vector: getField(data, 0, D.vector),
      destination: getField(address, 0, A.destination),
      destinationMode: getField(address, 0, A.destinationMode) === 0 ? "physical" : "logical",
      deliveryMode: getField(data, 0, D.deliveryMode),
      trigger: getField(data, 0, D.triggerMode) === 0 ? "edge" : "level",
      index: undefined,
    },
  };
}

/**
 * A request to the interrupt range is an interrupt only as an untranslated write, without PASID, of
 * one aligned doubleword (VT-d 5.0 § 3.14).
 */
export function isInterruptWrite(request: DmaRequest): boolean {
  return (
    request.access === DmaAccess.write &&
    request.addressType === DmaAddressType.untranslated &&
    !request.hasPasid &&
    request.length === 4 &&
    (request.lo & 3) === 0
  );
}
