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

const CITE = { cite: "Linux iopt_area_split()" };

/**
 * Makes an area begin at the first byte of `page`, if one reaches over it.
 * @throws UapiError EINVAL (large pages are on, an access holds pages, or a space was merged from
 * this one), EOPNOTSUPP (memory of a device), ENOMEM: then nothing is cut.
 */
export function cutAt(space: IoPagetable, page: number): void {
  const { areas } = space;
  const { rows } = areas;
  areas.seek(page, 0);
  if (!areas.found) return;
  const { row, firstPage } = areas;
  const lastPage = rows.lastPage(row);
  if (firstPage === page || lastPage < page) return;
  checkCut(space, row);
  // Pages that were mapped together, while large pages were on, stand by themselves from here on.
  for (const domain of space.domains) domain.split(page * (4096 >>> domain.granuleShift));
  const flags = rows.flags(row);
  const source = rows.source(row);
  const lastOffset = rows.lastOffset(row);
  const startPage = rows.startPage(row) + (page - firstPage);
  const startOffset = rows.startOffset(row);
  rows.setLast(row, page - 1, 4095);
  const made = areas.insert(page, 0, lastPage, lastOffset, startPage, startOffset, source, flags);
  if ((flags & AreaFlag.shared) !== 0) {
    space.tables.sharedPages.get(source).addArea(space, made, page);
  } else space.tables.origins.get(source).refs++;
}

function checkCut(space: IoPagetable, row: number): void {
  const { rows } = space.areas;
  const { origins, sharedPages, allocations } = space.tables;
  if (space.largePages) {
    throw new UapiError("EINVAL", "a mapping is cut only while large pages are off", CITE);
  }
  const source = rows.source(row);
  const isShared = (rows.flags(row) & AreaFlag.shared) !== 0;
  const origin = isShared ? sharedPages.get(source).origin : origins.get(source);
  if (origin.source.kind === "device") {
    throw new UapiError("EOPNOTSUPP", "a mapping of device memory cannot be cut", CITE);
  }
  if (space.accessPins.has(row) || space.locks.has(row)) {
    throw new UapiError("EINVAL", "an access holds pages of the mapping", CITE);
  }
  if (space.children.size > 0) {
    throw new UapiError("EINVAL", "another space was merged from the mapping", CITE);
  }
  if (!allocations.permit("area")) throw noMemory("area");
}
