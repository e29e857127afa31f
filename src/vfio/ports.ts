/** What the VFIO objects need from outside, beyond what the objects of /dev/iommu do. */
import type { DmaDevice } from "../driver/index.js";
import type { IommufdSystem } from "../iommufd/index.js";
import type { Bdf } from "../units/index.js";

/** One machine, as VFIO sees it. */
export interface VfioSystem extends IommufdSystem {
  /** A device that a VFIO driver has, as that driver hands it out; undefined for any other. */
  vfioDevice(device: Bdf): DmaDevice | undefined;
}
