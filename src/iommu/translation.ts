/**
 * A request as an IOMMU sees it, and its answer: two records that callers reuse.
 *
 * Fields are small integers and booleans, addresses are two signed 32-bit halves, so that a request
 * costs no allocation. The fabric's own record (`pcie`) is turned into this one by the platform.
 */

/** What a request wants; an atomic operation both reads and writes. */
export const DmaAccess = { read: 1, write: 2, atomic: 3 } as const;
export type DmaAccess = (typeof DmaAccess)[keyof typeof DmaAccess];

/** PCIe 6 § 10.2.2. */
export const DmaAddressType = { untranslated: 0, translationRequest: 1, translated: 2 } as const;
export type DmaAddressType = (typeof DmaAddressType)[keyof typeof DmaAddressType];

/** A memory request as it reaches a unit. */
export class DmaRequest {
  /** 16 bits. */
  requester = 0;
  /** Of a translation request: `read` when it asks for no right to write (NW), else `write`. */
  access: DmaAccess = DmaAccess.read;
  addressType: DmaAddressType = DmaAddressType.untranslated;
  /** With a PASID prefix; without one `pasid`, `privileged` and `execute` do not count. */
  hasPasid = false;
  pasid = 0;
  privileged = false;
  execute = false;
  noSnoop = false;
  /** The address, signed halves. */
  lo = 0;
  hi = 0;
  /** Bytes, 1 to 4096, not past the end of the page; 0 is a zero-length read (PCIe 6 § 2.2.7). */
  length = 4;
}

/**
 * How a request ended.
 * `translated`   goes on with the address in the answer
 * `interrupt`    it is an interrupt request: hand it to {@link Iommu.interrupt}
 * `fault`        refused; `reason` says why, and the unit has recorded it unless told not to
 * `completed`    a translation request is answered: success, with the rights in the answer (none at
 *                all when the page is not there)
 */
export const DmaStatus = { translated: 0, interrupt: 1, fault: 2, completed: 3 } as const;
export type DmaStatus = (typeof DmaStatus)[keyof typeof DmaStatus];

/** Where an answer came from. */
export const DmaSource = { bypass: 0, cache: 1, walk: 2 } as const;
export type DmaSource = (typeof DmaSource)[keyof typeof DmaSource];

/** Bits of a translated page's rights, and of what else is true of it. */
export const PageRight = { read: 1, write: 2, execute: 4, privilegedPage: 8, snooped: 16 } as const;

/** PCIe 6 § 2.2.9.1. */
export const CompletionStatus = { success: 0, unsupportedRequest: 1, completerAbort: 4 } as const;
export type CompletionStatus = (typeof CompletionStatus)[keyof typeof CompletionStatus];

export type CompletionName = "success" | "unsupported-request" | "completer-abort";

const COMPLETIONS: Readonly<Record<CompletionName, CompletionStatus>> = {
  success: CompletionStatus.success,
  "unsupported-request": CompletionStatus.unsupportedRequest,
  "completer-abort": CompletionStatus.completerAbort,
};

/** What a unit says to a request. */
export class DmaAnswer {
  status: DmaStatus = DmaStatus.fault;
  /** The translated address, signed halves. For translation requests of the page's first byte. */
  lo = 0;
  hi = 0;
  /** 12, 21 or 30: the page that the translation covers; 63 when nothing is translated. */
  pageShift = 12;
  /** What requests of this privilege may do with the page: bits of {@link PageRight}. */
  rights = 0;
  /** Of a fault: the unit's own code, for VT-d one of `VtdFault`. */
  reason = 0;
  /** Of a refused translation request: how it completes; PCIe 6 § 10.2.3. */
  completionStatus: CompletionStatus = CompletionStatus.success;
  /** The fault was put into the unit's fault log (or found it full). */
  recorded = false;
  source: DmaSource = DmaSource.bypass;
  /** The domain tag of the entry used; undefined when none was. */
  domainId: number | undefined = undefined;

  get readable(): boolean {
    return (this.rights & PageRight.read) !== 0;
  }

  set readable(value: boolean) {
    this.#setRight(PageRight.read, value);
  }

  get writable(): boolean {
    return (this.rights & PageRight.write) !== 0;
  }

  set writable(value: boolean) {
    this.#setRight(PageRight.write, value);
  }

  get executable(): boolean {
    return (this.rights & PageRight.execute) !== 0;
  }

  set executable(value: boolean) {
    this.#setRight(PageRight.execute, value);
  }

  /** The page is one of the kernel's (stage 1 without U/S). */
  get privilegedPage(): boolean {
    return (this.rights & PageRight.privilegedPage) !== 0;
  }

  set privilegedPage(value: boolean) {
    this.#setRight(PageRight.privilegedPage, value);
  }

  /** The access is snooped: it did not ask otherwise, or is not asked. */
  get snooped(): boolean {
    return (this.rights & PageRight.snooped) !== 0;
  }

  set snooped(value: boolean) {
    this.#setRight(PageRight.snooped, value);
  }

  /** {@link completionStatus} in words. */
  get completion(): CompletionName {
    switch (this.completionStatus) {
      case CompletionStatus.success:
        return "success";
      case CompletionStatus.unsupportedRequest:
        return "unsupported-request";
      default:
        return "completer-abort";
    }
  }

  set completion(name: CompletionName) {
    this.completionStatus = COMPLETIONS[name];
  }

  #setRight(bit: number, value: boolean): void {
    this.rights = value ? this.rights | bit : this.rights & ~bit;
  }
}

/** A write to the interrupt range. */
export interface InterruptRequest {
  readonly requester: number;
  /** Low 32 bits of the address, FEExxxxxh. */
  readonly address: number;
  /** High 32 bits, zero but for malformed ones. */
  readonly upperAddress: number;
  readonly data: number;
}

/** `delivered` carries what reaches the processors; `fault` a code as in {@link DmaAnswer}. */
export type InterruptAnswer =
  | { readonly kind: "delivered"; readonly remapped: boolean; readonly interrupt: Interrupt }
  | { readonly kind: "fault"; readonly reason: number; readonly index: number | undefined };

export interface Interrupt {
  readonly vector: number;
  /** APIC id. */
  readonly destination: number;
  readonly destinationMode: "physical" | "logical";
  /** 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT. */
  readonly deliveryMode: number;
  readonly trigger: "edge" | "level";
  /** The table's entry; undefined when the message named its target itself. */
  readonly index: number | undefined;
}

/** A page request message that reached the unit: PCIe 6 § 10.4.1. */
export interface PageRequestMessage {
  readonly requester: number;
  /** undefined without a PASID prefix. */
  readonly pasid: number | undefined;
  readonly privileged: boolean;
  readonly execute: boolean;
  readonly read: boolean;
  readonly write: boolean;
  /** Last of its group. */
  readonly last: boolean;
  /** 9 bits. */
  readonly groupIndex: number;
  /** Page frame of the address, 52 bits. */
  readonly frame: number;
}

/**
 * `queued`     software will see it
 * `answered`   the unit answered by itself with this code, or dropped it (no code: not the last of
 *              its group)
 */
export type PageRequestAnswer =
  | { readonly kind: "queued" }
  | {
      readonly kind: "answered";
      readonly code: number | undefined;
      readonly reason: number | undefined;
    };
