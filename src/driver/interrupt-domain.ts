/**
 * InterruptDomain: interrupts of devices as the kernel hands them out, and where they end.
 *
 * Every interrupt gets a (processor, vector) pair of its own, and where a unit remaps interrupts an
 * entry of its table that only this device may use. What a device sends is therefore recognised by
 * what arrives at the processors, never by what the device says of itself: a message that was
 * forged ends nowhere where interrupts are remapped, and wherever it points to where they are not.
 */
import { UapiError } from "../abi/index.js";
import type { DeliveredInterrupt } from "../machine/index.js";
import { type Bdf, busOf, type Rid } from "../units/index.js";
import type { InterruptSource, InterruptTable, InterruptTarget } from "./vtd/interrupt-table.js";

/** What an interrupt domain needs of the IOMMUs' driver. */
export interface InterruptServices {
  interruptTableOf(device: Bdf): InterruptTable | undefined;
  requesterIdsOf(device: Bdf): readonly Rid[];
}

/** The part of a machine that tells of interrupts. */
export interface InterruptSink {
  onInterrupt: ((interrupt: DeliveredInterrupt) => void) | undefined;
  onPin: ((from: Bdf, up: boolean) => void) | undefined;
}

/** A message that a device is to write. For MSI, vector n adds n to the data. */
export interface DeviceMessage {
  readonly address: bigint;
  readonly data: number;
}

/** Interrupts that were given to a device; consecutive for MSI, else one. */
export interface AllocatedInterrupts {
  readonly message: DeviceMessage;
  readonly count: number;
  /** Nothing that arrives afterwards is theirs. Never fails. */
  release(): void;
}

/** Vectors of one processor that are left to devices. */
const FIRST_VECTOR = 0x31;
const VECTORS = 0xbe;
/** APIC ids of 8 bits; the last one means all processors. */
const PROCESSORS = 255;
const MSI_ADDRESS = 0xfee0_0000;

/** See the head of the file. */
export class InterruptDomain {
  readonly #services: InterruptServices;
  readonly #handlers = new Map<number, () => void>();
  readonly #pins = new Map<Bdf, (up: boolean) => void>();
  readonly #raised = new Set<Bdf>();
  /** Whom interrupts go to that nobody was given. */
  onStray: ((interrupt: DeliveredInterrupt) => void) | undefined;

  /** Takes the interrupts of a machine over; who had them before becomes {@link onStray}. */
  constructor(sink: InterruptSink, services: InterruptServices) {
    this.#services = services;
    this.onStray = sink.onInterrupt;
    sink.onInterrupt = (interrupt) => this.#arrived(interrupt);
    sink.onPin = (from, up) => {
      if (up) this.#raised.add(from);
      else this.#raised.delete(from);
      this.#pins.get(from)?.(up);
    };
  }

  /**
   * Tells of a device's interrupt pin: at once when it is up, and whenever it moves.
   * @returns stops that.
   */
  watchPin(device: Bdf, handler: (up: boolean) => void): () => void {
    this.#pins.set(device, handler);
    if (this.#raised.has(device)) handler(true);
    return () => {
      if (this.#pins.get(device) === handler) this.#pins.delete(device);
    };
  }

  /** Interrupts that are given out now. */
  get used(): number {
    return this.#handlers.size;
  }

  /** How many vectors of one MSI capability can be given out at once. */
  msiLimit(device: Bdf): number {
    return this.#services.interruptTableOf(device) === undefined ? 1 : 32;
  }

  /**
   * Interrupts for a device.
   * @param count 1 for a vector of MSI-X or an interrupt pin; for MSI a power of two to 32.
   * @param handler called with the vector's number, 0 to count - 1.
   * @throws UapiError ENOSPC.
   */
  allocate(device: Bdf, count: number, handler: (vector: number) => void): AllocatedInterrupts {
    const targets = this.#freeTargets(count);
    const table = this.#services.interruptTableOf(device);
    const entry = table?.allocateBlock(this.#sourceOf(device), targets);
    targets.forEach((target, i) => {
      this.#handlers.set(keyOf(target), () => handler(i));
    });
    const release = (): void => {
      for (const target of targets) this.#handlers.delete(keyOf(target));
      if (entry === undefined) return;
      for (let i = 0; i < count; i++) table?.release(entry.index + i);
    };
    const message = entry === undefined ? plainMessage(targets) : entry;
    return {
      message: { address: BigInt(message.address), data: message.data },
      count,
      release,
    };
  }

  #freeTargets(count: number): InterruptTarget[] {
    for (let destination = 0; destination < PROCESSORS; destination++) {
      for (let at = 0; at + count <= VECTORS; at += count) {
        const targets = Array.from({ length: count }, (_, i) => ({
          destination,
          vector: FIRST_VECTOR + at + i,
        }));
        if (!targets.some((target) => this.#handlers.has(keyOf(target)))) return targets;
      }
    }
    throw new UapiError("ENOSPC", "no vector of any processor is free");
  }

  /** Behind a bridge that takes requests over only the bus can be checked. */
  #sourceOf(device: Bdf): InterruptSource {
    const rids = this.#services.requesterIdsOf(device);
    const [own] = rids;
    const own16 = own ?? device & 0xffff;
    if (rids.length < 2) return { kind: "requester", rid: own16 };
    const buses = rids.map((rid) => rid >>> 8);
    const others = buses.filter((bus) => bus !== busOf(device));
    // Aliases on the bus of the device are quirks of DMA; interrupts carry its own number.
    if (others.length === 0) return { kind: "requester", rid: own16 };
    return { kind: "buses", first: Math.min(...buses), last: Math.max(...buses) };
  }

  #arrived(delivered: DeliveredInterrupt): void {
    const { from, interrupt } = delivered;
    const known = from !== undefined && interrupt !== undefined;
    const handler = known ? this.#handlers.get(keyOf(interrupt)) : undefined;
    if (handler !== undefined) handler();
    else this.onStray?.(delivered);
  }
}

function keyOf({ destination, vector }: InterruptTarget): number {
  return destination * 256 + vector;
}

/** The compatibility format: it names the processor and the vector itself. */
function plainMessage([first]: readonly InterruptTarget[]): { address: number; data: number } {
  if (first === undefined) throw new RangeError("no interrupt is wanted");
  return { address: MSI_ADDRESS + first.destination * 4096, data: first.vector };
}

/** No interrupt is left, rather than anything being wrong. */
export function isInterruptShortage(error: unknown): boolean {
  return UapiError.is(error) && error.code === "ENOSPC";
}
