/**
 * The registers of a VT-d unit: VT-d 5.0 § 11.4. What software writes here is all it can tell the
 * unit apart from tables and queues in memory.
 *
 * Command bits take effect at once, so that the status register tells what the command register
 * said. The root table's and the interrupt table's address count from their "set" command on.
 */
import {
  getField,
  VTD_GLOBAL_COMMAND,
  VTD_INTERRUPT_TABLE,
  VTD_PAGE_REQUEST_ADDRESS,
  VTD_QUEUE_ADDRESS,
  VTD_ROOT_TABLE_REGISTER,
  VtdRegister,
  VtdRootTableMode,
} from "../../formats/index.js";
import { FAULT_RECORDS_OFFSET, type VtdCapabilities, type VtdRegisters } from "./capabilities.js";
import type { CommandQueue } from "./command-queue.js";
import type { DeviceTable } from "./device-table.js";
import type { UnitEvent } from "./event.js";
import type { EventLog } from "./event-log.js";
import type { InterruptRemapper } from "./interrupt-remap.js";
import type { InvalidationRegisters } from "./invalidation-registers.js";
import type { PageRequestQueue } from "./page-request.js";
import type { ProtectedMemory } from "./protected-memory.js";
import type { Translator } from "./translate.js";

export interface RegisterParts {
  readonly registers: VtdRegisters;
  readonly capabilities: VtdCapabilities;
  readonly contexts: DeviceTable;
  readonly translator: Translator;
  readonly interrupts: InterruptRemapper;
  readonly queue: CommandQueue;
  readonly log: EventLog;
  readonly pageRequests: PageRequestQueue;
  readonly invalidations: InvalidationRegisters;
  readonly protection: ProtectedMemory;
  readonly faultEvent: UnitEvent;
  readonly invalidationEvent: UnitEvent;
  readonly pageRequestEvent: UnitEvent;
}

const R = VtdRegister;
const G = VTD_GLOBAL_COMMAND;
const ENABLES = bitOf(G.translation) | bitOf(G.queuedInvalidation) | bitOf(G.interruptRemapping);

export class RegisterFile {
  readonly #parts: RegisterParts;
  /** Registers that read as written, by word. */
  readonly #words = new Uint32Array(64);
  #status = 0;
  #invalidationComplete = 0;

  constructor(parts: RegisterParts) {
    this.#parts = parts;
    this.#words[R.version >>> 2] = parts.registers.version;
    this.#words.set(parts.registers.capability, R.capability >>> 2);
    this.#words.set(parts.registers.extendedCapability, R.extendedCapability >>> 2);
  }

  /** A wait descriptor asked for an interrupt. */
  completeInvalidation(): void {
    if (this.#invalidationComplete !== 0) return;
    this.#invalidationComplete = 1;
    this.#parts.invalidationEvent.raise();
  }

  read(offset: number): number {
    const { log, queue, pageRequests, invalidations, protection } = this.#parts;
    const own = invalidations.read(offset) ?? protection.read(offset);
    if (own !== undefined) return own;
    const record = offset - FAULT_RECORDS_OFFSET;
    if (record >= 0) return log.readRecord(record >>> 2);
    switch (offset) {
      case R.globalStatus:
        return this.#status >>> 0;
      case R.globalCommand:
        return 0;
      case R.faultStatus:
        return log.status;
      case R.queueHead:
        return queue.head;
      case R.queueTail:
        return queue.tail;
      case R.queueError:
        return queue.error;
      case R.invalidationStatus:
        return this.#invalidationComplete;
      case R.pageRequestHead:
        return pageRequests.head;
      case R.pageRequestTail:
        return pageRequests.tail;
      case R.pageRequestStatus:
        return pageRequests.status;
      default:
        return this.#event(offset, undefined) ?? this.#words[offset >>> 2] ?? 0;
    }
  }

  write(offset: number, value: number): void {
    const { log, queue, pageRequests, invalidations, protection } = this.#parts;
    if (invalidations.write(offset, value) || protection.write(offset, value)) return;
    const record = offset - FAULT_RECORDS_OFFSET;
    if (record >= 0) {
      log.writeRecord(record >>> 2, value);
      return;
    }
    switch (offset) {
      case R.globalCommand:
        this.#command(value);
        return;
      case R.faultStatus:
        log.clearStatus(value);
        if (!log.queueIsStopped) {
          queue.error = 0;
          queue.run();
        }
        return;
      case R.queueTail:
        queue.tail = value & 0x7_fff0;
        return;
      case R.invalidationStatus:
        this.#settleInvalidation(value);
        return;
      case R.pageRequestHead:
        pageRequests.head = value;
        return;
      case R.pageRequestTail:
        pageRequests.tail = value;
        return;
      case R.pageRequestStatus:
        pageRequests.clearStatus(value);
        return;
      default:
        if (this.#event(offset, value) === undefined) this.#store(offset, value);
    }
  }

  #settleInvalidation(value: number): void {
    if ((value & 1) === 0) return;
    this.#invalidationComplete = 0;
    this.#parts.invalidationEvent.settle();
  }

  /** Registers that are kept and decoded. */
  #store(offset: number, value: number): void {
    if (!STORED.has(offset)) return;
    this.#words[offset >>> 2] = value;
    const at = (offset & ~7) >>> 2;
    const words = this.#words;
    if ((offset & ~7) === R.queueAddress) {
      const { queue } = this.#parts;
      queue.frame = getField(words, at, VTD_QUEUE_ADDRESS.frame);
      queue.frames = 2 ** getField(words, at, VTD_QUEUE_ADDRESS.size);
      queue.wide = getField(words, at, VTD_QUEUE_ADDRESS.wideDescriptors) !== 0;
    } else if ((offset & ~7) === R.pageRequestAddress) {
      const { pageRequests } = this.#parts;
      pageRequests.place(
        getField(words, at, VTD_PAGE_REQUEST_ADDRESS.frame),
        2 ** getField(words, at, VTD_PAGE_REQUEST_ADDRESS.size),
      );
    }
  }

  /** § 11.4.4: one-shot commands, then enables. */
  #command(value: number): void {
    const { queue, interrupts, translator, capabilities } = this.#parts;
    const has = (field: { readonly low: number }): boolean => (value & bitOf(field)) !== 0;
    if (has(G.setRootTable)) this.#setRootTable();
    if (has(G.setInterruptTable)) this.#setInterruptTable();
    const enables = capabilities.interruptRemapping
      ? ENABLES | bitOf(G.compatibilityInterrupts)
      : ENABLES & ~bitOf(G.interruptRemapping);
    this.#status = (this.#status & ~enables) | (value & enables);
    translator.isEnabled = has(G.translation);
    interrupts.isEnabled = has(G.interruptRemapping) && capabilities.interruptRemapping;
    interrupts.passesCompatibility = has(G.compatibilityInterrupts);
    queue.isEnabled = has(G.queuedInvalidation);
  }

  #setRootTable(): void {
    const { contexts, capabilities } = this.#parts;
    const at = R.rootTable >>> 2;
    const mode = getField(this.#words, at, VTD_ROOT_TABLE_REGISTER.mode);
    const isMode =
      mode === VtdRootTableMode.legacy ||
      (mode === VtdRootTableMode.scalable && capabilities.scalable) ||
      (mode === VtdRootTableMode.abort && capabilities.abortDma);
    const next = isMode ? mode : UNSUPPORTED_MODE;
    // Contexts of the two modes are different things: those of another mode are no use.
    if (next !== contexts.mode) contexts.cache.drop();
    contexts.mode = next;
    contexts.isScalable = next !== VtdRootTableMode.legacy;
    contexts.rootLo = (this.#words[at] as number) & ~0xfff;
    contexts.rootHi = (this.#words[at + 1] as number) | 0;
    this.#status |= bitOf(G.setRootTable);
  }

  #setInterruptTable(): void {
    const { interrupts, capabilities } = this.#parts;
    const at = R.interruptTable >>> 2;
    interrupts.tableLo = (this.#words[at] as number) & ~0xfff;
    interrupts.tableHi = (this.#words[at + 1] as number) | 0;
    interrupts.entries = 2 ** (getField(this.#words, at, VTD_INTERRUPT_TABLE.size) + 1);
    const extended = getField(this.#words, at, VTD_INTERRUPT_TABLE.extendedMode) !== 0;
    interrupts.extendedMode = extended && capabilities.extendedInterrupts;
    this.#status |= bitOf(G.setInterruptTable);
  }

  /** Reads or writes a register of one of the three events; undefined when it is none. */
  #event(offset: number, value: number | undefined): number | undefined {
    const base =
      offset >= R.pageRequestEventControl
        ? R.pageRequestEventControl
        : offset >= R.invalidationEventControl
          ? R.invalidationEventControl
          : R.faultEventControl;
    const which = offset - base;
    if (which < 0 || which > 12) return undefined;
    const { faultEvent, invalidationEvent, pageRequestEvent } = this.#parts;
    const event =
      base === R.faultEventControl
        ? faultEvent
        : base === R.invalidationEventControl
          ? invalidationEvent
          : pageRequestEvent;
    const name = EVENT_REGISTERS[which >>> 2] as (typeof EVENT_REGISTERS)[number];
    if (value !== undefined) event[name] = value;
    return event[name] >>> 0;
  }
}

/** A root table mode that the unit does not have: every request is refused (fault 30h). */
const UNSUPPORTED_MODE = 2;
const EVENT_REGISTERS = ["control", "data", "address", "upperAddress"] as const;
/** Registers that keep what is written, and their upper halves. */
const STORED: ReadonlySet<number> = new Set(
  [R.rootTable, R.queueAddress, R.interruptTable, R.pageRequestAddress].flatMap((o) => [o, o + 4]),
);

function bitOf(field: { readonly low: number }): number {
  return 1 << field.low;
}
