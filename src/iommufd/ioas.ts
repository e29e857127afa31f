/**
 * IOAS: one I/O address space as an object, with the page tables that show it.
 */

import type { PagingDomain } from "../driver/index.js";
import { IoPagetable, type SpaceTables } from "./io-pagetable.js";
import { U64_MAX } from "./limits.js";
import type { IommufdObject } from "./object-table.js";
import { Unmapped, unmapRange } from "./space-unmap.js";

/** A page table of a space: its id finds the object. */
export interface PageTableOf {
  readonly id: number;
  readonly auto: boolean;
  readonly domain: PagingDomain;
}

/** One address space. */
export class Ioas implements IommufdObject {
  readonly kind = "ioas";
  readonly id: number;
  readonly space: IoPagetable;
  /** Page tables of this space, oldest first. */
  readonly hwpts: PageTableOf[] = [];
  /** Only page tables that force coherency may be added. */
  readonly enforceCoherency: boolean;
  users = 0;
  /** Undoes what software nesting set up; set by it. */
  onDestroy: (() => void) | undefined;

  constructor(id: number, tables: SpaceTables, enforceCoherency = false) {
    this.id = id;
    this.space = new IoPagetable(tables);
    this.enforceCoherency = enforceCoherency;
  }

  destroy(): void {
    this.onDestroy?.();
    unmapAll(this.space);
  }
}

/** Removes every area. */
export function unmapAll(space: IoPagetable, removed = new Unmapped()): bigint {
  const last = Number(U64_MAX >> 12n);
  unmapRange(space, 0, 0, last, 4095, removed);
  return removed.total;
}
