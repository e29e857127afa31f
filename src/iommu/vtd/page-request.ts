/**
 * Page requests: VT-d 5.0 § 7.4-7.6, § 11.4.28-11.4.31.
 *
 * A device asks for a page; the unit puts the request into a ring in memory, from which software
 * takes it and answers with a page group response. Of a request that cannot be queued the unit
 * answers the last of the group itself and drops the others.
 */
import {
  buildWords,
  PageResponseCode,
  VTD_PAGE_REQUEST,
  VTD_PAGE_REQUEST_TYPE,
  VTD_PAGE_REQUEST_WORDS,
  VtdFault,
  VtdRootTableMode,
} from "../../formats/index.js";
import { MemoryStatus, type PhysicalMemory } from "../../memory/index.js";
import type { PageRequestAnswer, PageRequestMessage } from "../translation.js";
import type { VtdCapabilities } from "./capabilities.js";
import { ContextFlag, ContextWord, type DeviceTable } from "./device-table.js";
import type { UnitEvent } from "./event.js";
import type { EventLog } from "./event-log.js";

const REQUEST_BYTES = VTD_PAGE_REQUEST_WORDS * 4;
const PENDING = 1;
const OVERFLOW = 2;

export interface PageRequestParts {
  readonly memory: PhysicalMemory;
  readonly capabilities: VtdCapabilities;
  readonly contexts: DeviceTable;
  readonly log: EventLog;
  readonly event: UnitEvent;
}

export class PageRequestQueue {
  readonly #parts: PageRequestParts;
  #frame = 0;
  #frames = 1;
  /** Bytes from the first request on. */
  #head = 0;
  #tail = 0;
  #status = 0;

  constructor(parts: PageRequestParts) {
    this.#parts = parts;
  }

  /** Places the ring: its first frame, and how many (PQA). Head and tail stay inside. */
  place(frame: number, frames: number): void {
    this.#frame = frame;
    this.#frames = frames;
    this.head = this.#head;
    this.tail = this.#tail;
  }

  get head(): number {
    return this.#head;
  }

  /** Software has taken the requests before this one. */
  set head(value: number) {
    this.#head = value & (this.#bytes - 1) & ~(REQUEST_BYTES - 1);
  }

  get tail(): number {
    return this.#tail;
  }

  /** Software may set it while nothing is in flight. */
  set tail(value: number) {
    this.#tail = value & (this.#bytes - 1) & ~(REQUEST_BYTES - 1);
  }

  get status(): number {
    return this.#status;
  }

  clearStatus(value: number): void {
    this.#status &= ~(value & (PENDING | OVERFLOW));
    if (this.#status === 0) this.#parts.event.settle();
  }

  get #bytes(): number {
    return this.#frames * 4096;
  }

  /**
   * Serves a page request message.
   * @param isEnabled translation is enabled.
   */
  receive(message: PageRequestMessage, isEnabled: boolean): PageRequestAnswer {
    const reason = isEnabled ? this.#check(message) : VtdFault.pageRequestInLegacyMode;
    if (reason !== 0) {
      const { requester, pasid, frame } = message;
      const silent = !isEnabled || this.#parts.contexts.silent;
      if (!silent) this.#parts.log.recordPageRequest(requester, pasid, frame, reason);
      return answered(message, PageResponseCode.invalidRequest, reason);
    }
    const next = (this.#tail + REQUEST_BYTES) & (this.#bytes - 1);
    if ((this.#status & OVERFLOW) !== 0 || next === this.#head) {
      this.#raise(OVERFLOW);
      // Success makes the device ask for its translation again, and then for the page.
      return answered(message, PageResponseCode.success, undefined);
    }
    if (!this.#store(message)) {
      return answered(message, PageResponseCode.failure, undefined);
    }
    this.#tail = next;
    this.#raise(PENDING);
    return { kind: "queued" };
  }

  /** § 7.4: may this device ask, with this PASID? */
  #check(message: PageRequestMessage): number {
    const { contexts, capabilities } = this.#parts;
    if (!capabilities.pageRequests || contexts.mode !== VtdRootTableMode.scalable) {
      return VtdFault.pageRequestInLegacyMode;
    }
    const fault = contexts.lookup(message.requester);
    if (fault !== 0) return fault;
    const { data } = contexts.cache;
    const flags = data[contexts.line + ContextWord.flags] as number;
    contexts.silent = (flags & ContextFlag.faultProcessingDisable) !== 0;
    if ((flags & ContextFlag.pageRequests) === 0) return VtdFault.pageRequestDisabled;
    const { pasid } = message;
    if (pasid === undefined) return 0;
    if ((flags & ContextFlag.pasid) === 0) return VtdFault.pasidDisabled;
    const high = data[contexts.line + ContextWord.pasidHigh] as number;
    return (pasid & high) === 0 ? 0 : VtdFault.pasidBeyondDirectory;
  }

  #store(message: PageRequestMessage): boolean {
    const words = buildWords(VTD_PAGE_REQUEST, VTD_PAGE_REQUEST_WORDS, {
      type: VTD_PAGE_REQUEST_TYPE,
      pasidPresent: message.pasid !== undefined,
      requesterId: message.requester,
      pasid: message.pasid ?? 0,
      execute: message.execute,
      privileged: message.privileged,
      read: message.read,
      write: message.write,
      lastPage: message.last,
      groupIndex: message.groupIndex,
      frame: message.frame,
    });
    const pfn = this.#frame + (this.#tail >>> 12);
    const bytes = new Uint8Array(words.buffer);
    return this.#parts.memory.write(pfn, this.#tail & 0xfff, bytes) === MemoryStatus.ok;
  }

  #raise(bit: number): void {
    const wasQuiet = this.#status === 0;
    this.#status |= bit;
    if (wasQuiet) this.#parts.event.raise();
  }
}

function answered(
  message: PageRequestMessage,
  code: number,
  reason: number | undefined,
): PageRequestAnswer {
  return { kind: "answered", code: message.last ? code : undefined, reason };
}
