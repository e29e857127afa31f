/** What an open file of a device may do: set by binding, or by opening through the group. */
import { UapiError } from "../abi/index.js";
import type { OpenFile } from "../files/index.js";
import type { Iommufd, IommufdDevice } from "../iommufd/index.js";
import type { DeviceTable } from "./device-table.js";
import type { PciDevice } from "./pci-device.js";

/** See the head of the file. */
export interface DeviceAccess {
  readonly table: DeviceTable;
  readonly device: PciDevice;
  /** The context that its object belongs to. */
  readonly iommufd: Iommufd;
  readonly object: IommufdDevice;
  readonly byGroup: boolean;
  /** Lets the device go. */
  readonly close: () => void;
}

/** Finds the devices behind the descriptors of groups: for resets that take others along. */
export interface GroupFile extends OpenFile {
  readonly groupId: number;
}

/** @throws UapiError ENOTTY, always. */
export function noSuchCall(command: number): never {
  throw new UapiError("ENOTTY", "the file has no such call", {
    evidence: [{ kind: "ioctl-unknown", command: command >>> 0 }],
    cite: "Linux vfio_device_fops_unl_ioctl()",
  });
}
