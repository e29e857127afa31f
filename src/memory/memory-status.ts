/** How an access to physical memory ended. */
export const MemoryStatus = {
  ok: 0,
  /** Nothing is there. */
  absent: 1,
  /** The memory is there and its data is lost; reads fail, a write of the whole frame mends it. */
  poisoned: 2,
  /** The frame refuses reads and writes. */
  violation: 3,
  /** The address belongs to a device: the fabric serves it, not memory. */
  mmio: 4,
  /** The interrupt range FEE0_0000h-FEEF_FFFFh. */
  interrupt: 5,
} as const;

export type MemoryStatus = (typeof MemoryStatus)[keyof typeof MemoryStatus];

const NAMES = Object.keys(MemoryStatus) as (keyof typeof MemoryStatus)[];

/** The status in a word. */
export function memoryStatusName(status: MemoryStatus): keyof typeof MemoryStatus {
  return NAMES[status] as keyof typeof MemoryStatus;
}
