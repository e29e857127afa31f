/** What physical memory is told and tells. */
import type { AllocationPort } from "./allocation-port.js";
import type { BackingObject } from "./backing-object.js";

/** Who a table frame belongs to; compared by identity. */
export interface FrameOwner {
  readonly label: string;
}

/** What a frame is used for. */
export type FrameUse =
  | { readonly kind: "table"; readonly owner: FrameOwner }
  | { readonly kind: "user"; readonly backing: BackingObject; readonly page: number }
  | { readonly kind: "mmio"; readonly label: string }
  | { readonly kind: "interrupt" };

export interface PhysicalMemoryOptions {
  readonly allocations?: AllocationPort;
  /** First of the frames handed out as tables; default 4 GiB. */
  readonly poolFirst?: number;
  /** How many; default and most 2^20 (4 GiB of tables). */
  readonly poolFrames?: number;
  /** Where user memory is placed from; default 64 GiB. */
  readonly userFirst?: number;
}

export interface UserMemoryOptions {
  /** Its first frame, a multiple of 512; chosen when absent. */
  readonly first?: number;
  /**
   * Pages that lie together, a power of two: neighbouring runs of that many are exchanged. Absent:
   * all lie together.
   */
  readonly runPages?: number;
}
