/** Dirty tracking and dirty bitmaps. Linux hw_pagetable.c, io_pagetable.c. */
import { UapiError } from "../abi/index.js";
import type { DirtyOps } from "../driver/index.js";
import type { DirtyBitmapArgs, DirtyBits } from "./api.js";
import { AreaShape } from "./area-fill.js";
import type { ContextState } from "./context-state.js";
import type { HwptPaging } from "./hw-pagetable.js";
import { U64_MAX } from "./limits.js";
import { addressOf, lastOf, offsetOf, pageOf } from "./position.js";

const CITE_SET = "Linux iommufd_hwpt_set_dirty_tracking()";
const CITE_GET = "Linux iommufd_hwpt_get_dirty_bitmap()";
const NO_CLEAR = 1;

/** @throws UapiError EOPNOTSUPP (flags; no dirty bits), ENOENT. Idempotent. */
export function setDirtyTracking(ctx: ContextState, hwptId: number, flags: number): void {
  if ((flags & ~1) !== 0)
    throw new UapiError("EOPNOTSUPP", "an unknown flag is set", cite(CITE_SET));
  const hwpt = ctx.objects.get(hwptId, "hwpt-paging") as HwptPaging;
  const dirty = dirtyOf(hwpt, CITE_SET);
  const isOn = flags === 1;
  if (isOn) clearAll(hwpt, dirty);
  dirty.setTracking(isOn);
}

/**
 * Sets the bits of dirty pages in the user's bitmap and, unless told otherwise, clears them in the
 * table. A hole ends the walk without an error; so does the end of the bitmap.
 * @returns bytes walked.
 * @throws UapiError EOPNOTSUPP, ENOENT, EOVERFLOW, EINVAL.
 */
export function getDirtyBitmap(ctx: ContextState, args: DirtyBitmapArgs): bigint {
  const flags = args.flags ?? 0;
  if ((flags & ~NO_CLEAR) !== 0) {
    throw new UapiError("EOPNOTSUPP", "an unknown flag is set", cite(CITE_GET));
  }
  const hwpt = ctx.objects.get(args.hwptId, "hwpt-paging") as HwptPaging;
  const last = lastOfBitmap(args.iova, args.length);
  const mask = BigInt(hwpt.ioas.space.alignment - 1);
  if ((args.iova & mask) !== 0n || ((last + 1n) & mask) !== 0n) {
    throw new UapiError("EINVAL", "the range is not aligned to the space", cite(CITE_GET));
  }
  const { pageSize } = args;
  if (pageSize === 0n || args.iova % pageSize !== 0n || args.length % pageSize !== 0n) {
    throw new UapiError("EINVAL", "the range is not a multiple of page_size", cite(CITE_GET));
  }
  const dirty = dirtyOf(hwpt, CITE_GET);
  const shift = BigInt((pageSize & -pageSize).toString(2).length - 1);
  return walkDirty(hwpt, dirty, args, last, shift, (flags & NO_CLEAR) === 0);
}

/** As the kernel adds: length 0 means 2^64, which fits only from address 0. */
function lastOfBitmap(iova: bigint, length: bigint): bigint {
  if (length !== 0n) return lastOf(iova, length);
  if (iova === 0n) return U64_MAX;
  throw new UapiError("EOVERFLOW", "the range ends above 2^64 - 1", cite(CITE_GET));
}

function walkDirty(
  hwpt: HwptPaging,
  dirty: DirtyOps,
  args: DirtyBitmapArgs,
  last: bigint,
  shift: bigint,
  clear: boolean,
): bigint {
  const { areas } = hwpt.ioas.space;
  const { iova } = args;
  const bitmap = args.bitmap instanceof Uint8Array ? bitsOf(args.bitmap) : args.bitmap;
  const unit = BigInt(hwpt.domain.granuleShift);
  const shape = new AreaShape();
  let at = iova;
  areas.seekEnding(pageOf(at), offsetOf(at));
  for (; areas.found && at <= last; areas.next()) {
    shape.load(areas.rows, areas.row, areas.firstPage);
    if (addressOf(shape.firstPage, shape.firstOffset) > at) break;
    const end = addressOf(shape.lastPage, shape.lastOffset);
    const to = end < last ? end : last;
    const first = Number(at >> unit);
    const count = Number(to >> unit) - first + 1;
    dirty.scan(first, count, clear, (granule, granules) => {
      const from = BigInt(granule) << unit;
      const bitFirst = Number((from - iova) >> shift);
      const bitLast = Number((from + (BigInt(granules) << unit) - 1n - iova) >> shift);
      bitmap.set(bitFirst, bitLast);
    });
    at = to + 1n;
  }
  return at - iova;
}

const bitsOf = (bitmap: Uint8Array): DirtyBits => ({
  set: (first, last) => setBits(bitmap, first, last),
});

/** Sets bits first..last that lie inside the bitmap. */
function setBits(bitmap: Uint8Array, first: number, last: number): void {
  const end = Math.min(last, bitmap.length * 8 - 1);
  for (let bit = first; bit <= end; ) {
    const byte = bit >>> 3;
    if ((bit & 7) === 0 && bit + 7 <= end) {
      bitmap[byte] = 0xff;
      bit += 8;
    } else {
      bitmap[byte] = (bitmap[byte] as number) | (1 << (bit & 7));
      bit++;
    }
  }
}

function clearAll(hwpt: HwptPaging, dirty: DirtyOps): void {
  const { areas } = hwpt.ioas.space;
  const unit = BigInt(hwpt.domain.granuleShift);
  for (areas.toFirst(); areas.found; areas.next()) {
    const { row, firstPage } = areas;
    const first = addressOf(firstPage, areas.rows.firstOffset(row)) >> unit;
    const last = addressOf(areas.rows.lastPage(row), areas.rows.lastOffset(row)) >> unit;
    dirty.scan(Number(first), Number(last - first) + 1, true, () => {});
  }
}

function dirtyOf(hwpt: HwptPaging, citation: string): DirtyOps {
  const { dirty } = hwpt.domain;
  if (dirty !== undefined) return dirty;
  throw new UapiError("EOPNOTSUPP", "the page table has no dirty bits", cite(citation));
}

const cite = (citation: string) => ({ cite: citation });
