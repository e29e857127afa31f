/** VFIO_IOMMU_GET_INFO of a container. Linux vfio_iommu_type1_get_info(). */
import {
  encodeVfioIommuType1Info,
  SIZEOF_VFIO_IOMMU_TYPE1_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
} from "../abi/index.js";
import type { Call } from "../files/index.js";
import { type Ioas, PAGE_SIZE } from "../iommufd/index.js";
import type { VfioContainer } from "./container.js";
import {
  argszOf,
  capabilityChain,
  type InfoCapability,
  putStruct,
  takeStruct,
} from "./struct-argument.js";
import { DIRTY_BITMAP_MAX } from "./type1-dirty.js";
import { TYPE1_MAPPINGS_MAX } from "./type1-maps.js";

const LEAST = 16;
const ALL_SIZES = 2n ** 64n - 1n;
const PAGE = BigInt(PAGE_SIZE);

/** @throws UapiError EFAULT, EINVAL. */
export function type1Info(container: VfioContainer, call: Call, address: bigint): number {
  const argsz = argszOf(takeStruct(call, address, LEAST, "Linux vfio_iommu_type1_get_info()"));
  const { ioas } = container.type1;
  const chain = capabilityChain(capabilitiesOf(container, ioas), SIZEOF_VFIO_IOMMU_TYPE1_INFO);
  const needed = SIZEOF_VFIO_IOMMU_TYPE1_INFO + chain.length;
  const fits = argsz >= needed;
  if (fits) call.copyOut(address + BigInt(SIZEOF_VFIO_IOMMU_TYPE1_INFO), chain);
  const view = new DataView(new ArrayBuffer(SIZEOF_VFIO_IOMMU_TYPE1_INFO));
  encodeVfioIommuType1Info(
    {
      argsz: fits ? argsz : needed,
      flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
      iova_pgsizes: pageSizes(ioas),
      cap_offset: fits ? SIZEOF_VFIO_IOMMU_TYPE1_INFO : 0,
      pad: 0,
    },
    view,
  );
  putStruct(call, address, view, Math.min(argsz, SIZEOF_VFIO_IOMMU_TYPE1_INFO));
  return 0;
}

/** What every page table of the space has; pages below the processor's count as the processor's. */
function pageSizes(ioas: Ioas): bigint {
  let sizes = ALL_SIZES;
  for (const { domain } of ioas.hwpts) sizes &= domain.pageSizes;
  const below = sizes & (PAGE - 1n);
  return below === 0n ? sizes : (sizes & ~(PAGE - 1n)) | PAGE;
}

function capabilitiesOf(container: VfioContainer, ioas: Ioas): InfoCapability[] {
  const migration = new DataView(new ArrayBuffer(24));
  migration.setBigUint64(8, PAGE, true);
  migration.setBigUint64(16, DIRTY_BITMAP_MAX, true);
  const available = new DataView(new ArrayBuffer(4));
  available.setUint32(0, TYPE1_MAPPINGS_MAX - ioas.space.areas.size, true);
  const { ranges } = container.iommufd.ioasIovaRanges(ioas.id);
  const iovas = new DataView(new ArrayBuffer(8 + 16 * ranges.length));
  iovas.setUint32(0, ranges.length, true);
  ranges.forEach(({ first, last }, i) => {
    iovas.setBigUint64(8 + 16 * i, first, true);
    iovas.setBigUint64(16 + 16 * i, last, true);
  });
  const cap = (id: number, view: DataView): InfoCapability => ({
    id,
    version: 1,
    body: new Uint8Array(view.buffer),
  });
  return [
    cap(VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, migration),
    cap(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, available),
    cap(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, iovas),
  ];
}
