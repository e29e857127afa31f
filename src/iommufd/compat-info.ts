/**
 * VFIO_IOMMU_GET_INFO of an iommufd: page sizes, and a chain of capabilities behind the struct.
 *
 * Each capability is written when it fits whole; `argsz` says what all of them need. Linux
 * iommufd_vfio_iommu_get_info().
 */
import {
  decodeVfioIommuType1Info,
  encodeVfioIommuType1Info,
  encodeVfioIommuType1InfoCapIovaRange,
  encodeVfioIommuType1InfoDmaAvail,
  SIZEOF_VFIO_IOMMU_TYPE1_INFO,
  SIZEOF_VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  SIZEOF_VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
} from "../abi/index.js";
import type { Call } from "../files/index.js";
import type { Span } from "../units/index.js";
import { readArgsz } from "./argsz.js";

import type { Ioas } from "./ioas.js";
import { PAGE_SIZE, U64_MAX } from "./limits.js";
import type { OpenContext } from "./open-context.js";

/** argsz, flags, page sizes: what every caller has. */
const LEAST = 16;
const NEXT_AT = 4;

export function compatInfo({ iommufd }: OpenContext, call: Call, address: bigint): number {
  const argsz = readArgsz(call, address, LEAST).getUint32(0, true);
  const { ioas } = iommufd.vfio;
  const known = Math.min(argsz, SIZEOF_VFIO_IOMMU_TYPE1_INFO);
  const caps = [dmaAvail(), iovaRange(ioas.space.reserved.usable())];
  let total = SIZEOF_VFIO_IOMMU_TYPE1_INFO;
  let previous: { at: number; view: DataView } | undefined;
  const written: { at: number; view: DataView; length: number }[] = [];
  for (const { view, length } of caps) {
    if (argsz >= total + length) {
      previous?.view.setUint32(NEXT_AT, total, true);
      previous = { at: total, view };
      written.push({ at: total, view, length });
    }
    total += (length + 7) & ~7;
  }
  for (const { at, view, length } of written) {
    call.copyOut(address + BigInt(at), new Uint8Array(view.buffer, 0, length));
  }
  const header = new Uint8Array(SIZEOF_VFIO_IOMMU_TYPE1_INFO);
  const view = new DataView(header.buffer);
  const info = {
    ...decodeVfioIommuType1Info(view),
    argsz: total,
    flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
    iova_pgsizes: pageSizes(ioas),
    cap_offset: argsz >= total ? SIZEOF_VFIO_IOMMU_TYPE1_INFO : 0,
  };
  encodeVfioIommuType1Info(info, view);
  call.copyOut(address, header.subarray(0, known));
  return 0;
}

/** Sizes that every page table has; those below a page count as a page. */
function pageSizes({ hwpts, space }: Ioas): bigint {
  let sizes = U64_MAX;
  for (const { domain } of hwpts) sizes &= domain.pageSizes;
  const page = BigInt(PAGE_SIZE);
  if ((sizes & (page - 1n)) !== 0n) sizes = (sizes & ~(page - 1n)) | page;
  const alignment = BigInt(space.alignment);
  return sizes > alignment ? sizes : alignment;
}

interface Capability {
  readonly view: DataView;
  readonly length: number;
}

function dmaAvail(): Capability {
  const length = SIZEOF_VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
  const view = new DataView(new ArrayBuffer(length));
  const header = { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, next: 0 };
  encodeVfioIommuType1InfoDmaAvail({ header, avail: 0xffffffff }, view);
  return { view, length };
}

function iovaRange(ranges: readonly Span[]): Capability {
  const head = SIZEOF_VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
  const length = head + ranges.length * 16;
  const view = new DataView(new ArrayBuffer(length));
  const header = { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, next: 0 };
  encodeVfioIommuType1InfoCapIovaRange({ header, nr_iovas: ranges.length, reserved: 0 }, view);
  ranges.forEach(({ first, last }, i) => {
    view.setBigUint64(head + i * 16, first, true);
    view.setBigUint64(head + i * 16 + 8, last, true);
  });
  return { view, length };
}
