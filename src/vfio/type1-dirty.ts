/**
 * Dirty pages of a container. Linux vfio_iommu_type1.c.
 *
 * While tracking is on, every page that is mapped counts as dirty: type1 does not ask IOMMUs for
 * dirty bits, and devices do not tell.
 */
import { UapiError } from "../abi/index.js";
import type { Call } from "../files/index.js";
import { type Ioas, PAGE_SIZE } from "../iommufd/index.js";
import type { Span } from "../units/index.js";
import { mappingAt } from "./type1-maps.js";

/** Bytes of a bitmap at most: 2^31 - 1 pages. */
export const DIRTY_BITMAP_MAX = 1n << 28n;
const PAGE = BigInt(PAGE_SIZE);
const CITE = { cite: "Linux vfio_iommu_type1_dirty_pages()" };

/** Where a caller wants bits. */
export interface BitmapTarget {
  readonly pgsize: bigint;
  /** Bytes. */
  readonly size: bigint;
  readonly data: bigint;
}

/** @throws UapiError EINVAL: the bitmap is of other pages, or too small. */
export function checkBitmap(bytes: bigint, { pgsize, size }: BitmapTarget): void {
  const isPower = pgsize !== 0n && (pgsize & (pgsize - 1n)) === 0n;
  const pages = isPower ? bytes / pgsize : 0n;
  const needed = ((pages + 63n) / 64n) * 8n;
  if (pages === 0n || size === 0n || size > DIRTY_BITMAP_MAX || size < needed) {
    throw new UapiError("EINVAL", "the bitmap has not one bit for each page", CITE);
  }
  if (pgsize !== PAGE) {
    throw new UapiError("EINVAL", "dirty pages are told by the smallest page only", CITE);
  }
}

/**
 * Sets a bit for each page of the mappings in the range.
 * @throws UapiError EINVAL: alignment, or a mapping in part; EFAULT.
 */
export function reportDirty(call: Call, ioas: Ioas, range: Span, target: BitmapTarget): void {
  const { first, last } = range;
  const size = last - first + 1n;
  if (first % PAGE !== 0n || size % PAGE !== 0n) {
    throw new UapiError("EINVAL", "the range is not of whole pages", CITE);
  }
  const begin = mappingAt(ioas, first);
  const end = mappingAt(ioas, last);
  if ((begin !== undefined && begin.first < first) || (end !== undefined && end.last > last)) {
    throw new UapiError("EINVAL", "the range covers a mapping only in part", CITE);
  }
  for (const mapping of mappingsIn(ioas, range)) {
    setBits(call, target.data, (mapping.first - first) / PAGE, (mapping.last - first) / PAGE);
  }
}

/** Mappings that touch a range, in order. */
export function mappingsIn(ioas: Ioas, { first, last }: Span): Span[] {
  const { areas } = ioas.space;
  const out: Span[] = [];
  areas.seekEnding(Number(first >> 12n), Number(first & 0xfffn));
  while (areas.found) {
    const { row, firstPage, rows } = areas;
    const from = (BigInt(firstPage) << 12n) | BigInt(rows.firstOffset(row));
    if (from > last) break;
    out.push({
      first: from,
      last: (BigInt(rows.lastPage(row)) << 12n) | BigInt(rows.lastOffset(row)),
    });
    areas.next();
  }
  return out;
}

/** Whole words are written, as Linux does; bits before the first one stay. */
function setBits(call: Call, bitmap: bigint, first: bigint, last: bigint): void {
  const firstWord = first / 64n;
  const words = Number(last / 64n - firstWord) + 1;
  const bytes = new Uint8Array(words * 8);
  const at = bitmap + firstWord * 8n;
  const shift = Number(first % 64n);
  if (shift > 0) call.copyIn(at, bytes.subarray(0, 8));
  for (let bit = shift; bit <= Number(last - firstWord * 64n); bit++) {
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (1 << (bit & 7));
  }
  call.copyOut(at, bytes);
}
