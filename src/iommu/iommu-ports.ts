/** What an IOMMU sends: to devices, and to processors. */

/** An ATS invalidation message: PCIe 6 § 10.3. */
export interface DeviceTlbInvalidation {
  readonly requester: number;
  /** undefined without a PASID prefix. */
  readonly pasid: number | undefined;
  /** For every PASID of the device. */
  readonly global: boolean;
  /** First page frame, 52 bits, aligned to `pageCount`. */
  readonly frame: number;
  /** A power of two; 2^52 is everything. */
  readonly pageCount: number;
}

/** PCIe 6 § 10.4.2. */
export interface PageGroupResponse {
  readonly requester: number;
  readonly pasid: number | undefined;
  readonly groupIndex: number;
  /** 0 success, 1 invalid request, 15 failure. */
  readonly code: number;
}

export interface IommuPorts {
  /** @returns false when the device does not answer in time. */
  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): boolean;
  answerPageGroup(response: PageGroupResponse): void;
  /** An interrupt of the unit itself: a write of 4 bytes that is not remapped. */
  sendInterrupt(address: number, upperAddress: number, data: number): void;
}

/**
 * Told of each table entry that the unit reads from memory, in order; for traces.
 */
export interface WalkObserver {
  /**
   * @param structure what kind of entry it is.
   * @param level of a paging entry, 1 the lowest; else 0.
   * @param lo address of the entry, signed halves.
   * @param valueLo its first 8 bytes, signed halves.
   */
  entryRead(
    structure: WalkedStructure,
    level: number,
    lo: number,
    hi: number,
    valueLo: number,
    valueHi: number,
  ): void;
}

export type WalkedStructure =
  | "root-entry"
  | "context-entry"
  | "pasid-directory-entry"
  | "pasid-entry"
  | "stage1-entry"
  | "stage2-entry"
  | "interrupt-entry";
