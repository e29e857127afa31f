/**
 * What a device puts on its link, and what comes back: PCIe 6 § 2.2.7 (memory requests), § 2.2.9
 * (completions), § 10.2 (translation requests), § 10.4 (page requests).
 *
 * A device knows nothing of routing, translation or memory. It hands a request to its
 * {@link DevicePort} and gets a completion; a posted write gets none, whatever became of it.
 */
import type { MemoryRequest } from "../pcie/index.js";
import type { Pasid } from "../units/index.js";

export interface DeviceRequest {
  /** As it leaves the device: a forged requester ID stands here too. */
  readonly tlp: MemoryRequest;
  /** Writes and atomics: `tlp.length` bytes. Not kept by whoever gets it. */
  readonly data?: Uint8Array | undefined;
}

/** The answer to a translation request (§ 10.2.3.2). Neither read nor write: nothing is mapped. */
export interface TranslationCompletion {
  /** First frame of the translated range. */
  readonly pfn: number;
  /** Size of the range in pages, a power of two. */
  readonly pageCount: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly privileged: boolean;
  /** Valid for every PASID (§ 10.2.3.5). */
  readonly global: boolean;
  /** The address may be used in untranslated requests only (U). */
  readonly untranslatedOnly: boolean;
  /** Accesses must be snooped (N clear) or need not (N set). */
  readonly noSnoop: boolean;
}

export type DeviceCompletion =
  /** Posted: nothing comes back. */
  | { readonly kind: "posted" }
  /** Reads and atomics: the bytes, or the bytes that were there before. */
  | { readonly kind: "data"; readonly data: Uint8Array }
  | { readonly kind: "translation"; readonly translation: TranslationCompletion }
  | { readonly kind: "unsupported-request" | "completer-abort" }
  /** Nobody answers a packet that was discarded as malformed; the requester's timer ends it. */
  | { readonly kind: "timeout" };

/** A page request message (§ 10.4.1). */
export interface PageRequestMessage {
  /** The page wanted. */
  readonly pfn: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly privileged: boolean;
  readonly pasid: Pasid | undefined;
  /** Page request group index, 9 bits. */
  readonly group: number;
  /** Last request of its group: a response is wanted. */
  readonly last: boolean;
}

/** Response codes of a page request group response (§ 10.4.2.1). */
export const PageResponse = { Success: 0x0, InvalidRequest: 0x1, ResponseFailure: 0xf } as const;
export type PageResponse = (typeof PageResponse)[keyof typeof PageResponse];

/** The link as its device sees it. */
export interface DevicePort {
  /** Sends one request and waits for its completion. */
  issue(request: DeviceRequest): DeviceCompletion;
  /**
   * Sends a page request message; its answer comes through {@link Endpoint.pageResponse}, at once
   * or later.
   */
  requestPage(message: PageRequestMessage): void;
  /** The interrupt pin goes up or down (PCIe 6 § 6.1.2). Absent: nobody listens. */
  pin?(up: boolean): void;
}
