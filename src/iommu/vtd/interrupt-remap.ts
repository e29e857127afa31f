/**
 * Interrupt remapping: VT-d 5.0 § 5.1.
 *
 * A write to the interrupt range names an entry of a table in memory; the entry holds the interrupt
 * and who may ask for it. That check is what makes an interrupt unforgeable: without it (SVT 0), or
 * in compatibility format, any device can raise any vector.
 */
import {
  getField,
  MSI_REMAPPABLE_ADDRESS,
  uncoveredBits,
  VTD_INTERRUPT_ENTRY,
  VtdFault,
  VtdSourceValidation,
} from "../../formats/index.js";
import { EntryCache } from "../entry-cache.js";
import type { CachedInterrupt } from "../iommu.js";
import { messageInterrupt } from "../message-interrupt.js";
import type { Interrupt, InterruptAnswer, InterruptRequest } from "../translation.js";
import type { EntryReader } from "./entry-reader.js";
import type { EventLog } from "./event-log.js";

const INTERRUPT_LINES = 256;
const ENTRY_RESERVED = uncoveredBits(VTD_INTERRUPT_ENTRY, 4);
/** Delivery modes that do not exist. */
const RESERVED_MODES = new Set([3, 6]);
/** Function bits that each source qualifier leaves out. */
const IGNORED_BITS = [0, 0b100, 0b110, 0b111] as const;
/** Words of a line: those of the entry, from here on. */
const ENTRY_AT = 4;

export class InterruptRemapper {
  readonly #reader: EntryReader;
  readonly #log: EventLog;
  /** Entries by index; keys: index, 0. */
  readonly cache = new EntryCache(INTERRUPT_LINES);
  isEnabled = false;
  /** Compatibility format may pass (GSTS.CFIS). */
  passesCompatibility = false;
  /** The table: address, number of entries, 32-bit destinations (IRTA). */
  tableLo = 0;
  tableHi = 0;
  entries = 2;
  extendedMode = false;
  #silent = false;

  constructor(reader: EntryReader, log: EventLog) {
    this.#reader = reader;
    this.#log = log;
  }

  /** Serves a write to the interrupt range. */
  deliver(request: InterruptRequest): InterruptAnswer {
    if (!this.isEnabled) return messageInterrupt(request);
    this.#silent = false;
    if (request.upperAddress !== 0) {
      return this.#refuse(request, undefined, VtdFault.interruptReserved);
    }
    const words = [request.address];
    if (getField(words, 0, MSI_REMAPPABLE_ADDRESS.interruptFormat) === 0) {
      const passes = this.passesCompatibility && !this.extendedMode;
      if (passes) return messageInterrupt(request);
      return this.#refuse(request, undefined, VtdFault.interruptCompatibilityBlocked);
    }
    if (request.data >>> 16 !== 0) {
      return this.#refuse(request, undefined, VtdFault.interruptReserved);
    }
    const handle =
      getField(words, 0, MSI_REMAPPABLE_ADDRESS.handleLow) |
      (getField(words, 0, MSI_REMAPPABLE_ADDRESS.handleHigh) << 15);
    const counts = getField(words, 0, MSI_REMAPPABLE_ADDRESS.subhandleValid) !== 0;
    const index = counts ? handle + request.data : handle;
    if (index >= this.entries) return this.#refuse(request, index, VtdFault.interruptIndex);
    return this.#remap(request, index);
  }

  /** Forgets cached entries: all, or 2^order from `index` on. */
  invalidate(index?: number, order = 0): void {
    if (index === undefined) {
      this.cache.drop();
      return;
    }
    const first = index & ~((1 << order) - 1);
    this.cache.drop((line) => {
      const key = this.cache.key(line);
      return key >= first && key < first + (1 << order);
    });
  }

  inspect(): CachedInterrupt[] {
    return [...this.cache.lines()].map((line) => {
      const index = this.cache.key(line);
      const { vector, destination } = this.#decode(line + ENTRY_AT, index);
      return { index, vector, destination };
    });
  }

  #remap(request: InterruptRequest, index: number): InterruptAnswer {
    let line = this.cache.find(index, 0);
    if (line < 0) {
      const fault = this.#load(index);
      if (fault !== 0) return this.#refuse(request, index, fault);
      line = this.cache.claim(index, 0);
      this.cache.data.set(this.#reader.words.subarray(0, 4), line + ENTRY_AT);
    }
    const { data } = this.cache;
    const at = line + ENTRY_AT;
    this.#silent = getField(data, at, VTD_INTERRUPT_ENTRY.faultProcessingDisable) !== 0;
    if (!isAllowed(data, at, request.requester)) {
      return this.#refuse(request, index, VtdFault.interruptSource);
    }
    return { kind: "delivered", remapped: true, interrupt: this.#decode(at, index) };
  }

  /** § 5.1.4: reads and checks the entry. */
  #load(index: number): number {
    const reader = this.#reader;
    const { words } = reader;
    // The table may have 1 MiB: its offset can carry into the high half.
    const lo = (this.tableLo + index * 16) | 0;
    const hi = this.tableHi + (lo >>> 0 < this.tableLo >>> 0 ? 1 : 0);
    if (!reader.read("interrupt-entry", lo, hi, 16)) return VtdFault.interruptAccess;
    this.#silent = getField(words, 0, VTD_INTERRUPT_ENTRY.faultProcessingDisable) !== 0;
    if (getField(words, 0, VTD_INTERRUPT_ENTRY.present) === 0) return VtdFault.interruptNotPresent;
    const destination = getField(words, 0, VTD_INTERRUPT_ENTRY.destination);
    const isReserved =
      ENTRY_RESERVED.some((mask, i) => ((words[i] as number) & mask) !== 0) ||
      getField(words, 0, VTD_INTERRUPT_ENTRY.mode) !== 0 ||
      getField(words, 0, VTD_INTERRUPT_ENTRY.sourceValidation) === 3 ||
      RESERVED_MODES.has(getField(words, 0, VTD_INTERRUPT_ENTRY.deliveryMode)) ||
      (!this.extendedMode && (destination & ~0xff00) !== 0);
    return isReserved ? VtdFault.interruptEntryReserved : 0;
  }

  #decode(at: number, index: number): Interrupt {
    const { data } = this.cache;
    const E = VTD_INTERRUPT_ENTRY;
    const destination = getField(data, at, E.destination);
    return {
      vector: getField(data, at, E.vector),
      destination: this.extendedMode ? destination : (destination >>> 8) & 0xff,
      destinationMode: getField(data, at, E.destinationMode) === 0 ? "physical" : "logical",
      deliveryMode: getField(data, at, E.deliveryMode),
      trigger: getField(data, at, E.triggerMode) === 0 ? "edge" : "level",
      index,
    };
  }

  #refuse(request: InterruptRequest, index: number | undefined, reason: number): InterruptAnswer {
    if (!this.#silent) this.#log.recordInterrupt(request.requester, index ?? 0, reason);
    return { kind: "fault", reason, index };
  }
}

/** § 5.1.4: is the requester whom the entry expects? */
function isAllowed(data: Int32Array, at: number, requester: number): boolean {
  const sourceId = getField(data, at, VTD_INTERRUPT_ENTRY.sourceId);
  switch (getField(data, at, VTD_INTERRUPT_ENTRY.sourceValidation)) {
    case VtdSourceValidation.requester: {
      const qualifier = getField(data, at, VTD_INTERRUPT_ENTRY.sourceQualifier);
      const ignored = IGNORED_BITS[qualifier as 0 | 1 | 2 | 3];
      return ((sourceId ^ requester) & ~ignored) === 0;
    }
    case VtdSourceValidation.busRange: {
      const bus = requester >>> 8;
      return bus >= sourceId >>> 8 && bus <= (sourceId & 0xff);
    }
    default:
      return true;
  }
}
