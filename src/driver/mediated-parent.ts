/**
 * A driver that cuts its function into slices, each a device of its own to a user.
 *
 * A slice's requests carry the parent's requester ID and a PASID that the parent chose: one for its
 * requests without PASID, and one for each PASID that the user names, which need not be the same
 * number. Nobody but the parent's driver learns it. Slices of one parent draw from one number
 * space; slices with shared work queues from one for all parents, in which a user's PASID has one
 * number everywhere.
 */
import { UapiError } from "../abi/index.js";
import { type Bdf, formatBdf, type Pasid } from "../units/index.js";
import type { DeviceDriver, DmaDevice, DriverDeclaration, HardwareSlot } from "./device-driver.js";
import type { DeviceCapabilities, IommuDriver } from "./driver-port.js";
import { PasidPool, type SharedPasids } from "./pasid-pool.js";
import { checkDeclaration, type DriverServices } from "./plain-device.js";

/** PASIDs that a user of a slice may name: below this. */
export const SLICE_PASIDS = 1024;

export interface SliceOptions {
  /** Its owner, and the numbers that owner's PASIDs have on all devices: shared work queues. */
  readonly shared?: { readonly owner: object; readonly pasids: SharedPasids } | undefined;
}

/** Driver of a function with PASIDs that it lends to slices. */
export class MediatedParent implements DeviceDriver {
  readonly declaration: DriverDeclaration;
  readonly #driver: DriverServices;
  readonly #device: Bdf;
  readonly #pool: PasidPool;
  readonly #slices = new Set<Slice>();

  /**
   * @param limit PASIDs that it lends are below this; what is above is left to shared numbers.
   *   Default all that the device can use.
   * @throws UapiError EOPNOTSUPP the device cannot use PASIDs; ENODEV; EINVAL.
   */
  constructor(
    driver: DriverServices,
    device: Bdf,
    declaration: DriverDeclaration,
    limit: number = Number.POSITIVE_INFINITY,
  ) {
    checkDeclaration(declaration);
    const { maxPasids } = driver.capabilities(device);
    if (maxPasids < 2) {
      throw new UapiError("EOPNOTSUPP", "the device has no PASIDs to lend", {
        evidence: [{ kind: "pasid-limit", at: device, count: maxPasids }],
      });
    }
    this.#driver = driver;
    this.#device = device;
    this.declaration = declaration;
    this.#pool = new PasidPool(1, Math.min(maxPasids, limit));
    if (declaration.ats) {
      driver.configure(device, { ats: true, pageRequests: declaration.pri });
    }
  }

  get devices(): readonly DmaDevice[] {
    return [...this.#slices];
  }

  /** A new slice; its label is the parent's address and this name. */
  createSlice(name: string, options: SliceOptions = {}): DmaDevice {
    const label = `${formatBdf(this.#device)}/${name}`;
    const { declaration } = this;
    const slice = new Slice(this.#driver, this.#device, declaration, this.#pool, label, options);
    this.#slices.add(slice);
    return slice;
  }

  /** @throws UapiError EBUSY while a slot of it is reserved. */
  removeSlice(device: DmaDevice): void {
    const slice = [...this.#slices].find((each) => each === device);
    if (slice === undefined) return;
    if (slice.reserved > 0) {
      throw new UapiError("EBUSY", "the slice is attached", {
        evidence: [{ kind: "slice-in-use", at: this.#device, label: slice.label }],
      });
    }
    this.#slices.delete(slice);
  }

  /**
   * The function may be handed out as a whole.
   * @throws UapiError EBUSY while it has slices.
   */
  checkWhole(): void {
    if (this.#slices.size === 0) return;
    throw new UapiError("EBUSY", "slices of the function are handed out", {
      evidence: [{ kind: "slices", at: this.#device, count: this.#slices.size }],
    });
  }
}

class Slice implements DmaDevice {
  readonly label: string;
  readonly function: Bdf;
  readonly mediated = true;
  readonly declaration: DriverDeclaration;
  readonly pasidSpace: number;
  readonly #driver: IommuDriver;
  readonly #pool: PasidPool;
  readonly #options: SliceOptions;
  readonly #slots = new Map<Pasid | undefined, Pasid>();

  constructor(
    driver: IommuDriver,
    parent: Bdf,
    declaration: DriverDeclaration,
    pool: PasidPool,
    label: string,
    options: SliceOptions,
  ) {
    this.#driver = driver;
    this.function = parent;
    this.declaration = declaration;
    this.#pool = pool;
    this.label = label;
    this.#options = options;
    this.pasidSpace = parent + 1;
  }

  /** Slots that are reserved. */
  get reserved(): number {
    return this.#slots.size;
  }

  get capabilities(): DeviceCapabilities {
    return { ...this.#driver.capabilities(this.function), maxPasids: this.#userPasids };
  }

  slotOf(pasid: Pasid | undefined): HardwareSlot {
    if (pasid !== undefined && pasid >= this.#userPasids) {
      throw new UapiError("EINVAL", "the PASID is larger than the device has", {
        evidence: [{ kind: "pasid-limit", at: this.function, count: this.#userPasids }],
      });
    }
    const known = this.#slots.get(pasid);
    if (known !== undefined) return { device: this.function, pasid: known };
    const made = this.#take(pasid);
    this.#slots.set(pasid, made);
    return { device: this.function, pasid: made };
  }

  releaseSlot(pasid: Pasid | undefined): void {
    const known = this.#slots.get(pasid);
    if (known === undefined) return;
    this.#slots.delete(pasid);
    const { shared } = this.#options;
    if (shared !== undefined && pasid !== undefined) shared.pasids.give(shared.owner, pasid);
    else this.#pool.give(known);
  }

  get #userPasids(): number {
    return this.declaration.routing === "rid" ? 0 : SLICE_PASIDS;
  }

  #take(pasid: Pasid | undefined): Pasid {
    const { shared } = this.#options;
    if (shared === undefined || pasid === undefined) return this.#pool.take();
    const made = shared.pasids.take(shared.owner, pasid);
    const { maxPasids } = this.#driver.capabilities(this.function);
    if (made < maxPasids) return made;
    shared.pasids.give(shared.owner, pasid);
    throw new UapiError("EINVAL", "the shared PASID is too large for the device", {
      evidence: [{ kind: "pasid-limit", at: this.function, count: maxPasids }],
    });
  }
}
