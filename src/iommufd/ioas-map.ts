/**
 * IOMMU_IOAS_MAP, MAP_FILE and COPY. The order of checks is the kernel's; each step names its
 * errno. Linux ioas.c, io_pagetable.c.
 */
import { UapiError } from "../abi/index.js";
import { type CopyArgs, type MapArgs, type MapFileArgs, MapFlag } from "./api.js";
import { AreaFlag } from "./area-rows.js";
import type { ContextState } from "./context-state.js";
import type { FreeRequest } from "./free-search.js";
import type { IoPagetable } from "./io-pagetable.js";
import type { Ioas } from "./ioas.js";
import { AUTO_ALIGN_MAX, PAGE_SIZE, U64_MAX } from "./limits.js";
import type { Origin, OriginKey } from "./origin.js";
import type { UserProcess } from "./ports.js";
import { addressOf, isSmall, lastOf, offsetOf, PAGE_LIMIT, pageOf } from "./position.js";
import type { SharedPages } from "./shared-pages.js";

const KNOWN_FLAGS = MapFlag.fixedIova | MapFlag.writeable | MapFlag.readable;
/** A length up to a page below 2^64 - 1. */
const LENGTH_MAX = U64_MAX - BigInt(PAGE_SIZE);
const CITE = { cite: "Linux iommufd_ioas_map()" };
const CITE_AUTO = { cite: "Linux iopt_alloc_iova()" };
const CITE_PAGES = { cite: "Linux iopt_insert_area()" };

/** Where to map: what all three calls have. */
export interface Placement {
  readonly flags: number;
  readonly iova: bigint;
  readonly length: bigint;
}

/** @returns the address that was mapped. @throws UapiError as documented in the reference. */
export function ioasMap(ctx: ContextState, args: MapArgs, caller: UserProcess): bigint {
  const place = { flags: args.flags, iova: args.iova ?? 0n, length: args.length };
  checkFlags(place);
  const ioas = ctx.objects.get(args.ioasId, "ioas") as Ioas;
  return mapMemory(ctx, ioas, place, args.userVa, caller);
}

/** Maps memory of a process, with flags that were checked. */
export function mapMemory(
  ctx: ContextState,
  ioas: Ioas,
  place: Placement,
  userVa: bigint,
  caller: UserProcess,
): bigint {
  const { length } = place;
  const isUsual = isSmall(userVa) && isSmall(length);
  if (!isUsual && (userVa < 0n || userVa > U64_MAX || length > U64_MAX - userVa)) {
    throw new UapiError("EOVERFLOW", "user_va + length is above 2^64 - 1", CITE);
  }
  checkLength(length);
  return mapFrom(ctx, ioas, place, userVa, keyOf(ctx, place.flags, caller, caller.memory));
}

/** @returns the address that was mapped. */
export function ioasMapFile(ctx: ContextState, args: MapFileArgs, caller: UserProcess): bigint {
  const place = { flags: args.flags, iova: args.iova ?? 0n, length: args.length };
  checkFlags(place);
  const ioas = ctx.objects.get(args.ioasId, "ioas") as Ioas;
  const { start, length, file, fileSize } = args;
  if (length === 0n) throw new UapiError("EINVAL", "length is 0", CITE);
  lastOf(start, length);
  checkLength(length);
  if (file === undefined) throw new UapiError("EBADF", "the descriptor is not open", CITE);
  if (file.kind === "device" && fileSize !== undefined && start + length > fileSize) {
    throw new UapiError("EINVAL", "the range ends beyond the buffer of the device", CITE);
  }
  args.checkFile?.();
  const key = keyOf(ctx, args.flags, caller, file);
  return mapFrom(ctx, ioas, place, start, { ...key, holder: args.holder });
}

/** @returns the address that was mapped. */
export function ioasCopy(ctx: ContextState, args: CopyArgs): bigint {
  const place = { flags: args.flags, iova: args.dstIova ?? 0n, length: args.length };
  checkFlags(place, args.srcIova);
  const source = ctx.objects.get(args.srcIoasId, "ioas") as Ioas;
  const pieces = piecesOf(source.space, args.srcIova, args.length);
  const target = ctx.objects.get(args.dstIoasId, "ioas") as Ioas;
  return copyPieces(target.space, pieces, place);
}

function checkFlags({ flags, iova, length }: Placement, source = 0n): void {
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    throw new UapiError("EOPNOTSUPP", "an unknown flag is set", CITE);
  }
  const isUsual = isSmall(iova) && isSmall(length) && isSmall(source);
  if (!isUsual && (isMax(iova) || isMax(length) || isMax(source))) {
    throw new UapiError("EOVERFLOW", "an address or length is 2^64 - 1", CITE);
  }
  if ((flags & (MapFlag.writeable | MapFlag.readable)) === 0) {
    throw new UapiError("EINVAL", "neither readable nor writeable", CITE);
  }
}

const isMax = (value: bigint): boolean => value >= U64_MAX || value < 0n;

function checkLength(length: bigint): void {
  if (length <= 0n || (!isSmall(length) && length > LENGTH_MAX)) {
    throw new UapiError("EINVAL", "length is 0 or within a page of 2^64", CITE_PAGES);
  }
}

function keyOf(
  ctx: ContextState,
  flags: number,
  caller: UserProcess,
  source: OriginKey["source"],
): OriginKey {
  const isCharged = source.kind !== "device" && !caller.mayLockMemory;
  const mode = isCharged ? (ctx.mmMode ? "mm" : "user") : "none";
  return { source, caller, mode, writable: (flags & MapFlag.writeable) !== 0 };
}

/** One new area over memory from `start` on. */
function mapFrom(
  ctx: ContextState,
  ioas: Ioas,
  place: Placement,
  start: bigint,
  key: OriginKey,
): bigint {
  const { space } = ioas;
  const iova = choose(space, place, start);
  const startOffset = offsetOf(start);
  checkOffset(space, startOffset);
  const { origins } = ctx.tables;
  const origin: Origin = origins.take(key);
  const firstPage = pageOf(iova);
  const firstOffset = offsetOf(iova);
  const lastBytes = firstOffset + offsetOf(place.length) - 1;
  const lastPage = firstPage + pageOf(place.length) + (lastBytes >> 12);
  try {
    const prot = protOf(place.flags);
    space.insert(
      firstPage,
      firstOffset,
      lastPage,
      lastBytes & 0xfff,
      pageOf(start),
      startOffset,
      origin.id,
      prot,
    );
  } catch (error) {
    origins.put(origin);
    throw error;
  }
  return iova;
}

const protOf = (flags: number): number =>
  ((flags & MapFlag.readable) !== 0 ? AreaFlag.read : 0) |
  ((flags & MapFlag.writeable) !== 0 ? AreaFlag.write : 0);

function checkOffset(space: IoPagetable, startOffset: number): void {
  if ((startOffset & (space.alignment - 1)) !== 0) {
    throw new UapiError(
      "EINVAL",
      "the offset of the memory in its page is not aligned",
      CITE_PAGES,
    );
  }
}

/** The address to map at: checked when fixed, chosen otherwise. */
function choose(space: IoPagetable, place: Placement, start: bigint): bigint {
  const { length, iova } = place;
  const mask = space.alignment - 1;
  if ((offsetOf(length) & mask) !== 0) throw misaligned(space, "length");
  if ((place.flags & MapFlag.fixedIova) === 0) return chooseFree(space, length, start);
  const offset = offsetOf(iova);
  if ((offset & mask) !== 0) throw misaligned(space, "iova");
  const page = pageOf(iova);
  // Length - 1 added as bytes: they may borrow or carry one page.
  const lastBytes = offset + offsetOf(length) - 1;
  const lastPage = page + pageOf(length) + (lastBytes >> 12);
  if (lastPage >= PAGE_LIMIT) lastOf(iova, length);
  if (space.reserved.isReserved(page, offset, lastPage, lastBytes & 0xfff)) {
    const range = space.reserved.reservedIn({ first: iova, last: iova + length - 1n });
    throw new UapiError("EINVAL", "the range touches reserved addresses", {
      evidence: [{ kind: "reserved-range", windows: range === undefined ? [] : [range.span] }],
      cite: "Linux iopt_check_iova()",
    });
  }
  return iova;
}

function misaligned(space: IoPagetable, what: string): UapiError {
  return new UapiError("EINVAL", `${what} is not a multiple of the alignment`, {
    evidence: [{ kind: "alignment", bytes: space.alignment }],
    ...CITE,
  });
}

function chooseFree(space: IoPagetable, length: bigint, start: bigint): bigint {
  if (length >= U64_MAX / 2n) {
    throw new UapiError("EOVERFLOW", "length is too large to choose an address", CITE_AUTO);
  }
  const alignment = autoAlignment(length, start);
  if (alignment < space.alignment) {
    throw new UapiError("EINVAL", "the memory is aligned to less than the space needs", CITE_AUTO);
  }
  const request: FreeRequest = {
    spanPages: Number((length - 1n) >> 12n),
    spanBytes: Number((length - 1n) & 0xfffn),
    alignment,
    pageOffset: offsetOf(start),
  };
  if (!space.search.find(space.reserved.windows(), request)) {
    throw new UapiError("ENOSPC", "no free addresses are left for this length", CITE_AUTO);
  }
  return addressOf(space.search.page, space.search.offset);
}

/** The smaller of length rounded up and lowest set bit of the memory's address, up to 2 MiB. */
function autoAlignment(length: bigint, start: bigint): number {
  const limit = BigInt(AUTO_ALIGN_MAX);
  let alignment = length >= limit ? limit : 1n << BigInt((length - 1n).toString(2).length);
  if (length === 1n) alignment = 1n;
  if (start !== 0n) {
    const bit = start & -start;
    if (bit < alignment) alignment = bit;
  }
  return Number(alignment > limit ? limit : alignment);
}

/** A part of one area's memory. */
export interface Piece {
  readonly pages: SharedPages;
  readonly startPage: number;
  readonly startOffset: number;
  readonly length: bigint;
  /** Its address, and that of the area that it is a part of. */
  readonly source: { readonly areaFirst: bigint; readonly first: bigint };
}

/**
 * The memory behind a range, area by area; it becomes shared.
 * @throws UapiError EINVAL, EOVERFLOW, ENOENT (not covered whole).
 */
export function piecesOf(space: IoPagetable, iova: bigint, length: bigint): Piece[] {
  if (length === 0n)
    throw new UapiError("EINVAL", "length is 0", { cite: "Linux iopt_get_pages()" });
  const last = lastOf(iova, length);
  const { areas } = space;
  const { rows } = areas;
  const found: { row: number; firstPage: number; from: bigint; to: bigint }[] = [];
  let at = iova;
  areas.seekEnding(pageOf(iova), offsetOf(iova));
  while (at <= last) {
    if (!areas.found) throw uncovered(at);
    const { row, firstPage } = areas;
    const first = addressOf(firstPage, rows.firstOffset(row));
    if (first > at) throw uncovered(at);
    const end = addressOf(rows.lastPage(row), rows.lastOffset(row));
    const to = end < last ? end : last;
    found.push({ row, firstPage, from: at, to });
    at = to + 1n;
    areas.next();
  }
  return found.map(({ row, firstPage, from, to }) => {
    const first = addressOf(firstPage, rows.firstOffset(row));
    const start = addressOf(rows.startPage(row), rows.startOffset(row)) + (from - first);
    const pages = space.share(row, firstPage);
    const size = to - from + 1n;
    const source = { areaFirst: first, first: from };
    return { pages, startPage: pageOf(start), startOffset: offsetOf(start), length: size, source };
  });
}

function uncovered(iova: bigint): UapiError {
  return new UapiError("ENOENT", "the source range is not mapped whole", {
    evidence: [{ kind: "iova-not-mapped", iova }],
    cite: "Linux iopt_get_pages()",
  });
}

/** Maps pieces one after the other; all of them or none. */
export function copyPieces(space: IoPagetable, pieces: readonly Piece[], place: Placement): bigint {
  const head = pieces[0] as Piece;
  const iova = choose(space, place, addressOf(head.startPage, head.startOffset));
  const prot = protOf(place.flags);
  for (const piece of pieces) {
    if ((prot & AreaFlag.write) !== 0 && !piece.pages.origin.writable) {
      throw new UapiError("EPERM", "the source was mapped without write permission", CITE_PAGES);
    }
    checkOffset(space, piece.startOffset);
  }
  const done: bigint[] = [];
  let at = iova;
  try {
    for (const { pages, startPage, startOffset, length } of pieces) {
      const last = at + length - 1n;
      space.insert(
        pageOf(at),
        offsetOf(at),
        pageOf(last),
        offsetOf(last),
        startPage,
        startOffset,
        pages.id,
        prot | AreaFlag.shared,
      );
      done.push(at);
      at = last + 1n;
    }
  } catch (error) {
    for (const first of done) {
      space.areas.seek(pageOf(first), offsetOf(first));
      space.removeAtPosition();
    }
    throw error;
  }
  return iova;
}
