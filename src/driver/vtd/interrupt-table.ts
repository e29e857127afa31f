/**
 * InterruptTable: who may send which interrupt: VT-d 5.0 § 5.1 and § 9.9.
 *
 * Every entry names the requester that may use it, so that no device can forge another's interrupt.
 * Devices whose requests take the requester ID of a bridge are checked by their range of buses.
 */
import { UapiError } from "../../abi/index.js";
import {
  buildWords,
  remappableMessage,
  VTD_INTERRUPT_ENTRY,
  VtdRegister,
  VtdSourceValidation,
} from "../../formats/index.js";
import type { Iommu } from "../../iommu/index.js";
import type { FrameOwner } from "../../memory/index.js";
import type { TableFrames } from "../table-frames.js";
import type { InvalidationQueue } from "./invalidation-queue.js";

/** Who may send: one requester, or any on these buses. */
export type InterruptSource =
  | { readonly kind: "requester"; readonly rid: number }
  | { readonly kind: "buses"; readonly first: number; readonly last: number };

export interface InterruptTarget {
  /** 16 to 254. */
  readonly vector: number;
  /** APIC id, 8 bits. */
  readonly destination: number;
}

/** What a device must write to send it. */
export interface InterruptMessage {
  readonly index: number;
  readonly address: number;
  readonly data: number;
}

const ENTRY_BYTES = 16;
const ENTRIES_PER_FRAME = 256;
/** Bit 3 of the address: the data is added to the index (§ 5.1.2.2). */
const SUBHANDLE_VALID = 1 << 3;

/** The table of one unit. */
export class InterruptTable {
  readonly #frames: TableFrames;
  readonly #queue: InvalidationQueue;
  readonly #first: number;
  readonly #size: number;
  readonly #inUse: Uint8Array;
  #used = 0;

  /**
   * @param log2 2^log2 entries, 8 to 16 (a frame at least).
   * @throws UapiError ENOMEM; RangeError.
   */
  constructor(
    iommu: Iommu,
    frames: TableFrames,
    owner: FrameOwner,
    queue: InvalidationQueue,
    log2: number,
  ) {
    if (!(Number.isInteger(log2) && log2 >= 8 && log2 <= 16)) {
      throw new RangeError(`2^${log2} interrupt entries`);
    }
    this.#frames = frames;
    this.#queue = queue;
    this.#size = 2 ** log2;
    this.#inUse = new Uint8Array(this.#size);
    this.#first = frames.allocateRun(this.#size / ENTRIES_PER_FRAME, owner);
    const address = (BigInt(this.#first) << 12n) | BigInt(log2 - 1);
    iommu.writeRegister64(VtdRegister.interruptTable, address);
  }

  /** Entries in use. */
  get used(): number {
    return this.#used;
  }

  /** @throws UapiError ENOSPC the table is full. */
  allocate(source: InterruptSource, target: InterruptTarget): InterruptMessage {
    const index = this.#take(1);
    this.set(index, source, target);
    return { index, ...remappableMessage(index) };
  }

  /**
   * Entries for the vectors of one MSI capability, which differ in the low bits of the data only.
   * @param targets 1 to 32, a power of two.
   * @returns the message of vector 0.
   * @throws UapiError ENOSPC no such run is free.
   */
  allocateBlock(source: InterruptSource, targets: readonly InterruptTarget[]): InterruptMessage {
    const index = this.#take(targets.length);
    targets.forEach((target, i) => {
      this.set(index + i, source, target);
    });
    const { address, data } = remappableMessage(index);
    return { index, address: address + SUBHANDLE_VALID, data };
  }

  /** Sends the interrupt elsewhere from now on. */
  set(index: number, source: InterruptSource, target: InterruptTarget): void {
    const byRequester = source.kind === "requester";
    const words = buildWords(VTD_INTERRUPT_ENTRY, 4, {
      present: true,
      vector: target.vector,
      destination: target.destination << 8,
      sourceId: byRequester ? source.rid : (source.first << 8) | source.last,
      sourceValidation: byRequester ? VtdSourceValidation.requester : VtdSourceValidation.busRange,
    });
    this.#clear(index);
    this.#write(index, 2, words);
    this.#write(index, 0, words);
  }

  release(index: number): void {
    this.#clear(index);
    if (this.#inUse[index] === 1) this.#used--;
    this.#inUse[index] = 0;
  }

  /** The lowest free run of `count`, a power of two, at a multiple of it. */
  #take(count: number): number {
    for (let first = 0; first + count <= this.#size; first += count) {
      if (this.#inUse.subarray(first, first + count).includes(1)) continue;
      this.#inUse.fill(1, first, first + count);
      this.#used += count;
      return first;
    }
    throw new UapiError("ENOSPC", "the interrupt table is full");
  }

  #clear(index: number): void {
    this.#write(index, 0, ZERO);
    this.#queue.interruptEntry(index);
    this.#queue.submit();
  }

  /** Eight bytes of an entry, from its word `at` on. */
  #write(index: number, at: number, words: Uint32Array): void {
    const { memory } = this.#frames;
    const byte = index * ENTRY_BYTES;
    const word = memory.frameWord(this.#first + (byte >>> 12)) + ((byte & 0xfff) >>> 2) + at;
    memory.words[word + 1] = words[at + 1] as number;
    memory.words[word] = words[at] as number;
  }
}

const ZERO = new Uint32Array(4);
