/**
 * The file of an event queue of a virtual IOMMU. It never waits. Linux iommufd_veventq_fops_read().
 */
import {
  encodeIommufdVeventHeader,
  IOMMU_VEVENTQ_FLAG_LOST_EVENTS,
  UapiError,
} from "../abi/index.js";
import { type Call, FileKind, type OpenFile, Poll } from "../files/index.js";
import { EVENT_HEADER_BYTES, type EventQueue } from "./event-queue.js";
import type { OpenContext } from "./open-context.js";

/** See the head of the file. */
export class EventFile implements OpenFile {
  readonly kind = FileKind.eventQueue;
  readonly label = "anon_inode:[iommufd-viommu-event]";
  onPoll?: (() => void) | undefined;
  readonly #queue: EventQueue;
  readonly #letGo: () => void;

  constructor(context: OpenContext, queue: EventQueue) {
    this.#queue = queue;
    this.#letGo = context.hold();
    queue.onChange = () => this.onPoll?.();
  }

  /** Whole events, each a header and its data; nothing when there are none. */
  read(_call: Call, length: number, offset: bigint | undefined): Uint8Array {
    if ((offset ?? 0n) !== 0n) {
      throw new UapiError("ESPIPE", "events are read from the beginning", {
        cite: "Linux iommufd_veventq_fops_read()",
      });
    }
    const events = this.#queue.read(length);
    let size = 0;
    for (const { data } of events) size += EVENT_HEADER_BYTES + (data?.length ?? 0);
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const { sequence, data } of events) {
      const flags = data === undefined ? IOMMU_VEVENTQ_FLAG_LOST_EVENTS : 0;
      encodeIommufdVeventHeader({ flags, sequence }, view, at);
      at += EVENT_HEADER_BYTES;
      if (data === undefined) continue;
      bytes.set(data, at);
      at += data.length;
    }
    return bytes;
  }

  poll(): number {
    return this.#queue.unread > 0 ? Poll.in : 0;
  }

  release(): void {
    this.#queue.onChange = undefined;
    this.#queue.closeFile();
    this.#letGo();
  }
}
