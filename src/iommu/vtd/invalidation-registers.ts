/**
 * Invalidation by registers: VT-d 5.0 § 6.5.1, § 11.4.7, § 11.4.8.
 *
 * Software writes what it wants with the invalidate bit set; the unit does it, clears the bit and
 * says with which granularity. It does nothing, and says granularity 0, when the granularity asked
 * for is reserved, the address mask is too large, root tables are not in legacy mode, or the
 * invalidation queue is on.
 *
 * A command does what the queue's descriptor of the same name does, so it is one.
 */
import {
  type BitField,
  getField,
  setField,
  VTD_CONTEXT_CACHE_DESCRIPTOR,
  VTD_CONTEXT_COMMAND,
  VTD_DESCRIPTOR_WORDS,
  VTD_INVALIDATE_ADDRESS,
  VTD_IOTLB_COMMAND,
  VTD_IOTLB_DESCRIPTOR,
  VtdDescriptorType,
  VtdIotlbGranularity,
  VtdRegister,
} from "../../formats/index.js";
import type { CommandHandler } from "./command-queue.js";

/** Context command, invalidate address, IOTLB command: two words each. */
const CONTEXT = 0;
const ADDRESS = 2;
const IOTLB = 4;

export interface InvalidationRegisterParts {
  /** Byte offset of the IOTLB registers; undefined when the unit has none of the registers. */
  readonly iotlbRegisters: number | undefined;
  /** Root tables are of legacy mode, and the queue is off. */
  readonly isUsable: () => boolean;
  readonly execute: CommandHandler;
}

export class InvalidationRegisters {
  readonly #parts: InvalidationRegisterParts;
  readonly #words = new Uint32Array(6);

  constructor(parts: InvalidationRegisterParts) {
    this.#parts = parts;
  }

  /** The register at that byte offset; undefined when it is none of these. */
  read(offset: number): number | undefined {
    const at = this.#indexOf(offset);
    return at < 0 ? undefined : this.#words[at];
  }

  /** @returns false when the register is none of these. */
  write(offset: number, value: number): boolean {
    const at = this.#indexOf(offset);
    if (at < 0) return false;
    this.#words[at] = value;
    if (at === CONTEXT + 1) this.#invalidateContexts();
    else if (at === IOTLB + 1) this.#invalidateIotlb();
    return true;
  }

  #invalidateContexts(): void {
    const C = VTD_CONTEXT_COMMAND;
    const D = VTD_CONTEXT_CACHE_DESCRIPTOR;
    if (this.#get(CONTEXT, C.invalidate) === 0) {
      this.#set(CONTEXT, C.actualGranularity, 0);
      return;
    }
    const descriptor = new Uint32Array(VTD_DESCRIPTOR_WORDS);
    setField(descriptor, 0, D.granularity, this.#get(CONTEXT, C.granularity));
    setField(descriptor, 0, D.domainId, this.#get(CONTEXT, C.domainId));
    setField(descriptor, 0, D.sourceId, this.#get(CONTEXT, C.sourceId));
    setField(descriptor, 0, D.functionMask, this.#get(CONTEXT, C.functionMask));
    this.#run(CONTEXT, C, VtdDescriptorType.contextCache, descriptor);
  }

  #invalidateIotlb(): void {
    const C = VTD_IOTLB_COMMAND;
    const A = VTD_INVALIDATE_ADDRESS;
    const D = VTD_IOTLB_DESCRIPTOR;
    if (this.#get(IOTLB, C.invalidate) === 0) {
      this.#set(IOTLB, C.actualGranularity, 0);
      return;
    }
    const granularity = this.#get(IOTLB, C.granularity);
    const descriptor = new Uint32Array(VTD_DESCRIPTOR_WORDS);
    setField(descriptor, 0, D.granularity, granularity);
    setField(descriptor, 0, D.domainId, this.#get(IOTLB, C.domainId));
    // The address counts for pages alone.
    if (granularity === VtdIotlbGranularity.page) {
      setField(descriptor, 0, D.addressMask, this.#get(ADDRESS, A.addressMask));
      setField(descriptor, 0, D.invalidationHint, this.#get(ADDRESS, A.invalidationHint));
      setField(descriptor, 0, D.frame, this.#get(ADDRESS, A.frame));
    }
    this.#run(IOTLB, C, VtdDescriptorType.iotlb, descriptor);
  }

  /** Executes the descriptor of the command at `at`, and says so there. */
  #run(at: number, command: Command, type: number, descriptor: Uint32Array): void {
    const isDone = this.#parts.isUsable() && this.#parts.execute(type, descriptor) === "done";
    this.#set(at, command.actualGranularity, isDone ? this.#get(at, command.granularity) : 0);
    this.#set(at, command.invalidate, 0);
  }

  #get(at: number, field: BitField): number {
    return getField(this.#words, at, field);
  }

  #set(at: number, field: BitField, value: number): void {
    setField(this.#words, at, field, value);
  }

  /** Index of the word at a byte offset, or -1. */
  #indexOf(offset: number): number {
    const { iotlbRegisters } = this.#parts;
    if (iotlbRegisters === undefined) return -1;
    const inContext = offset - VtdRegister.contextCommand;
    if (inContext === 0 || inContext === 4) return CONTEXT + inContext / 4;
    const inIotlb = offset - iotlbRegisters;
    const isWord = inIotlb >= 0 && inIotlb < 16 && inIotlb % 4 === 0;
    return isWord ? ADDRESS + inIotlb / 4 : -1;
  }
}

type Command = typeof VTD_CONTEXT_COMMAND | typeof VTD_IOTLB_COMMAND;
