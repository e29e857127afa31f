/**
 * What every IOMMU can do, whatever its make.
 *
 * A unit is hardware: software controls it through its registers and through tables and queues in
 * memory, and in no other way. It knows no topology; which devices' requests reach it is the
 * platform's affair. A register write takes effect before the call returns: queued commands are
 * executed, their invalidations sent and their status words written.
 */
import type { WalkObserver } from "./iommu-ports.js";
import type {
  DmaAnswer,
  DmaRequest,
  InterruptAnswer,
  InterruptRequest,
  PageRequestAnswer,
  PageRequestMessage,
} from "./translation.js";

export interface Iommu {
  readonly name: string;
  /** `vtd`: Intel; `single-table`: one table for all, whoever asks. */
  readonly kind: "vtd" | "single-table";
  /** Told of every table entry read, while set. */
  observer: WalkObserver | undefined;
  /** Entries read from memory so far. */
  readonly memoryReads: number;

  /**
   * Serves untranslated requests, translation requests and translated requests.
   * @param answer is overwritten.
   */
  translate(request: DmaRequest, answer: DmaAnswer): void;
  /** Serves a write to the interrupt range. */
  interrupt(request: InterruptRequest): InterruptAnswer;
  pageRequest(message: PageRequestMessage): PageRequestAnswer;

  /** Registers; offsets are bytes, aligned. An offset without a register reads zero. */
  readRegister32(offset: number): number;
  writeRegister32(offset: number, value: number): void;
  readRegister64(offset: number): bigint;
  writeRegister64(offset: number, value: bigint): void;

  /** What its caches hold now, stale or not. */
  inspect(): IommuCaches;
  /** The words for a fault's code. */
  faultName(reason: number): string;
}

export interface IommuCaches {
  readonly iotlb: readonly CachedTranslation[];
  readonly contexts: readonly CachedContext[];
  readonly pasids: readonly CachedPasid[];
  readonly interrupts: readonly CachedInterrupt[];
}

/** A translation in the IOTLB. */
export interface CachedTranslation {
  readonly domainId: number;
  /** undefined for those of stage 2 alone, which every PASID of the domain shares. */
  readonly pasid: number | undefined;
  /** Of the page's first frame, on the device's side. */
  readonly frame: number;
  readonly target: number;
  readonly pageShift: number;
  readonly readable: boolean;
  readonly writable: boolean;
}

export interface CachedContext {
  readonly requester: number;
  readonly domainId: number | undefined;
  /** First frame of the stage-2 table or of the PASID directory. */
  readonly table: number;
}

export interface CachedPasid {
  readonly requester: number;
  readonly pasid: number;
  readonly domainId: number;
  readonly translation: "stage1" | "stage2" | "nested" | "pass-through";
  readonly stage1Table: number;
  readonly stage2Table: number;
}

export interface CachedInterrupt {
  readonly index: number;
  readonly vector: number;
  readonly destination: number;
}
