/**
 * MSI and MSI-X of a device that a user has: the kernel gives out vectors and programs the device,
 * the user names an eventfd for each. Linux vfio_pci_intrs.c: vfio_msi_*().
 */
import { UapiError } from "../abi/index.js";
import {
  type AllocatedInterrupts,
  type DeviceMessage,
  isInterruptShortage,
} from "../driver/index.js";
import type { EventFd } from "../files/index.js";
import { CapabilityId, findStandard, type PciFunction } from "../pcie/index.js";
import type { VfioPlatform } from "./platform-ports.js";
import type { TablePlace } from "./regions.js";

const COMMAND = 0x04;
const INTX_DISABLE = 0x400;
const ENTRY = 16;
const MSIX_ENABLE = 0x8000;

/** Vectors that are switched on; see the head of the file. */
export class MessageInterrupts {
  readonly isMsix: boolean;
  readonly #platform: VfioPlatform;
  readonly #fn: PciFunction;
  readonly #table: TablePlace | undefined;
  readonly #at: number;
  readonly #eventFds = new Map<number, EventFd>();
  /** By vector; MSI has one for all of them, under 0. */
  readonly #given = new Map<number, AllocatedInterrupts>();
  /** Vectors of MSI. */
  #msiCount = 0;

  private constructor(platform: VfioPlatform, fn: PciFunction, table: TablePlace | undefined) {
    this.#platform = platform;
    this.#fn = fn;
    this.#table = table;
    this.isMsix = table !== undefined;
    const id = this.isMsix ? CapabilityId.MsiX : CapabilityId.Msi;
    this.#at = findStandard(fn.capabilities, id) ?? 0;
  }

  /**
   * Switches `count` vectors on.
   * @param table the MSI-X table; undefined for MSI.
   * @returns how many there are when there are fewer: then nothing was switched on.
   * @throws UapiError ENOSPC there are none.
   */
  static enable(
    platform: VfioPlatform,
    fn: PciFunction,
    table: TablePlace | undefined,
    count: number,
  ): MessageInterrupts | number {
    const made = new MessageInterrupts(platform, fn, table);
    const there = made.isMsix ? made.#takeEntries(count) : made.#takeMsi(count);
    if (there < count) {
      made.close();
      if (there > 0) return there;
      throw new UapiError("ENOSPC", "no interrupt vector is free", {
        cite: "Linux pci_alloc_irq_vectors()",
      });
    }
    made.program();
    return made;
  }

  /** Vectors of MSI as log2, rounded up; 0 for MSI-X. */
  get queueLog2(): number {
    return this.isMsix ? 0 : Math.ceil(Math.log2(this.#msiCount));
  }

  /**
   * Gives a vector an eventfd, or takes it away. A vector of MSI-X that was not switched on is now.
   * @throws UapiError EINVAL a vector of MSI that is not there; ENOSPC.
   */
  setVector(vector: number, eventFd: EventFd | undefined): void {
    const old = this.#eventFds.get(vector);
    this.#eventFds.delete(vector);
    old?.drop();
    if (eventFd !== undefined && !this.#has(vector)) this.#add(vector);
    if (eventFd !== undefined) this.#eventFds.set(vector, eventFd.keep());
    if (this.isMsix) this.#writeEntry(vector);
  }

  /** Signals as if the device had sent it. */
  inject(vector: number): void {
    this.#eventFds.get(vector)?.signal();
  }

  /** Writes everything into the device: at the start, and after it was reset. */
  program(): void {
    if (this.isMsix) {
      for (const vector of this.#given.keys()) this.#writeEntry(vector);
      this.#writeControl(MSIX_ENABLE, MSIX_ENABLE);
    } else this.#programMsi();
    this.#silencePin(true);
  }

  close(): void {
    this.#writeControl(this.isMsix ? MSIX_ENABLE : 1, 0);
    this.#silencePin(false);
    for (const eventFd of this.#eventFds.values()) eventFd.drop();
    this.#eventFds.clear();
    for (const given of this.#given.values()) given.release();
    this.#given.clear();
  }

  #has(vector: number): boolean {
    return this.isMsix ? this.#given.has(vector) : vector < this.#msiCount;
  }

  #add(vector: number): void {
    if (!this.isMsix) {
      throw new UapiError("EINVAL", `vector ${vector} was not switched on`, {
        cite: "Linux vfio_msi_alloc_irq(): pci_irq_vector()",
      });
    }
    const { interrupts } = this.#platform;
    const given = interrupts.allocate(this.#fn.bdf, 1, () => this.inject(vector));
    this.#given.set(vector, given);
  }

  /** @returns how many could be had. */
  #takeEntries(count: number): number {
    for (let vector = 0; vector < count; vector++) {
      try {
        this.#add(vector);
      } catch (error) {
        if (!isInterruptShortage(error)) throw error;
        return vector;
      }
    }
    return count;
  }

  /** Vectors of MSI come in powers of two, all at once. */
  #takeMsi(count: number): number {
    const { interrupts } = this.#platform;
    const limit = interrupts.msiLimit(this.#fn.bdf);
    if (count > limit) return limit;
    let size = 1;
    while (size < count) size *= 2;
    try {
      this.#given.set(
        0,
        interrupts.allocate(this.#fn.bdf, size, (vector) => this.inject(vector)),
      );
    } catch (error) {
      if (!isInterruptShortage(error)) throw error;
      return 0;
    }
    this.#msiCount = count;
    return count;
  }

  #programMsi(): void {
    const message = this.#given.get(0)?.message;
    if (message === undefined) return;
    const { machine } = this.#platform;
    const { bdf } = this.#fn;
    const at = this.#at;
    const isWide = (machine.configRead(bdf, at + 2, 2) & 0x80) !== 0;
    machine.configWrite(bdf, at + 4, 4, Number(message.address & 0xffff_ffffn));
    if (isWide) machine.configWrite(bdf, at + 8, 4, Number(message.address >> 32n));
    machine.configWrite(bdf, at + (isWide ? 0x0c : 8), 2, message.data);
    this.#writeControl(0x71, 1 | (this.queueLog2 << 4));
  }

  /** Masked while no eventfd is named. PCIe 6 § 7.7.2.2. */
  #writeEntry(vector: number): void {
    const table = this.#table;
    const message = this.#given.get(vector)?.message;
    if (table === undefined || message === undefined) return;
    const bytes = entryOf(message, !this.#eventFds.has(vector));
    const endpoint = this.#platform.machine.endpoint(this.#fn.bdf);
    endpoint?.writeBar(table.bar, table.offset + vector * ENTRY, bytes);
  }

  #writeControl(mask: number, value: number): void {
    const { machine } = this.#platform;
    const { bdf } = this.#fn;
    const old = machine.configRead(bdf, this.#at + 2, 2);
    machine.configWrite(bdf, this.#at + 2, 2, (old & ~mask) | value);
  }

  /** A device that sends messages does not use its pin as well. */
  #silencePin(silent: boolean): void {
    const { machine } = this.#platform;
    const { bdf } = this.#fn;
    const old = machine.configRead(bdf, COMMAND, 2);
    machine.configWrite(bdf, COMMAND, 2, silent ? old | INTX_DISABLE : old & ~INTX_DISABLE);
  }
}

function entryOf({ address, data }: DeviceMessage, isMasked: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(ENTRY));
  view.setBigUint64(0, address, true);
  view.setUint32(8, data, true);
  view.setUint32(12, isMasked ? 1 : 0, true);
  return new Uint8Array(view.buffer);
}
