/**
 * A device without DMA of its own: its driver reads, writes and pins what the user's address space
 * maps, through an access object. Nothing is installed in any IOMMU.
 */
import type { DeviceDriver, DmaDevice, DriverDeclaration, HardwareSlot } from "./device-driver.js";

/** Driver of a mediated device that software does the DMA for. */
export class SoftwareDriver implements DeviceDriver {
  readonly declaration: DriverDeclaration;
  readonly devices: readonly DmaDevice[];

  constructor(name: string, label: string) {
    this.declaration = {
      name,
      routing: "software",
      pasids: 0,
      noSnoop: false,
      ats: false,
      pri: false,
      translatedOnly: false,
    };
    this.devices = [new SoftwareDevice(label, this.declaration)];
  }
}

class SoftwareDevice implements DmaDevice {
  readonly label: string;
  readonly function = undefined;
  readonly mediated = true;
  readonly declaration: DriverDeclaration;
  readonly capabilities = undefined;
  readonly pasidSpace = 0;

  constructor(label: string, declaration: DriverDeclaration) {
    this.label = label;
    this.declaration = declaration;
  }

  slotOf(): HardwareSlot | undefined {
    return undefined;
  }

  releaseSlot(): void {}
}
