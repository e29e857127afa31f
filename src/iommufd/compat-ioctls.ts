/**
 * The calls of a VFIO container (type1) on an iommufd, on its compatibility IOAS. Linux
 * vfio_compat.c.
 *
 * Structs begin with `argsz`, the room that the caller has; what it has on top is not looked at.
 */
import {
  decodeVfioIommuType1DmaMap,
  decodeVfioIommuType1DmaUnmap,
  SIZEOF_VFIO_IOMMU_TYPE1_DMA_MAP,
  SIZEOF_VFIO_IOMMU_TYPE1_DMA_UNMAP,
  UapiError,
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
} from "../abi/index.js";
import type { Call } from "../files/index.js";
import { readArgsz } from "./argsz.js";
import { compatInfo } from "./compat-info.js";
import type { OpenContext } from "./open-context.js";
import { tell, tellMapped } from "./strict.js";
import { VfioRemoved } from "./vfio-compat.js";

/** @throws UapiError ENOTTY for calls that no container has. */
export function compatIoctl(
  context: OpenContext,
  call: Call,
  command: number,
  argument: bigint,
): number {
  const { vfio } = context.iommufd;
  switch (command >>> 0) {
    case VFIO_GET_API_VERSION:
      return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
      return vfio.checkExtension(asNumber(argument)) ? 1 : 0;
    case VFIO_SET_IOMMU:
      vfio.setIommu(asNumber(argument));
      return 0;
    case VFIO_IOMMU_GET_INFO:
      return compatInfo(context, call, argument);
    case VFIO_IOMMU_MAP_DMA:
      return mapDma(context, call, argument);
    case VFIO_IOMMU_UNMAP_DMA:
      return unmapDma(context, call, argument);
    default:
      throw new UapiError("ENOTTY", "no call of this file has this number", {
        evidence: [{ kind: "ioctl-unknown", command: command >>> 0 }],
        cite: "Linux iommufd_vfio_ioctl()",
      });
  }
}

/** Larger values are no extension either. */
const asNumber = (argument: bigint): number => (argument > 0xffffn ? -1 : Number(argument));

function mapDma(context: OpenContext, call: Call, address: bigint): number {
  const view = readArgsz(call, address, SIZEOF_VFIO_IOMMU_TYPE1_DMA_MAP);
  const { flags, vaddr, iova, size } = decodeVfioIommuType1DmaMap(view);
  try {
    context.iommufd.vfio.mapDma({ flags, vaddr, iova, size }, call.process);
  } catch (error) {
    tellMapped(context, call, error, "VFIO_IOMMU_MAP_DMA", iova, size);
    throw error;
  }
  return 0;
}

/** The size that was removed is copied back, also when the call fails after that. */
function unmapDma(context: OpenContext, call: Call, address: bigint): number {
  const view = readArgsz(call, address, SIZEOF_VFIO_IOMMU_TYPE1_DMA_UNMAP);
  const { flags, iova, size } = decodeVfioIommuType1DmaUnmap(view);
  const removed = new VfioRemoved();
  let refusal: unknown;
  try {
    context.iommufd.vfio.unmapDma({ flags, iova, size }, removed);
  } catch (error) {
    if (!UapiError.is(error) || !removed.began) throw error;
    refusal = error;
  }
  const done = removed.count.total;
  view.setBigUint64(16, done, true);
  call.copyOut(address, new Uint8Array(view.buffer));
  const told = { call: "VFIO_IOMMU_UNMAP_DMA", iova, length: size, done };
  if (refusal !== undefined) {
    if (context.strict && done > 0n) tell(context, call, "unmap-in-part", told);
    throw refusal;
  }
  if (context.strict && done < size) {
    tell(context, call, done === 0n ? "unmap-of-nothing" : "unmap-shorter", told);
  }
  return 0;
}
