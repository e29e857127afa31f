/**
 * Cutting an area in two, so that a part of it can be removed. Linux iopt_cut_iova().
 *
 * Only type1 programs of the first version ask for it, and only with large pages off: then every
 * page of the area stands by itself in each page table, and what is mapped there stays.
 */
import { UapiError } from "../abi/index.js";
import { AreaFlag } from "./area-rows.js";
import type { IoPagetable } from "./io-pagetable.js";
import { noMemory } from "./no-memory.js";
import { offsetOf, pageOf } from "./position.js";

const CITE = { cite: "Linux iopt_area_split()" };

/**
 * Makes an area begin at `address`, if one reaches over it.
 * @throws UapiError EOPNOTSUPP (memory of a device), EINVAL (not at a page, large pages are on, an
 * access holds pages, or a space was merged from this one), ENOMEM: then nothing is cut.
 */
export function cutBefore(space: IoPagetable, address: bigint): void {
  const page = pageOf(address);
  const offset = offsetOf(address);
  const { areas } = space;
  const { rows } = areas;
  areas.seekEnding(page, offset);
  if (!areas.found) return;
  const { row, firstPage } = areas;
  const startsBefore = firstPage < page || (firstPage === page && rows.firstOffset(row) < offset);
  if (!startsBefore) return;
  checkCut(space, row, offset);
  // Pages that were mapped together, while large pages were on, stand by themselves from here on.
  for (const domain of space.domains) domain.split(page * (4096 >>> domain.granuleShift));
  const flags = rows.flags(row);
  const source = rows.source(row);
  const lastPage = rows.lastPage(row);
  const lastOffset = rows.lastOffset(row);
  const startPage = rows.startPage(row) + (page - firstPage);
  const startOffset = rows.startOffset(row);
  rows.setLast(row, page - 1, 4095);
  const made = areas.insert(page, 0, lastPage, lastOffset, startPage, startOffset, source, flags);
  if ((flags & AreaFlag.shared) !== 0) {
    space.tables.sharedPages.get(source).addArea(space, made, page);
  } else space.tables.origins.get(source).refs++;
}

function checkCut(space: IoPagetable, row: number, offset: number): void {
  const { rows } = space.areas;
  const { origins, sharedPages, allocations } = space.tables;
  const source = rows.source(row);
  const isShared = (rows.flags(row) & AreaFlag.shared) !== 0;
  const origin = isShared ? sharedPages.get(source).origin : origins.get(source);
  if (origin.source.kind === "device") {
    throw new UapiError("EOPNOTSUPP", "a mapping of device memory cannot be cut", CITE);
  }
  if (offset !== 0) {
    throw new UapiError("EINVAL", "a mapping can be cut between pages only", CITE);
  }
  if (space.largePages) {
    throw new UapiError("EINVAL", "a mapping is cut only while large pages are off", CITE);
  }
  if (space.accessPins.has(row) || space.locks.has(row)) {
    throw new UapiError("EINVAL", "an access holds pages of the mapping", CITE);
  }
  if (space.children.size > 0) {
    throw new UapiError("EINVAL", "another space was merged from the mapping", CITE);
  }
  if (!allocations.permit("area")) throw noMemory("area");
}
