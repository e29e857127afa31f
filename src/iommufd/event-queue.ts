/**
 * vEVENTQ: events of a virtual IOMMU for its user. Linux eventq.c, viommu.c.
 *
 * Each event has a sequence number, lost ones included. When the queue is full, one mark at its
 * tail says that events were lost and carries the number of the last; it goes when an event fits
 * again.
 */
import { UapiError } from "../abi/index.js";
import type { IommufdObject } from "./object-table.js";
import type { Viommu } from "./viommu.js";

/** Bytes of a header. */
export const EVENT_HEADER_BYTES = 8;
const SEQUENCE_MAX = 2 ** 31 - 1;

export interface VirtualEvent {
  readonly sequence: number;
  /** Undefined: events were lost, up to this sequence number. */
  readonly data: Uint8Array | undefined;
}

/** One event queue of a vIOMMU. */
export class EventQueue implements IommufdObject {
  readonly kind = "veventq";
  readonly id: number;
  readonly viommu: Viommu;
  readonly type: number;
  readonly depth: number;
  /** The open file is a user. */
  users = 1;
  /** The file's: there is more, or less, to read. */
  onChange: (() => void) | undefined;
  readonly #events: VirtualEvent[] = [];
  #lost: VirtualEvent | undefined;
  #sequence = 0;
  #isOpen = true;

  constructor(id: number, viommu: Viommu, type: number, depth: number) {
    this.id = id;
    this.viommu = viommu;
    this.type = type;
    this.depth = depth;
    viommu.users++;
    viommu.queues.set(type, this);
  }

  /** Events to be read, the mark of lost ones included. */
  get unread(): number {
    return this.#events.length + (this.#lost === undefined ? 0 : 1);
  }

  report(data: Uint8Array): void {
    const sequence = this.#sequence;
    this.#sequence = sequence === SEQUENCE_MAX ? 0 : sequence + 1;
    if (this.#events.length >= this.depth) this.#lost = { sequence, data: undefined };
    else {
      this.#lost = undefined;
      this.#events.push({ sequence, data });
    }
    this.onChange?.();
  }

  /**
   * Whole events, as many as fit into so many bytes; empty when there are none.
   * @throws UapiError EINVAL when a header, or the first event, does not fit.
   */
  read(maxBytes: number): VirtualEvent[] {
    const out: VirtualEvent[] = [];
    let left = maxBytes;
    if (left < EVENT_HEADER_BYTES) throw tooSmall();
    for (;;) {
      const event = this.#events[out.length] ?? this.#lost;
      if (event === undefined || out.at(-1) === event) break;
      const size = EVENT_HEADER_BYTES + (event.data?.length ?? 0);
      if (size > left) break;
      out.push(event);
      left -= size;
    }
    if (out.length === 0 && this.unread > 0) throw tooSmall();
    if (out.at(-1) === this.#lost && out.length > 0) this.#lost = undefined;
    this.#events.splice(0, out.length);
    if (out.length > 0) this.onChange?.();
    return out;
  }

  closeFile(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.users--;
  }

  destroy(): void {
    this.viommu.queues.delete(this.type);
    this.viommu.users--;
  }
}

function tooSmall(): UapiError {
  return new UapiError("EINVAL", "the first event does not fit", {
    cite: "Linux iommufd_veventq_fops_read()",
  });
}
