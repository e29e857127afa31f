/**
 * VfioContainerFile: an open /dev/vfio/vfio. Linux container.c, vfio_iommu_type1.c.
 *
 * Calls of type1 are refused until its type is set. Closing the file takes no group out of it:
 * groups keep what they are in.
 */
import {
  decodeVfioBitmap,
  decodeVfioIommuType1DirtyBitmap,
  decodeVfioIommuType1DirtyBitmapGet,
  decodeVfioIommuType1DmaMap,
  decodeVfioIommuType1DmaUnmap,
  SIZEOF_VFIO_BITMAP,
  SIZEOF_VFIO_IOMMU_TYPE1_DIRTY_BITMAP,
  SIZEOF_VFIO_IOMMU_TYPE1_DIRTY_BITMAP_GET,
  SIZEOF_VFIO_IOMMU_TYPE1_DMA_MAP,
  SIZEOF_VFIO_IOMMU_TYPE1_DMA_UNMAP,
  UapiError,
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
} from "../abi/index.js";
import { type Call, FileKind, type OpenFile } from "../files/index.js";
import { U64_MAX } from "../iommufd/index.js";
import type { VfioContainer } from "./container.js";
import { noSuchCall } from "./device-access.js";
import { argszOf, checkSize, copyStruct, takeStruct } from "./struct-argument.js";
import { type BitmapTarget, checkBitmap, reportDirty } from "./type1-dirty.js";
import { type1Info } from "./type1-info.js";

const CITE_UNMAP = "Linux vfio_iommu_type1_unmap_dma()";
const CITE_DIRTY = "Linux vfio_iommu_type1_dirty_pages()";

/** See the head of the file. */
export class VfioContainerFile implements OpenFile {
  readonly kind = FileKind.vfioContainer;
  readonly label = "/dev/vfio/vfio";
  readonly rdev: OpenFile["rdev"];
  readonly container: VfioContainer;
  #isTracking = false;

  constructor(container: VfioContainer, rdev?: OpenFile["rdev"]) {
    this.container = container;
    this.rdev = rdev;
  }

  ioctl(call: Call, command: number, argument: bigint): number {
    const number = Number(BigInt.asUintN(32, argument));
    switch (command) {
      case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
      case VFIO_CHECK_EXTENSION:
        return this.container.checkExtension(number) ? 1 : 0;
      case VFIO_SET_IOMMU:
        this.container.setIommu(number);
        this.#isTracking = false;
        return 0;
      default:
        return this.#type1(call, command, argument);
    }
  }

  release(): void {}

  /** @throws UapiError EINVAL while no type is set. */
  #type1(call: Call, command: number, address: bigint): number {
    const { container } = this;
    // Refuses whatever it is.
    const { isFirstVersion } = container.type1;
    switch (command) {
      case VFIO_IOMMU_GET_INFO:
        return type1Info(container, call, address);
      case VFIO_IOMMU_MAP_DMA:
        return this.#map(call, address);
      case VFIO_IOMMU_UNMAP_DMA:
        return this.#unmap(call, address);
      case VFIO_IOMMU_DIRTY_PAGES:
        if (isFirstVersion) {
          throw new UapiError("EACCES", "the first version of type1 has no dirty pages", {
            cite: CITE_DIRTY,
          });
        }
        return this.#dirtyPages(call, address);
      default:
        return noSuchCall(command);
    }
  }

  #map(call: Call, address: bigint): number {
    const view = takeStruct(
      call,
      address,
      SIZEOF_VFIO_IOMMU_TYPE1_DMA_MAP,
      "Linux vfio_iommu_type1_map_dma()",
    );
    this.container.mapDma(decodeVfioIommuType1DmaMap(view), call.process);
    return 0;
  }

  #unmap(call: Call, address: bigint): number {
    const bytes = SIZEOF_VFIO_IOMMU_TYPE1_DMA_UNMAP;
    const view = takeStruct(call, address, bytes, CITE_UNMAP);
    const { flags, iova, size } = decodeVfioIommuType1DmaUnmap(view);
    const wantsBits = (flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) !== 0;
    if (wantsBits && (flags & (VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR)) !== 0) {
      throw new UapiError("EINVAL", "dirty pages cannot be asked for with this flag", {
        cite: CITE_UNMAP,
      });
    }
    if (wantsBits) this.#reportUnmapped(call, address, view);
    const plain = flags & ~VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    const removed = this.container.unmapDma({ flags: plain, iova, size });
    view.setBigUint64(16, removed, true);
    call.copyOut(address, new Uint8Array(view.buffer));
    return 0;
  }

  /** @throws UapiError EINVAL, EFAULT. */
  #reportUnmapped(call: Call, address: bigint, view: DataView): void {
    const { iova, size } = decodeVfioIommuType1DmaUnmap(view);
    const bytes = SIZEOF_VFIO_IOMMU_TYPE1_DMA_UNMAP;
    checkSize(argszOf(view), bytes + SIZEOF_VFIO_BITMAP, CITE_UNMAP);
    const target = decodeVfioBitmap(copyStruct(call, address + BigInt(bytes), SIZEOF_VFIO_BITMAP));
    this.#report(call, iova, size, target);
  }

  #dirtyPages(call: Call, address: bigint): number {
    const bytes = SIZEOF_VFIO_IOMMU_TYPE1_DIRTY_BITMAP;
    const view = takeStruct(call, address, bytes, CITE_DIRTY);
    const { flags } = decodeVfioIommuType1DirtyBitmap(view);
    switch (flags) {
      case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
        this.#isTracking = true;
        return 0;
      case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
        this.#isTracking = false;
        return 0;
      case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: {
        const more = SIZEOF_VFIO_IOMMU_TYPE1_DIRTY_BITMAP_GET;
        checkSize(argszOf(view), bytes + more, CITE_DIRTY);
        const range = decodeVfioIommuType1DirtyBitmapGet(
          copyStruct(call, address + BigInt(bytes), more),
        );
        this.#report(call, range.iova, range.size, range.bitmap);
        return 0;
      }
      default:
        throw new UapiError("EINVAL", "exactly one flag is to be set", { cite: CITE_DIRTY });
    }
  }

  /** @throws UapiError EINVAL, EFAULT. */
  #report(call: Call, iova: bigint, size: bigint, target: BitmapTarget): void {
    if (size === 0n || iova + size - 1n > U64_MAX) {
      throw new UapiError("EINVAL", "the range is empty, or ends above 2^64 - 1", {
        cite: CITE_DIRTY,
      });
    }
    checkBitmap(size, target);
    if (!this.#isTracking) {
      throw new UapiError("EINVAL", "dirty pages are not tracked", { cite: CITE_DIRTY });
    }
    const range = { first: iova, last: iova + size - 1n };
    reportDirty(call, this.container.type1.ioas, range, target);
  }
}
