/**
 * Between areas and domains: pinned frames of an area go into a domain, in runs of neighbouring
 * frames, and come back from it.
 *
 * Everything is counted in pages of the memory behind the area (`pages`, from 0) and in granules of
 * the domain. The area's first byte lies `startOffset` into its first page; the address and that
 * offset agree modulo the granule, because the space's alignment is at least the granule.
 */
import { UapiError } from "../abi/index.js";
import type { PagingDomain, Prot } from "../driver/index.js";
import { AreaFlag, type AreaRows } from "./area-rows.js";

/** Pages that are pinned and mapped at a time. */
export const BATCH_PAGES = 512;

/** Where an area lies; reused. */
export class AreaShape {
  firstPage = 0;
  firstOffset = 0;
  lastPage = 0;
  lastOffset = 0;
  /** First page of the memory behind it, and the offset of its first byte there. */
  startPage = 0;
  startOffset = 0;
  /** Pages of memory that it touches. */
  pageCount = 0;
  prot: Prot = 0;

  load(rows: AreaRows, row: number, firstPage: number): this {
    this.firstPage = firstPage;
    this.firstOffset = rows.firstOffset(row);
    this.lastPage = rows.lastPage(row);
    this.lastOffset = rows.lastOffset(row);
    this.startPage = rows.startPage(row);
    this.startOffset = rows.startOffset(row);
    const bytes = this.lastOffset - this.firstOffset + this.startOffset;
    this.pageCount = this.lastPage - this.firstPage + Math.floor(bytes / 4096) + 1;
    this.prot = rows.flags(row) & (AreaFlag.read | AreaFlag.write);
    return this;
  }
}

/** First granule of page `index` of the area: of its part inside the area. */
export function granuleOf(domain: PagingDomain, area: AreaShape, index: number): number {
  const shift = domain.granuleShift;
  const perPage = 4096 >>> shift;
  const first = area.firstPage * perPage + (area.firstOffset >>> shift);
  if (index === 0) return first;
  if (index >= area.pageCount) return area.lastPage * perPage + (area.lastOffset >>> shift) + 1;
  return first + index * perPage - (area.startOffset >>> shift);
}

/**
 * Maps pages index .. index + count of the area to `frames[0 ..]`.
 * @throws what the domain throws: then none of these pages is mapped.
 */
export function mapPages(
  domain: PagingDomain,
  area: AreaShape,
  index: number,
  count: number,
  frames: Float64Array,
  largePages: boolean,
): void {
  if (area.prot === 0) {
    throw new UapiError("EINVAL", "a page table shows no mapping without permissions", {
      cite: "Linux iommu_map()",
    });
  }
  const shift = domain.granuleShift;
  const perPage = 4096 >>> shift;
  const begin = granuleOf(domain, area, index);
  let from = 0;
  try {
    while (from < count) {
      let to = from + 1;
      const frame = frames[from] as number;
      if (largePages) while (to < count && frames[to] === frame + (to - from)) to++;
      const granule = granuleOf(domain, area, index + from);
      const skipped = index + from === 0 ? area.startOffset >>> shift : 0;
      const granules = granuleOf(domain, area, index + to) - granule;
      domain.map(granule, frame * perPage + skipped, granules, area.prot);
      from = to;
    }
  } catch (error) {
    const end = granuleOf(domain, area, index + from);
    if (end > begin) domain.unmap(begin, end - begin);
    domain.sync();
    throw error;
  }
}

/** Removes pages index .. index + count of the area; `sync` is the caller's. */
export function unmapPages(
  domain: PagingDomain,
  area: AreaShape,
  index: number,
  count: number,
): void {
  const begin = granuleOf(domain, area, index);
  domain.unmap(begin, granuleOf(domain, area, index + count) - begin);
}

/** The frame that a domain has for page `index` of the area; undefined when it is not mapped. */
export function frameFrom(
  domain: PagingDomain,
  area: AreaShape,
  index: number,
): number | undefined {
  const found = domain.translate(granuleOf(domain, area, index));
  return found === undefined ? undefined : Math.floor(found / (4096 >>> domain.granuleShift));
}
