/**
 * The invalidation queue: VT-d 5.0 § 6.5.2, § 11.4.19-11.4.26.
 *
 * A ring in memory: software writes descriptors and moves the tail, the unit executes them in order
 * and moves the head. At an error the unit stops with the head at the descriptor; software mends
 * it, clears the error in the fault status register, and the unit goes on.
 */
import {
  uncoveredBits,
  VTD_DESCRIPTOR_WORDS,
  VTD_DESCRIPTORS,
  VTD_WIDE_DESCRIPTOR_WORDS,
  VtdDescriptorType,
  VtdQueueError,
} from "../../formats/index.js";
import { MemoryStatus, type PhysicalMemory } from "../../memory/index.js";
import type { EventLog } from "./event-log.js";

/**
 * Executes one descriptor.
 * @param words its words; reserved bits are zero.
 */
export type CommandHandler = (type: number, words: Uint32Array) => CommandResult;
export type CommandResult = "done" | "reserved" | "time-out";

const RESERVED: ReadonlyMap<number, Uint32Array> = new Map(
  Object.entries(VTD_DESCRIPTORS).map(([type, layout]) => [
    Number(type),
    uncoveredBits(layout, VTD_WIDE_DESCRIPTOR_WORDS),
  ]),
);

export class CommandQueue {
  readonly #memory: PhysicalMemory;
  readonly #log: EventLog;
  readonly #execute: CommandHandler;
  readonly #words = new Uint32Array(VTD_WIDE_DESCRIPTOR_WORDS);
  readonly #scalable: boolean;
  /** First frame, number of frames, 32-byte descriptors (IQA). */
  frame = 0;
  frames = 1;
  wide = false;
  #head = 0;
  #tail = 0;
  #isEnabled = false;
  #isRunning = false;
  /** One of `VtdQueueError`. */
  error: number = VtdQueueError.none;
  /** Descriptors executed so far. */
  executed = 0;

  /** @param scalable wide descriptors are allowed. */
  constructor(memory: PhysicalMemory, log: EventLog, scalable: boolean, execute: CommandHandler) {
    this.#memory = memory;
    this.#log = log;
    this.#scalable = scalable;
    this.#execute = execute;
  }

  /** Bytes from the first descriptor on. */
  get head(): number {
    return this.#head;
  }

  get tail(): number {
    return this.#tail;
  }

  set tail(value: number) {
    this.#tail = value;
    this.run();
  }

  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  /** Enabling begins at the first descriptor. */
  set isEnabled(value: boolean) {
    if (value === this.#isEnabled) return;
    this.#isEnabled = value;
    this.#head = 0;
    if (value) this.run();
  }

  /** Executes what is queued, until the tail or an error. */
  run(): void {
    // A handler may lead back here: a device that answers an invalidation by writing registers.
    if (!this.#isEnabled || this.#isRunning || this.#log.queueIsStopped) return;
    this.#isRunning = true;
    try {
      const error = this.#checkTail();
      if (error === VtdQueueError.none) this.#drain();
      else this.#stop(error);
    } finally {
      this.#isRunning = false;
    }
  }

  #drain(): void {
    const size = this.frames * 4096;
    const step = (this.wide ? VTD_WIDE_DESCRIPTOR_WORDS : VTD_DESCRIPTOR_WORDS) * 4;
    while (this.#head !== this.#tail) {
      const error = this.#step(step);
      if (error !== VtdQueueError.none) {
        this.#stop(error);
        return;
      }
      this.#head = (this.#head + step) % size;
      this.executed++;
      // A time-out stops the queue behind the descriptor.
      if (this.#log.queueIsStopped) return;
    }
  }

  #checkTail(): number {
    if (this.wide && !this.#scalable) return VtdQueueError.widthInvalid;
    if (this.#tail >= this.frames * 4096) return VtdQueueError.tailInvalid;
    const step = (this.wide ? VTD_WIDE_DESCRIPTOR_WORDS : VTD_DESCRIPTOR_WORDS) * 4;
    // The head is misplaced when the descriptors' size changed under it: it would never meet the
    // tail.
    const isAligned = this.#tail % step === 0 && this.#head % step === 0;
    return isAligned ? VtdQueueError.none : VtdQueueError.tailNotAligned;
  }

  /** Fetches and executes the descriptor at the head. */
  #step(bytes: number): number {
    const words = this.#words;
    words.fill(0);
    const into = new Uint8Array(words.buffer, 0, bytes);
    const pfn = this.frame + (this.#head >>> 12);
    if (this.#memory.read(pfn, this.#head & 0xfff, into) !== MemoryStatus.ok) {
      return VtdQueueError.descriptorAccess;
    }
    const word = words[0] as number;
    const type = (word & 15) | (((word >>> 9) & 7) << 4);
    const reserved = RESERVED.get(type);
    if (reserved === undefined) return VtdQueueError.typeInvalid;
    if (reserved.some((mask, i) => ((words[i] as number) & mask) !== 0)) {
      return VtdQueueError.reservedField;
    }
    const result = this.#execute(type, words);
    if (result === "reserved") return VtdQueueError.reservedField;
    if (result === "time-out") this.#log.stopQueue("time-out");
    return VtdQueueError.none;
  }

  #stop(error: number): void {
    this.error = error;
    this.#log.stopQueue("error");
  }
}

/** Is a descriptor one that a unit without scalable mode knows? */
export function isLegacyDescriptor(type: number): boolean {
  return type <= VtdDescriptorType.wait;
}

/** The frame and number of pages that a device-TLB descriptor's address names (PCIe 6 § 10.3.2). */
export function deviceTlbRange(
  frame: number,
  size: boolean,
): { readonly frame: number; readonly pageCount: number } {
  if (!size) return { frame, pageCount: 1 };
  let pageCount = 2;
  let rest = frame;
  while (rest % 2 === 1 && pageCount < 2 ** 52) {
    pageCount *= 2;
    rest = (rest - 1) / 2;
  }
  return { frame: frame - (frame % pageCount), pageCount };
}
