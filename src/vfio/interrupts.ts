/**
 * Interrupts of a device: which kind is in use, and what a request does. Linux
 * vfio_pci_set_irqs_ioctl().
 *
 * One of INTx, MSI and MSI-X is in use at a time. Errors and requests to let go of the device are
 * eventfds of their own.
 */
import { UapiError } from "../abi/index.js";
import type { Call, EventFd } from "../files/index.js";
import { CapabilityId, findStandard, type PciFunction } from "../pcie/index.js";
import { eventFdOf, Irq, IrqInfo, type IrqRequest, IrqSet } from "./interrupt-set.js";
import { MessageInterrupts } from "./message-interrupts.js";
import { PinInterrupt } from "./pin-interrupt.js";
import type { VfioPlatform } from "./platform-ports.js";
import type { TablePlace } from "./regions.js";

/** What the interrupts of a device ask of it. */
export interface InterruptHost {
  readonly platform: VfioPlatform;
  readonly fn: PciFunction;
  readonly table: TablePlace | undefined;
  /** The pin that the user sees, 0 for none. */
  pin(): number;
  isPinDisabled(): boolean;
}

const CITE = { cite: "Linux vfio_pci_set_irqs_ioctl()" };

/** See the head of the file. */
export class DeviceInterrupts {
  readonly #host: InterruptHost;
  #pin: PinInterrupt | undefined;
  #messages: MessageInterrupts | undefined;
  readonly #single = new Map<number, EventFd>();
  #isPinUp = false;

  constructor(host: InterruptHost) {
    this.#host = host;
  }

  /** Interrupts of an index. */
  countOf(index: number): number {
    const { fn, pin, table } = this.#host;
    const at = findStandard(fn.capabilities, CapabilityId.Msi) ?? undefined;
    switch (index) {
      case Irq.intx:
        return pin() === 0 ? 0 : 1;
      case Irq.msi:
        return at === undefined ? 0 : 1 << ((fn.config.u16(at + 2) >>> 1) & 7);
      case Irq.msix:
        return table === undefined ? 0 : table.bytes / 16;
      case Irq.error:
        return fn.isPcie === true ? 1 : 0;
      default:
        return index === Irq.request ? 1 : 0;
    }
  }

  /** VFIO_IRQ_INFO_* of an index that the device has. */
  infoOf(index: number): number {
    if (index === Irq.intx) return IrqInfo.eventfd | IrqInfo.maskable | IrqInfo.automasked;
    return index === Irq.msix ? IrqInfo.eventfd : IrqInfo.eventfd | IrqInfo.noResize;
  }

  /** Vectors of MSI that are on (log2); undefined when interrupts do not come by MSI. */
  get msiQueue(): number | undefined {
    return this.#messages?.isMsix === false ? this.#messages.queueLog2 : undefined;
  }

  /**
   * @returns 0, or how many vectors there are when fewer than asked for.
   * @throws UapiError EINVAL, ENOTTY, EBADF, ENOSPC, ENODEV.
   */
  set(call: Call, request: IrqRequest): number {
    const { index, action } = request;
    if (action === IrqSet.trigger) {
      if (index === Irq.intx) return this.#triggerPin(call, request);
      if (index === Irq.msi || index === Irq.msix) return this.#triggerMessage(call, request);
      return this.#triggerSingle(call, request);
    }
    if (index === Irq.intx && action === IrqSet.mask) return this.#maskPin(request);
    if (index === Irq.intx && action === IrqSet.unmask) return this.#unmaskPin(call, request);
    throw new UapiError("ENOTTY", "this kind of interrupt has no such action", CITE);
  }

  /** The pin of the device rose or fell. */
  pinChanged(up: boolean): void {
    this.#isPinUp = up;
    this.#pin?.setLevel(up);
  }

  pinDisabled(disabled: boolean): void {
    this.#pin?.setDisabled(disabled);
  }

  /** The device was reset; its vectors are written again. */
  restore(): void {
    this.#messages?.program();
  }

  /** Signals an eventfd that stands alone: {@link Irq.error}, {@link Irq.request}. */
  signal(index: number): void {
    this.#single.get(index)?.signal();
  }

  /** Everything is off. */
  close(): void {
    this.#closePin();
    this.#closeMessages();
    for (const eventFd of this.#single.values()) eventFd.drop();
    this.#single.clear();
  }

  #closePin(): void {
    this.#pin?.close();
    this.#pin = undefined;
  }

  #closeMessages(): void {
    this.#messages?.close();
    this.#messages = undefined;
  }

  #triggerPin(call: Call, { start, count, data }: IrqRequest): number {
    const pin = this.#pin;
    if (pin !== undefined && count === 0 && data.kind === "none") {
      this.#closePin();
      return 0;
    }
    if (this.#messages !== undefined) return otherKind();
    checkOne(start, count);
    if (data.kind === "eventfd") {
      const [fd = -1] = data.fds;
      const eventFd = fd < 0 ? undefined : eventFdOf(call, fd);
      if (pin === undefined) {
        this.#pin = new PinInterrupt(eventFd, this.#host.isPinDisabled(), this.#isPinUp);
      } else pin.setTrigger(eventFd);
      return 0;
    }
    if (pin === undefined) return notEnabled();
    if (data.kind === "none" || data.on[0] === true) pin.inject();
    return 0;
  }

  #maskPin({ start, count, data }: IrqRequest): number {
    const pin = this.#pin ?? notEnabled();
    checkOne(start, count);
    if (data.kind === "eventfd") {
      throw new UapiError("ENOTTY", "a pin is not masked through an eventfd", {
        cite: "Linux vfio_pci_set_intx_mask()",
      });
    }
    if (data.kind === "none" || data.on[0] === true) pin.mask();
    return 0;
  }

  #unmaskPin(call: Call, { start, count, data }: IrqRequest): number {
    const pin = this.#pin ?? notEnabled();
    checkOne(start, count);
    if (data.kind === "eventfd") {
      const [fd = -1] = data.fds;
      pin.setUnmask(fd < 0 ? undefined : eventFdOf(call, fd));
    } else if (data.kind === "none" || data.on[0] === true) pin.unmask();
    return 0;
  }

  #triggerMessage(call: Call, request: IrqRequest): number {
    const { index, start, count, data } = request;
    const messages = this.#messages;
    const isThis = messages?.isMsix === (index === Irq.msix);
    if (isThis && count === 0 && data.kind === "none") {
      this.#closeMessages();
      return 0;
    }
    if (this.#pin !== undefined || (messages !== undefined && !isThis)) return otherKind();
    if (data.kind === "eventfd") return this.#setVectors(call, request, data.fds);
    if (messages === undefined) return notEnabled();
    for (let i = 0; i < count; i++) {
      if (data.kind === "none" || data.on[i] === true) messages.inject(start + i);
    }
    return 0;
  }

  #setVectors(call: Call, request: IrqRequest, fds: readonly number[]): number {
    const { index, start } = request;
    const known = this.#messages;
    if (known !== undefined) {
      setBlock(call, known, start, fds);
      return 0;
    }
    const { platform, fn, table } = this.#host;
    const count = start + fds.length;
    if (count === 0) throw new UapiError("EINVAL", "no vector is named", CITE);
    const made = MessageInterrupts.enable(
      platform,
      fn,
      index === Irq.msix ? table : undefined,
      count,
    );
    if (typeof made === "number") return made;
    try {
      setBlock(call, made, start, fds);
    } catch (error) {
      made.close();
      throw error;
    }
    this.#messages = made;
    return 0;
  }

  #triggerSingle(call: Call, { index, start, count, data }: IrqRequest): number {
    if (start !== 0 || count > 1) {
      throw new UapiError("EINVAL", "there is one interrupt of this kind", CITE);
    }
    const known = this.#single.get(index);
    if (data.kind === "none") {
      if (known === undefined) return notEnabled();
      if (count > 0) known.signal();
      else this.#dropSingle(index);
      return 0;
    }
    if (count === 0) throw new UapiError("EINVAL", "no interrupt is named", CITE);
    if (data.kind === "bool") {
      if (data.on[0] === true) known?.signal();
      return 0;
    }
    const [fd = -1] = data.fds;
    if (fd < -1) return 0;
    const eventFd = fd === -1 ? undefined : eventFdOf(call, fd).keep();
    this.#dropSingle(index);
    if (eventFd !== undefined) this.#single.set(index, eventFd);
    return 0;
  }

  #dropSingle(index: number): void {
    this.#single.get(index)?.drop();
    this.#single.delete(index);
  }
}

/** All, or none: what was named before a bad descriptor is taken away again. */
function setBlock(
  call: Call,
  messages: MessageInterrupts,
  start: number,
  fds: readonly number[],
): void {
  fds.forEach((fd, i) => {
    try {
      messages.setVector(start + i, fd < 0 ? undefined : eventFdOf(call, fd));
    } catch (error) {
      for (let done = 0; done <= i; done++) messages.setVector(start + done, undefined);
      throw error;
    }
  });
}

function checkOne(start: number, count: number): void {
  if (start === 0 && count === 1) return;
  throw new UapiError("EINVAL", "a device has one pin", CITE);
}

function otherKind(): never {
  throw new UapiError("EINVAL", "interrupts come by another kind now", CITE);
}

function notEnabled(): never {
  throw new UapiError("EINVAL", "this kind of interrupt is not switched on", CITE);
}
