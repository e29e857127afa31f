/** Mappings that a hardware queue reads from cannot be removed: a lock count by row. */
import type { IoPagetable } from "./io-pagetable.js";
import { offsetOf, pageOf } from "./position.js";

/** Locks every area that touches the range. @returns their rows. */
export function lockPages(space: IoPagetable, iova: bigint, length: bigint): readonly number[] {
  const last = iova + length - 1n;
  const { areas } = space;
  const lastPage = pageOf(last);
  const rows: number[] = [];
  areas.seekEnding(pageOf(iova), offsetOf(iova));
  for (; areas.found && areas.firstPage <= lastPage; areas.next()) {
    if (areas.firstPage === lastPage && areas.rows.firstOffset(areas.row) > offsetOf(last)) break;
    rows.push(areas.row);
  }
  for (const row of rows) space.locks.set(row, (space.locks.get(row) ?? 0) + 1);
  return rows;
}

export function unlockPages(space: IoPagetable, rows: readonly number[]): void {
  for (const row of rows) {
    const count = (space.locks.get(row) ?? 1) - 1;
    if (count === 0) space.locks.delete(row);
    else space.locks.set(row, count);
  }
}
