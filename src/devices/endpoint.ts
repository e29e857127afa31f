/**
 * What the fabric sees of an endpoint: configuration registers, memory behind BARs, and the
 * messages that reach it. Implemented by engines and by stubs.
 */
import type { ConfigEffect, ConfigRegisters, PciFunction } from "../pcie/index.js";
import type { Pasid } from "../units/index.js";
import type { PlainBar } from "./plain-bar.js";
import type { PageResponse } from "./transaction.js";

/** An invalidation request for a device TLB (PCIe 6 § 10.3.1). */
export interface AtcInvalidation {
  /** Absent: translations without PASID. */
  readonly pasid: Pasid | undefined;
  /** First page, aligned to the count. */
  readonly pfn: number;
  /** A power of two; 2^52 means all. */
  readonly pageCount: number;
  /** The address counts for every PASID (Global Invalidate). */
  readonly global: boolean;
}

/** The answer to a page request group (§ 10.4.2). */
export interface PageGroupAnswer {
  readonly pasid: Pasid | undefined;
  readonly group: number;
  readonly code: PageResponse;
}

export interface Endpoint {
  readonly fn: PciFunction;
  readonly registers: ConfigRegisters;
  /**
   * Bytes behind a BAR. `offset` and `length` stay inside the BAR and inside one 4 KiB page.
   */
  readBar(bar: number, offset: number, length: number): Uint8Array;
  writeBar(bar: number, offset: number, data: Uint8Array): void;
  /**
   * What is behind a BAR without registers: programs may map it. Undefined: reads or writes have
   * effects.
   */
  plainBar?(bar: number): PlainBar | undefined;
  /** A write to configuration space had these effects; registers have changed already. */
  configWritten(effects: readonly ConfigEffect[]): void;
  invalidateAtc(request: AtcInvalidation): void;
  pageResponse(answer: PageGroupAnswer): void;
}
