/** vDEVICE: the number of a device in a virtual machine's IOMMU. Linux viommu.c. */
import type { IommufdDevice, VirtualDevice } from "./device.js";
import type { Viommu } from "./viommu.js";

/** A device in a virtual IOMMU. */
export class Vdevice implements VirtualDevice {
  readonly kind = "vdevice";
  readonly id: number;
  readonly viommu: Viommu;
  readonly device: IommufdDevice;
  readonly virtualId: bigint;
  users = 0;

  constructor(id: number, viommu: Viommu, device: IommufdDevice, virtualId: bigint) {
    this.id = id;
    this.viommu = viommu;
    this.device = device;
    this.virtualId = virtualId;
    viommu.virtual.addDevice(device.function, virtualId);
    viommu.users++;
    viommu.vdevices.set(virtualId, this);
    device.vdevice = this;
  }

  destroy(): void {
    this.viommu.virtual.removeDevice(this.device.function, this.virtualId);
    this.viommu.vdevices.delete(this.virtualId);
    this.viommu.users--;
    this.device.vdevice = undefined;
  }
}
