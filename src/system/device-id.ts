/** Ids by which drivers of PCI devices take functions; Linux struct pci_device_id. */
import type { FunctionIds } from "../pcie/index.js";

/** One row of a driver's table; undefined matches anything. */
export interface DeviceId {
  readonly vendor: number;
  readonly device: number;
  readonly subVendor: number | undefined;
  readonly subDevice: number | undefined;
  /** Class and the bits of it that count. */
  readonly classCode: number;
  readonly classMask: number;
}

/** Linux pci_match_one_device(). */
export function matchesId(id: DeviceId, ids: FunctionIds): boolean {
  return (
    id.vendor === ids.vendor &&
    id.device === ids.device &&
    (id.subVendor === undefined || id.subVendor === (ids.subVendor ?? 0)) &&
    (id.subDevice === undefined || id.subDevice === (ids.subDevice ?? 0)) &&
    ((id.classCode ^ (ids.classCode ?? 0)) & id.classMask) === 0
  );
}
