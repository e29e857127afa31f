/**
 * VFIO_IOMMU_GET_INFO of an iommufd: page sizes, and a chain of capabilities behind the struct.
 *
 * Each capability is written when it fits whole (of address ranges also those that fit alone);
 * `argsz` says what all of them need. Linux iommufd_vfio_iommu_get_info().
 */
import {
  decodeVfioIommuType1Info,
  encodeVfioIommuType1Info,
  encodeVfioIommuType1InfoCapIovaRange,
  encodeVfioIommuType1InfoDmaAvail,
  encodeVfioIovaRange,
  SIZEOF_VFIO_IOMMU_TYPE1_INFO,
  SIZEOF_VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  SIZEOF_VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  SIZEOF_VFIO_IOVA_RANGE,
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
const RANGE_BYTES = SIZEOF_VFIO_IOVA_RANGE;

export function compatInfo({ iommufd }: OpenContext, call: Call, address: bigint): number {
  const argsz = readArgsz(call, address, LEAST).getUint32(0, true);
  const { ioas } = iommufd.vfio;
  const known = Math.min(argsz, SIZEOF_VFIO_IOMMU_TYPE1_INFO);
  const caps = [dmaAvail(), iovaRange(ioas.space.reserved.usable())];
  let total = SIZEOF_VFIO_IOMMU_TYPE1_INFO;
  caps.forEach((cap, i) => {
    // A capability names the next one where that begins within the room, though it may not fit.
    const next = total + aligned(cap.view.byteLength);
    if (i + 1 < caps.length && argsz >= next) cap.view.setUint32(NEXT_AT, next, true);
    for (const [from, length] of partsThatFit(cap, argsz - total)) {
      call.copyOut(address + BigInt(total + from), new Uint8Array(cap.view.buffer, from, length));
    }
    total = next;
  });
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

/** A capability: its head is written when all of it fits, what follows one by one. */
interface Capability {
  readonly view: DataView;
  readonly headBytes: number;
}

const aligned = (length: number): number => (length + 7) & ~7;

/** What is written into so many bytes, as offsets and lengths. */
function partsThatFit({ view, headBytes }: Capability, room: number): [number, number][] {
  const parts: [number, number][] = [];
  if (view.byteLength <= room) parts.push([0, headBytes]);
  for (let at = headBytes; at < view.byteLength; at += RANGE_BYTES) {
    if (at + RANGE_BYTES <= room) parts.push([at, RANGE_BYTES]);
  }
  return parts;
}

function dmaAvail(): Capability {
  const headBytes = SIZEOF_VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
  const view = new DataView(new ArrayBuffer(headBytes));
  const header = { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, next: 0 };
  encodeVfioIommuType1InfoDmaAvail({ header, avail: 0xffffffff }, view);
  return { view, headBytes };
}

function iovaRange(ranges: readonly Span[]): Capability {
  const headBytes = SIZEOF_VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
  const view = new DataView(new ArrayBuffer(headBytes + ranges.length * RANGE_BYTES));
  const header = { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, next: 0 };
  encodeVfioIommuType1InfoCapIovaRange({ header, nr_iovas: ranges.length, reserved: 0 }, view);
  for (const [i, { first, last }] of ranges.entries()) {
    encodeVfioIovaRange({ start: first, end: last }, view, headBytes + i * RANGE_BYTES);
  }
  return { view, headBytes };
}
