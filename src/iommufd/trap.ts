/**
 * Traps: calls that succeed, or fail in a way that programs are known to ignore, while something
 * else happened than the caller most likely wanted. Linux says nothing; a strict context tells.
 */

/** Which rule of the interface surprised somebody. */
export type TrapKind =
  /** VFIO unmap: success, but nothing was mapped in the range. */
  | "unmap-of-nothing"
  /** VFIO or IOMMU_IOAS_UNMAP: success, but less was removed than the range covers. */
  | "unmap-shorter"
  /** An unmap was refused, and mappings before the one refused are gone. */
  | "unmap-in-part"
  /** A map was refused because its addresses are mapped: programs take that for success. */
  | "mapped-already"
  /** A dirty bitmap ended early at an address that is not mapped. */
  | "dirty-hole"
  /** Dirty bits were lost: their place in the caller's bitmap cannot be written. */
  | "dirty-bitmap-lost";

export interface Trap {
  readonly kind: TrapKind;
  readonly pid: number;
  readonly tid: number;
  /** Name of the call. */
  readonly call: string;
  readonly iova: bigint;
  /** Bytes asked for. */
  readonly length: bigint;
  /** Bytes done, where that is known. */
  readonly done?: bigint | undefined;
}
