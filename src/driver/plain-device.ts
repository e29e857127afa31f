/**
 * A driver that hands its function to users as it is: one DmaDevice, whose PASIDs are the
 * hardware's.
 */
import { UapiError } from "../abi/index.js";
import type { PciFunction } from "../pcie/index.js";
import { type Bdf, formatBdf, type Pasid } from "../units/index.js";
import type { DeviceDriver, DmaDevice, DriverDeclaration, HardwareSlot } from "./device-driver.js";
import type { DeviceCapabilities, IommuDriver } from "./driver-port.js";
import type { WantedFeatures } from "./host-driver.js";

/** What drivers of devices need of the IOMMU's driver. */
export interface DriverServices extends IommuDriver {
  configure(device: Bdf, wanted: WantedFeatures): WantedFeatures;
  allowNoSnoop(device: Bdf, allowed: boolean): void;
}

export interface PlainOptions {
  /** Default: the function's address. */
  readonly label?: string | undefined;
  /**
   * The function has PASIDs of its own, usable here or not: then what stands in their way is the
   * IOMMU driver's and the object layer's to say. Default: when they are usable.
   */
  readonly hasPasids?: boolean | undefined;
}

/** Driver of a plain PCI function, with or without PASIDs and shared work queues. */
export class PlainDriver implements DeviceDriver {
  readonly declaration: DriverDeclaration;
  readonly devices: readonly DmaDevice[];
  readonly #driver: DriverServices;
  readonly #device: Bdf;

  /**
   * @throws UapiError ENODEV without an IOMMU; EINVAL the declaration contradicts itself.
   */
  constructor(
    driver: DriverServices,
    device: Bdf,
    declaration: DriverDeclaration,
    options: PlainOptions = {},
  ) {
    checkDeclaration(declaration);
    this.#driver = driver;
    this.#device = device;
    this.declaration = declaration;
    this.devices = [new PlainDevice(driver, device, declaration, options)];
    if (declaration.ats) driver.configure(device, featuresOf(declaration));
    if (!declaration.noSnoop) driver.allowNoSnoop(device, false);
  }

  /** The driver lets go of the function: what it had switched on is switched off. */
  release(): void {
    if (this.declaration.ats) {
      this.#driver.configure(this.#device, { ats: false, pageRequests: false });
    }
    if (!this.declaration.noSnoop) this.#driver.allowNoSnoop(this.#device, true);
  }
}

/**
 * The device alone: nothing is switched on or off in it.
 * @throws UapiError ENODEV without an IOMMU.
 */
export function plainDevice(
  driver: IommuDriver,
  device: Bdf,
  declaration: DriverDeclaration,
  options: PlainOptions = {},
): DmaDevice {
  return new PlainDevice(driver, device, declaration, options);
}

/** The function has PASIDs; a VF's are its PF's (PCIe 6 § 9.3.7.14). */
export function hasPasidCapability(fn: PciFunction | undefined): boolean {
  const { pasid } = fn?.physfn ?? fn ?? {};
  return pasid !== undefined && pasid !== null;
}

/** @throws UapiError EINVAL. */
export function checkDeclaration(declaration: DriverDeclaration): void {
  const { routing, pasids, ats, pri, translatedOnly } = declaration;
  const hasPasids = routing === "rid+pasid" || routing === "rid+pasid+shared-queue";
  const refuse = (problem: string): never => {
    throw new UapiError("EINVAL", problem, {
      evidence: [{ kind: "declaration", driver: declaration.name, routing }],
    });
  };
  if (!hasPasids && pasids !== 0) refuse("a driver without PASIDs declares that it wants some");
  if (pri && !ats) refuse("page requests need translation requests");
  if (translatedOnly && !ats) refuse("translated requests only, but no translation requests");
}

function featuresOf(declaration: DriverDeclaration): WantedFeatures {
  return { ats: declaration.ats, pageRequests: declaration.pri };
}

class PlainDevice implements DmaDevice {
  readonly label: string;
  readonly function: Bdf;
  readonly mediated = false;
  readonly declaration: DriverDeclaration;
  readonly #driver: IommuDriver;
  readonly #hasPasids: boolean | undefined;

  constructor(
    driver: IommuDriver,
    device: Bdf,
    declaration: DriverDeclaration,
    { label = formatBdf(device), hasPasids }: PlainOptions,
  ) {
    driver.instanceOf(device);
    this.#hasPasids = hasPasids;
    this.#driver = driver;
    this.function = device;
    this.declaration = declaration;
    this.label = label;
  }

  get capabilities(): DeviceCapabilities {
    const able = this.#driver.capabilities(this.function);
    return this.declaration.routing === "rid" ? { ...able, maxPasids: 0 } : able;
  }

  /** The function's own. */
  get pasidSpace(): number {
    return this.function + 1;
  }

  slotOf(pasid: Pasid | undefined): HardwareSlot {
    if (pasid === undefined) return { device: this.function, pasid: undefined };
    if (this.declaration.routing === "rid") {
      throw new UapiError("EINVAL", "the device's driver declares requests without PASID only", {
        evidence: [{ kind: "declaration", driver: this.declaration.name, at: this.function }],
      });
    }
    const { maxPasids } = this.capabilities;
    const evidence = [{ kind: "pasid-limit", at: this.function, count: maxPasids }];
    if (this.#hasPasids === false || (maxPasids === 0 && this.#hasPasids === undefined)) {
      throw new UapiError("EOPNOTSUPP", "the device has no PASIDs that it can use", { evidence });
    }
    if (maxPasids > 0 && pasid >= maxPasids) {
      throw new UapiError("EINVAL", "the PASID is too large for the device", { evidence });
    }
    return { device: this.function, pasid };
  }

  /** The slot is the user's PASID itself: nothing is reserved. */
  releaseSlot(): void {}
}
