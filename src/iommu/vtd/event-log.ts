/**
 * Fault records and the fault status register: VT-d 5.0 § 7.2, § 11.4.9, § 11.4.14.
 *
 * Records fill in order, round and round. When the next one still holds a fault that software has
 * not cleared, the new fault is lost and the overflow bit says so; nothing more is recorded until
 * software clears that bit.
 */
import {
  setField,
  VTD_FAULT_RECORD,
  VTD_FAULT_RECORD_WORDS,
  VTD_INTERRUPT_FAULT_INDEX,
} from "../../formats/index.js";
import { DmaAccess, type DmaRequest } from "../translation.js";
import type { UnitEvent } from "./event.js";

const OVERFLOW = 1 << 0;
const PENDING = 1 << 1;
const QUEUE_ERROR = 1 << 4;
const COMPLETION_ERROR = 1 << 5;
const TIME_OUT = 1 << 6;
const CLEARABLE = OVERFLOW | QUEUE_ERROR | COMPLETION_ERROR | TIME_OUT;
const FAULT_BIT = 1 << 31;

export class EventLog {
  readonly #event: UnitEvent;
  readonly #records: Uint32Array;
  readonly #count: number;
  #next = 0;
  #status = 0;
  /** Faults recorded, and faults lost to overflow, since the unit began. */
  recorded = 0;
  lost = 0;

  constructor(event: UnitEvent, count: number) {
    this.#event = event;
    this.#count = count;
    this.#records = new Uint32Array(count * VTD_FAULT_RECORD_WORDS);
  }

  /** Records a fault of a request to memory. @returns false when it was lost. */
  recordDma(request: DmaRequest, reason: number): boolean {
    const at = this.#claim();
    if (at < 0) return false;
    const words = this.#records;
    const isRead = request.access === DmaAccess.read;
    const isAtomic = request.access === DmaAccess.atomic;
    words[at] = request.lo & ~0xfff;
    words[at + 1] = request.hi;
    setField(words, at, VTD_FAULT_RECORD.sourceId, request.requester);
    setField(words, at, VTD_FAULT_RECORD.type2, isAtomic ? 1 : 0);
    setField(words, at, VTD_FAULT_RECORD.type1, isRead || isAtomic ? 1 : 0);
    setField(words, at, VTD_FAULT_RECORD.addressType, request.addressType);
    if (request.hasPasid) {
      setField(words, at, VTD_FAULT_RECORD.pasidPresent, 1);
      setField(words, at, VTD_FAULT_RECORD.pasid, request.pasid);
      setField(words, at, VTD_FAULT_RECORD.privileged, request.privileged ? 1 : 0);
      setField(words, at, VTD_FAULT_RECORD.execute, request.execute ? 1 : 0);
    }
    this.#publish(at, reason);
    return true;
  }

  /** Records a fault of an interrupt request. */
  recordInterrupt(requester: number, index: number, reason: number): boolean {
    const at = this.#claim();
    if (at < 0) return false;
    setField(this.#records, at, VTD_INTERRUPT_FAULT_INDEX, index & 0xffff);
    setField(this.#records, at, VTD_FAULT_RECORD.sourceId, requester);
    this.#publish(at, reason);
    return true;
  }

  /** Records a fault of a page request message. */
  recordPageRequest(
    requester: number,
    pasid: number | undefined,
    frame: number,
    reason: number,
  ): boolean {
    const at = this.#claim();
    if (at < 0) return false;
    const words = this.#records;
    setField(words, at, VTD_FAULT_RECORD.frame, frame);
    setField(words, at, VTD_FAULT_RECORD.sourceId, requester);
    setField(words, at, VTD_FAULT_RECORD.type2, 1);
    if (pasid !== undefined) {
      setField(words, at, VTD_FAULT_RECORD.pasidPresent, 1);
      setField(words, at, VTD_FAULT_RECORD.pasid, pasid);
    }
    this.#publish(at, reason);
    return true;
  }

  get status(): number {
    const first = this.#firstPending();
    return this.#status | (first < 0 ? 0 : PENDING | (first << 8));
  }

  /** Software writes ones to clear. */
  clearStatus(value: number): void {
    this.#status &= ~(value & CLEARABLE);
    if (this.status === 0) this.#event.settle();
  }

  get queueIsStopped(): boolean {
    return (this.#status & (QUEUE_ERROR | TIME_OUT)) !== 0;
  }

  /** The invalidation queue stopped at an error. */
  stopQueue(cause: "error" | "time-out"): void {
    this.#raise(cause === "error" ? QUEUE_ERROR : TIME_OUT);
  }

  /** A 32-bit word of the records, counted from the first record's. */
  readRecord(word: number): number {
    return this.#records[word] ?? 0;
  }

  /** Software writes a word of the records: a one in bit 127 clears that record's fault. */
  writeRecord(word: number, value: number): void {
    if (word % VTD_FAULT_RECORD_WORDS !== 3 || (value & FAULT_BIT) === 0) return;
    const old = this.#records[word];
    if (old === undefined) return;
    this.#records[word] = old & ~FAULT_BIT;
    if (this.status === 0) this.#event.settle();
  }

  #claim(): number {
    const at = this.#next * VTD_FAULT_RECORD_WORDS;
    const overflows = (this.#status & OVERFLOW) !== 0;
    if (overflows || ((this.#records[at + 3] as number) & FAULT_BIT) !== 0) {
      this.lost++;
      if (!overflows) this.#raise(OVERFLOW);
      return -1;
    }
    this.#records.fill(0, at, at + VTD_FAULT_RECORD_WORDS);
    return at;
  }

  #publish(at: number, reason: number): void {
    const wasQuiet = this.status === 0;
    setField(this.#records, at, VTD_FAULT_RECORD.reason, reason);
    setField(this.#records, at, VTD_FAULT_RECORD.fault, 1);
    this.#next = (this.#next + 1) % this.#count;
    this.recorded++;
    if (wasQuiet) this.#event.raise();
  }

  /** The event is raised only when no condition was up before: § 7.2. */
  #raise(bit: number): void {
    const wasQuiet = this.status === 0;
    this.#status |= bit;
    if (wasQuiet) this.#event.raise();
  }

  /** The oldest record that holds a fault, or -1. */
  #firstPending(): number {
    for (let i = 0; i < this.#count; i++) {
      const index = (this.#next + i) % this.#count;
      const word = this.#records[index * VTD_FAULT_RECORD_WORDS + 3] as number;
      if ((word & FAULT_BIT) !== 0) return index;
    }
    return -1;
  }
}
