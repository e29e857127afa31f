/**
 * Removing areas from a space. Linux iopt_unmap_iova_range().
 *
 * Areas are removed one by one in ascending order, each whole; a refusal leaves those before it
 * removed. An area that accesses pin is closed to new pins first, and its holders are asked to let
 * go; so are spaces that were copied from it by software nesting.
 */
import { UapiError } from "../abi/index.js";
import { AreaFlag } from "./area-rows.js";
import type { IoPagetable } from "./io-pagetable.js";
import { UNMAP_NOTIFICATIONS_MAX } from "./limits.js";
import { addressOf } from "./position.js";

const CITE = "Linux iopt_unmap_iova_range()";

/** Pages and bytes removed so far; reused. */
export class Unmapped {
  pages = 0;
  bytes = 0;

  get isNothing(): boolean {
    return this.pages === 0 && this.bytes === 0;
  }

  get total(): bigint {
    const { pages, bytes } = this;
    // Exact below 2^53.
    if (pages < 2 ** 40) return BigInt(pages * 4096 + bytes);
    return (BigInt(pages) << 12n) + BigInt(bytes);
  }
}

/**
 * Removes every area from first to last.
 * @throws UapiError ENOENT (an area reaches out of the range), EBUSY (locked by a hardware queue),
 * EDEADLK (a holder keeps its pins).
 */
export function unmapRange(
  space: IoPagetable,
  firstPage: number,
  firstOffset: number,
  lastPage: number,
  lastOffset: number,
  removed: Unmapped,
): void {
  const { areas } = space;
  const { rows } = areas;
  let tries = 0;
  let page = firstPage;
  let offset = firstOffset;
  for (;;) {
    areas.seekEnding(page, offset);
    if (!areas.found) return;
    const { row } = areas;
    const areaPage = areas.firstPage;
    const areaOffset = rows.firstOffset(row);
    if (areaPage > lastPage || (areaPage === lastPage && areaOffset > lastOffset)) return;
    const endPage = rows.lastPage(row);
    const endOffset = rows.lastOffset(row);
    if (space.locks.has(row)) throw busy(areaPage, areaOffset);
    const startsBefore = areaPage < page || (areaPage === page && areaOffset < offset);
    const endsAfter = endPage > lastPage || (endPage === lastPage && endOffset > lastOffset);
    if (startsBefore || endsAfter) {
      throw new UapiError("ENOENT", "the range covers a mapping only in part", {
        evidence: [{ kind: "area", windows: [spanOf(areaPage, areaOffset, endPage, endOffset)] }],
        cite: CITE,
      });
    }
    if (space.accessPins.has(row)) {
      rows.setFlags(row, rows.flags(row) | AreaFlag.closed);
      notify(space, areaPage, areaOffset, endPage, endOffset);
      if (++tries > UNMAP_NOTIFICATIONS_MAX) throw deadlock(areaPage, areaOffset);
      continue;
    }
    tries = 0;
    if (space.children.size > 0) {
      const first = addressOf(areaPage, areaOffset);
      for (const child of space.children) child.parentUnmaps(first);
      areas.seekEnding(page, offset);
    }
    space.removeAtPosition();
    removed.pages += endPage - areaPage;
    removed.bytes += endOffset - areaOffset + 1;
    page = endOffset === 4095 ? endPage + 1 : endPage;
    offset = endOffset === 4095 ? 0 : endOffset + 1;
    if (page > lastPage || (page === lastPage && offset > lastOffset)) return;
  }
}

/** Tells every access that some addresses go away. */
export function notify(
  space: IoPagetable,
  firstPage: number,
  firstOffset: number,
  lastPage: number,
  lastOffset: number,
): void {
  const first = addressOf(firstPage, firstOffset);
  const length = addressOf(lastPage, lastOffset) - first + 1n;
  for (const access of [...space.accesses]) if (!access.internal) access.unmap(first, length);
}

function spanOf(firstPage: number, firstOffset: number, lastPage: number, lastOffset: number) {
  return { first: addressOf(firstPage, firstOffset), last: addressOf(lastPage, lastOffset) };
}

function busy(page: number, offset: number): UapiError {
  return new UapiError("EBUSY", "a hardware queue lies in the mapping", {
    evidence: [{ kind: "area-locked", iova: addressOf(page, offset) }],
    cite: CITE,
  });
}

function deadlock(page: number, offset: number): UapiError {
  return new UapiError("EDEADLK", "an access does not let go of its pages", {
    evidence: [{ kind: "area-pinned", iova: addressOf(page, offset) }],
    cite: CITE,
  });
}
