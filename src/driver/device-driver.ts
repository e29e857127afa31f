/**
 * DeviceDriver and DmaDevice: the driver's say in how its device is configured.
 *
 * Only the driver that operates a device knows what the device will emit. It says so once, as a
 * declaration, and hands out a DmaDevice: the thing that is bound to a user's context. A DmaDevice
 * turns "no PASID" and "the user's PASID n" into slots of hardware, or into none:
 *
 *   plain PCI function           (function), (function, n)
 *   hardware-backed mediated     (parent, own PASID), (parent, PASID that stands for n)
 *   software mediated            no slot: the driver does the DMA through an access object
 *
 * So one entry point attaches them all. Which PASID really stands for the user's n is never told.
 */
import type { Bdf, Pasid } from "../units/index.js";
import type { DeviceCapabilities } from "./driver-port.js";

/** What the device emits. `software`: nothing, its driver does the DMA. */
export type RoutingMode = "rid" | "rid+pasid" | "rid+pasid+shared-queue" | "software";

export interface DriverDeclaration {
  /** Name of the driver: `vfio-pci`. */
  readonly name: string;
  readonly routing: RoutingMode;
  /** How many PASIDs it wants to use at once; 0 with routing `rid` and `software`. */
  readonly pasids: number;
  /** The device may send requests that ask not to be snooped; else that is switched off in it. */
  readonly noSnoop: boolean;
  /** The device is to use translation requests, and page requests. */
  readonly ats: boolean;
  readonly pri: boolean;
  /**
   * With a PASID the device issues only translation requests and translated requests; a promise of
   * the driver's, not checked by hardware.
   */
  readonly translatedOnly: boolean;
}

/** Where a domain is attached: a function's requests without PASID, or those with one. */
export interface HardwareSlot {
  readonly device: Bdf;
  readonly pasid: Pasid | undefined;
}

/** A thing that a user's context can bind and attach. */
export interface DmaDevice {
  /** For messages: `0000:03:00.0`, `0000:03:00.0/m1`. */
  readonly label: string;
  /** The function whose requester ID its requests carry; undefined when it sends none. */
  readonly function: Bdf | undefined;
  /** A device of its own to the user although it shares its parent's requester ID. */
  readonly mediated: boolean;
  readonly declaration: DriverDeclaration;
  /** Undefined when it sends no requests. `maxPasids` counts the PASIDs that a user may name. */
  readonly capabilities: DeviceCapabilities | undefined;
  /**
   * Names the number space of the PASIDs in hardware: equal for devices whose PASIDs come from one
   * space; 0 for devices without slots.
   */
  readonly pasidSpace: number;
  /**
   * The slot for the user's PASID, or for requests without one. Undefined when the device sends no
   * requests. The slot stays reserved until {@link releaseSlot}; asking again gives the same one.
   * @throws UapiError EINVAL the PASID is too large or the routing mode has none; EOPNOTSUPP the
   *   device has no PASIDs; ENOSPC the parent has no PASID left.
   */
  slotOf(pasid: Pasid | undefined): HardwareSlot | undefined;
  releaseSlot(pasid: Pasid | undefined): void;
}

/** A driver bound to one function. */
export interface DeviceDriver {
  readonly declaration: DriverDeclaration;
  /** The devices it makes of the function: one, or a parent's slices. */
  readonly devices: readonly DmaDevice[];
}
