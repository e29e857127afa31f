/**
 * KernelBinding: a driver that does DMA for the kernel, bound to a function.
 *
 * Binding takes the function's group for the kernel and puts the function into the kernel's own
 * address space; while it lasts no user can have a device of the group, and while a user has one it
 * fails. The driver maps what its device is to reach, or uses PASIDs for address spaces of its own.
 */
import { UapiError } from "../abi/index.js";
import type { Bdf, Pasid } from "../units/index.js";
import type { DriverDeclaration } from "./device-driver.js";
import type { DmaOwnership } from "./dma-ownership.js";
import type { PagingDomain, Prot } from "./driver-port.js";
import { checkDeclaration, type DriverServices } from "./plain-device.js";

/** The part of the IOMMU's driver that only the kernel's own drivers see. */
export interface KernelServices extends DriverServices {
  kernelDomain(device: Bdf): PagingDomain | undefined;
}

/** One binding, from probe to release. */
export class KernelBinding {
  readonly device: Bdf;
  readonly declaration: DriverDeclaration;
  readonly #driver: KernelServices;
  readonly #ownership: DmaOwnership;
  readonly #pasids = new Map<Pasid, PagingDomain>();
  #isBound = true;

  /**
   * The probe of the driver.
   * @throws UapiError EBUSY a user owns the group; EINVAL the declaration contradicts itself.
   */
  constructor(
    driver: KernelServices,
    ownership: DmaOwnership,
    device: Bdf,
    declaration: DriverDeclaration,
  ) {
    checkDeclaration(declaration);
    ownership.claimForKernel(device);
    this.device = device;
    this.declaration = declaration;
    this.#driver = driver;
    this.#ownership = ownership;
    driver.attachDefault(device);
    if (declaration.ats) {
      driver.configure(device, { ats: true, pageRequests: declaration.pri });
    }
  }

  /**
   * Lets the device reach frames at `iova`; in an identity domain they are where they are, and
   * nothing is to be done. @throws UapiError as PagingDomain.map.
   */
  map(iova: number, pfn: number, count: number, prot: Prot): void {
    this.#driver.kernelDomain(this.device)?.map(iova, pfn, count, prot);
  }

  unmap(iova: number, count: number): void {
    const domain = this.#driver.kernelDomain(this.device);
    domain?.unmap(iova, count);
    domain?.sync();
  }

  /** @throws UapiError EBUSY the PASID is in use; EINVAL, EOPNOTSUPP as the port's attach. */
  attachPasid(pasid: Pasid, domain: PagingDomain): void {
    if (this.declaration.routing === "rid" || this.declaration.routing === "software") {
      throw new UapiError("EINVAL", "the driver declares requests without PASID only");
    }
    if (this.#driver.attached(this.device, pasid) !== undefined) {
      throw new UapiError("EBUSY", "the PASID of this device has an address space", {
        evidence: [{ kind: "slot-taken", at: this.device, pasid }],
      });
    }
    this.#driver.attach(this.device, pasid, domain);
    this.#pasids.set(pasid, domain);
  }

  detachPasid(pasid: Pasid): void {
    if (this.#pasids.delete(pasid)) this.#driver.detachPasid(this.device, pasid);
  }

  /** The driver is unbound: PASIDs are emptied, the group is free for users. */
  release(): void {
    if (!this.#isBound) return;
    this.#isBound = false;
    for (const pasid of [...this.#pasids.keys()]) this.detachPasid(pasid);
    if (this.declaration.ats) {
      this.#driver.configure(this.device, { ats: false, pageRequests: false });
    }
    this.#ownership.releaseForKernel(this.device);
  }
}
