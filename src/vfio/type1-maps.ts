/**
 * VFIO_IOMMU_MAP_DMA and UNMAP_DMA of a container: the rules of type1 in front of an address space.
 * Linux vfio_iommu_type1.c.
 *
 * They differ from those of a context: lengths and addresses are multiples of a page, a second
 * mapping is looked for before reserved addresses are, and unmapping never cuts. The second version
 * refuses a range that would; the first one takes a mapping whole when the range has its beginning,
 * and leaves it alone otherwise.
 */
import { UapiError } from "../abi/index.js";
import {
  type Ioas,
  type Iommufd,
  MapFlag,
  PAGE_SIZE,
  U64_MAX,
  type UserProcess,
  type VfioMapArgs,
  VfioMapFlag,
  type VfioUnmapArgs,
  VfioUnmapFlag,
} from "../iommufd/index.js";
import type { Span } from "../units/index.js";

/** Mappings that a container holds at most (module parameter dma_entry_limit). */
export const TYPE1_MAPPINGS_MAX = 65_535;

const CITE_MAP = { cite: "Linux vfio_dma_do_map()" };
const CITE_UNMAP = { cite: "Linux vfio_dma_do_unmap()" };
const PAGE_MASK = BigInt(PAGE_SIZE - 1);

/**
 * Maps memory of the caller.
 * @throws UapiError EINVAL (flags, size 0, no permission, alignment, reserved addresses),
 * EOVERFLOW, EEXIST, ENOSPC, or what pinning throws.
 */
export function type1Map(
  iommufd: Iommufd,
  ioas: Ioas,
  args: VfioMapArgs,
  caller: UserProcess = iommufd.state.caller,
): void {
  const { flags, vaddr, iova, size } = args;
  const permission = flags & (VfioMapFlag.read | VfioMapFlag.write);
  const isMove = flags === VfioMapFlag.vaddr;
  if (permission !== flags && !isMove) {
    throw new UapiError(
      "EINVAL",
      "an unknown flag is set, or two that exclude each other",
      CITE_MAP,
    );
  }
  if (size === 0n) throw new UapiError("EINVAL", "size is 0", CITE_MAP);
  const last = iova + size - 1n;
  if (last > U64_MAX || vaddr + size - 1n > U64_MAX) {
    throw new UapiError("EOVERFLOW", "the range ends above 2^64 - 1", CITE_MAP);
  }
  if (permission === 0 && !isMove) {
    throw new UapiError("EINVAL", "neither readable nor writeable", CITE_MAP);
  }
  if (((size | iova | vaddr) & PAGE_MASK) !== 0n) {
    throw new UapiError("EINVAL", "an address or the size is not a multiple of a page", CITE_MAP);
  }
  const { space } = ioas;
  if (isMove) refuseMove(ioas, iova);
  if (space.hasArea({ first: iova, last })) {
    throw new UapiError("EEXIST", "the addresses are mapped already", CITE_MAP);
  }
  if (space.areas.size >= TYPE1_MAPPINGS_MAX) {
    throw new UapiError("ENOSPC", `a container holds ${TYPE1_MAPPINGS_MAX} mappings`, CITE_MAP);
  }
  const rights =
    ((flags & VfioMapFlag.read) !== 0 ? MapFlag.readable : 0) |
    ((flags & VfioMapFlag.write) !== 0 ? MapFlag.writeable : 0);
  const place = { ioasId: ioas.id, flags: rights | MapFlag.fixedIova, iova };
  const device = caller.memory.deviceAt?.(Number(vaddr >> 12n));
  if (device === undefined) {
    iommufd.ioasMap({ ...place, userVa: vaddr, length: size }, { process: caller });
    return;
  }
  // A mapping of a BAR: nothing is pinned or charged.
  if (BigInt(device.count) << 12n < size) {
    throw new UapiError("EFAULT", "the range leaves the mapping of the BAR", CITE_MAP);
  }
  const start = BigInt(device.page) << 12n;
  iommufd.ioasMapFile({ ...place, file: device.source, start, length: size }, { process: caller });
}

/** New addresses are given to mappings whose old ones were taken away, and none ever is. */
function refuseMove(ioas: Ioas, iova: bigint): never {
  if (mappingAt(ioas, iova) === undefined) {
    throw new UapiError("ENOENT", "nothing is mapped there", CITE_MAP);
  }
  throw new UapiError("EINVAL", "the mapping has its address", CITE_MAP);
}

/**
 * Removes the mappings of a range.
 * @returns bytes removed; 0 is no error.
 * @throws UapiError EINVAL (flags, alignment, size 0; second version: a mapping in part),
 * EOVERFLOW: then nothing was removed.
 */
export function type1Unmap(
  iommufd: Iommufd,
  ioas: Ioas,
  args: VfioUnmapArgs,
  isFirstVersion: boolean,
): bigint {
  const { flags = 0, iova, size } = args;
  if ((flags & ~VfioUnmapFlag.all) !== 0) {
    throw new UapiError("EINVAL", "an unknown flag is set", CITE_UNMAP);
  }
  const isAll = flags !== 0;
  if ((iova & PAGE_MASK) !== 0n || (!isAll && (size === 0n || (size & PAGE_MASK) !== 0n))) {
    throw new UapiError("EINVAL", "address and size are not multiples of a page", CITE_UNMAP);
  }
  if (isAll) {
    if (iova === 0n && size === 0n) return iommufd.ioasUnmap(ioas.id, 0n, U64_MAX);
    throw new UapiError("EINVAL", "with the flag for all, iova and size are 0", CITE_UNMAP);
  }
  const last = iova + size - 1n;
  if (last > U64_MAX) {
    throw new UapiError("EOVERFLOW", "the range ends above 2^64 - 1", CITE_UNMAP);
  }
  if (!ioas.space.hasArea({ first: iova, last })) return 0n;
  const begin = mappingAt(ioas, iova);
  const end = mappingAt(ioas, last);
  const isCutAtBegin = begin !== undefined && begin.first < iova;
  if (isFirstVersion) {
    if (isCutAtBegin) return 0n;
    return iommufd.ioasUnmap(ioas.id, iova, (end?.last ?? last) - iova + 1n);
  }
  if (isCutAtBegin || (end !== undefined && end.last > last)) {
    const windows = [isCutAtBegin ? begin : end];
    throw new UapiError("EINVAL", "the range covers a mapping only in part", {
      evidence: [{ kind: "area", windows }],
      ...CITE_UNMAP,
    });
  }
  return iommufd.ioasUnmap(ioas.id, iova, size);
}

/** The mapping that an address lies in. */
export function mappingAt({ space: { areas } }: Ioas, address: bigint): Span | undefined {
  areas.seek(Number(address >> 12n), Number(address & 0xfffn));
  if (!areas.found) return undefined;
  const { row, firstPage, rows } = areas;
  const first = (BigInt(firstPage) << 12n) | BigInt(rows.firstOffset(row));
  const last = (BigInt(rows.lastPage(row)) << 12n) | BigInt(rows.lastOffset(row));
  return last < address ? undefined : { first, last };
}
