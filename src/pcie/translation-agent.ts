/**
 * The port to whatever answers the root complex: an IOMMU, or nothing.
 *
 * The fabric does not know what translation is. It hands over the request as it arrives (the
 * requester ID may be that of a bridge) and obeys the answer. PCIe 6 § 10.1.
 */
import type { Rid } from "../units/index.js";
import type { AddressType, MemoryAccess, PasidPrefix } from "./tlp.js";

/** A request as it leaves the fabric at the root complex. */
export interface ArrivedRequest {
  readonly segment: number;
  /** As it arrives: replaced by bridges to conventional buses on the way. */
  readonly requester: Rid;
  readonly prefix: PasidPrefix | undefined;
  readonly addressType: AddressType;
  readonly access: MemoryAccess;
  readonly pfn: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * `translated`  go on with this address: to memory, or down again when a window of a root bus
 * claims it
 * `completed`   a translation request was answered; nothing travels on
 * `refused`     the access is not allowed; `reason` is the agent's own word for it
 */
export type TranslationAnswer =
  | { readonly kind: "translated"; readonly pfn: number; readonly offset: number }
  | { readonly kind: "completed" }
  | { readonly kind: "refused"; readonly reason: string };

export interface TranslationAgent {
  translate(request: ArrivedRequest): TranslationAnswer;
}

/** No IOMMU: every request keeps its address (and translation requests are refused, § 10.2.3). */
export const PASS_THROUGH_AGENT: TranslationAgent = {
  translate: (request) =>
    request.addressType === "translation-request"
      ? { kind: "refused", reason: "no translation agent" }
      : { kind: "translated", pfn: request.pfn, offset: request.offset },
};
