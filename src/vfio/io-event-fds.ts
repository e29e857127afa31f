/**
 * VFIO_DEVICE_IOEVENTFD: eventfds that write to a register when they are signalled. Linux
 * vfio_pci_ioeventfd().
 */
import { UapiError } from "../abi/index.js";
import type { EventFd } from "../files/index.js";
import type { DeviceRegions } from "./regions.js";
import { Region } from "./resources.js";

export const IO_EVENT_FDS_MAX = 1000;

/** A write that an eventfd stands for. */
export interface IoEvent {
  readonly bar: number;
  readonly offset: bigint;
  /** 1, 2, 4 or 8 bytes. */
  readonly width: number;
  readonly data: bigint;
}

interface Armed extends IoEvent {
  readonly eventFd: EventFd;
  readonly stop: () => void;
}

const CITE = { cite: "Linux vfio_pci_ioeventfd()" };

/** Those of one device. */
export class IoEventFds {
  readonly #regions: DeviceRegions;
  #armed: Armed[] = [];

  constructor(regions: DeviceRegions) {
    this.#regions = regions;
  }

  /**
   * @param eventFdOf called when the place is fine; undefined takes the write away.
   * @throws UapiError EINVAL the place; EEXIST, ENODEV, ENOSPC, or what `eventFdOf` throws.
   */
  set(event: IoEvent, eventFdOf: (() => EventFd) | undefined): void {
    this.#check(event);
    const known = this.#armed.find((armed) => isSame(armed, event));
    if (known !== undefined) {
      if (eventFdOf !== undefined) {
        throw new UapiError("EEXIST", "an eventfd stands for this write already", CITE);
      }
      this.#armed = this.#armed.filter((armed) => armed !== known);
      disarm(known);
      return;
    }
    if (eventFdOf === undefined) {
      throw new UapiError("ENODEV", "no eventfd stands for this write", CITE);
    }
    if (this.#armed.length >= IO_EVENT_FDS_MAX) {
      throw new UapiError("ENOSPC", `a device has at most ${IO_EVENT_FDS_MAX} of them`, CITE);
    }
    const eventFd = eventFdOf().keep();
    const bytes = bytesOf(event.data, event.width);
    const stop = eventFd.listen(() => this.#write(event, bytes));
    this.#armed.push({ ...event, eventFd, stop });
  }

  close(): void {
    for (const armed of this.#armed) disarm(armed);
    this.#armed = [];
  }

  #check({ bar, offset, width }: IoEvent): void {
    if (bar >= Region.rom) throw new UapiError("EINVAL", "only BARs can be written so", CITE);
    if (offset + BigInt(width) > this.#regions.sizeOf(bar)) {
      throw new UapiError("EINVAL", "the write goes beyond the end of the BAR", CITE);
    }
    const { table } = this.#regions;
    const end = Number(offset) + width;
    if (table?.bar === bar && end > table.offset && offset < table.offset + table.bytes) {
      throw new UapiError("EINVAL", "the MSI-X table is the kernel's", CITE);
    }
    if (width === 8) throw new UapiError("EINVAL", "a write has at most 4 bytes", CITE);
  }

  /** Nothing hears of a write that the device does not take. */
  #write({ bar, offset }: IoEvent, bytes: Uint8Array): void {
    try {
      this.#regions.write(bar, offset, bytes);
    } catch (error) {
      if (!UapiError.is(error)) throw error;
    }
  }
}

function disarm({ eventFd, stop }: Armed): void {
  stop();
  eventFd.drop();
}

function isSame(a: IoEvent, b: IoEvent): boolean {
  return a.bar === b.bar && a.offset === b.offset && a.width === b.width && a.data === b.data;
}

function bytesOf(data: bigint, width: number): Uint8Array {
  return Uint8Array.from({ length: width }, (_, i) => Number((data >> BigInt(8 * i)) & 0xffn));
}
