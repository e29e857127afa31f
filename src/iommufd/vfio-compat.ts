/**
 * The calls of a VFIO container as an iommufd context answers them, on the IOAS that the context
 * keeps for that: its compatibility IOAS. Linux vfio_compat.c.
 *
 * Where an answer differs from a real container's, Linux differs too: cutting a mapping is ENOENT
 * here and EINVAL there, and the type may be set again and again.
 */
import { UapiError } from "../abi/index.js";
import { MapFlag } from "./api.js";
import type { ContextState } from "./context-state.js";
import { Ioas, unmapAll } from "./ioas.js";
import { setHugePages } from "./ioas-calls.js";
import { mapMemory } from "./ioas-map.js";
import type { UserProcess } from "./ports.js";
import { lastOf, offsetOf, pageOf } from "./position.js";
import { cutBefore } from "./space-cut.js";
import { Unmapped, unmapRange } from "./space-unmap.js";

/** VFIO_*_IOMMU and other extensions of a container, by Linux's numbers. */
export const VfioExtension = {
  type1: 1,
  type1v2: 3,
  dmaCacheCoherent: 4,
  nesting: 6,
  noIommu: 8,
  unmapAll: 9,
  updateVaddr: 10,
} as const;

/** VFIO_DMA_MAP_FLAG_*. */
export const VfioMapFlag = { read: 1, write: 2, vaddr: 4 } as const;
/** VFIO_DMA_UNMAP_FLAG_*. */
export const VfioUnmapFlag = { dirtyBitmap: 1, all: 2, vaddr: 4 } as const;

/** VFIO_IOMMU_MAP_DMA. */
export interface VfioMapArgs {
  /** {@link VfioMapFlag}. */
  readonly flags: number;
  /** Address in the calling process. */
  readonly vaddr: bigint;
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
}

/** VFIO_IOMMU_UNMAP_DMA. */
export interface VfioUnmapArgs {
  /** {@link VfioUnmapFlag}; default none. */
  readonly flags?: number | undefined;
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
}

type Run = <T>(call: () => T) => T;

/** The container calls of one context. */
export class VfioCompat {
  readonly #ctx: ContextState;
  readonly #run: Run;

  /** @param run notes refusals. */
  constructor(ctx: ContextState, run: Run) {
    this.#ctx = ctx;
    this.#run = run;
  }

  /** IOMMU_VFIO_IOAS_GET. @throws UapiError ENODEV when there is none. */
  get ioasId(): number {
    return this.#run(() => compatIoas(this.#ctx).id);
  }

  /** IOMMU_VFIO_IOAS_SET. @throws UapiError ENOENT. */
  setIoas(id: number): void {
    this.#run(() => {
      this.#ctx.compatIoasId = this.#ctx.objects.get(id, "ioas").id;
    });
  }

  /** IOMMU_VFIO_IOAS_CLEAR. The IOAS stays. Never fails. */
  clearIoas(): void {
    this.#ctx.compatIoasId = undefined;
  }

  /** The compatibility IOAS, made when there is none. @throws UapiError ENOMEM. */
  ensureIoas(): number {
    const ctx = this.#ctx;
    return this.#run(() => {
      ctx.compatIoasId ??= ctx.objects.create((id) => new Ioas(id, ctx.tables)).id;
      return ctx.compatIoasId;
    });
  }

  /** VFIO_CHECK_EXTENSION. @throws UapiError ENODEV (coherency, without an IOAS). */
  checkExtension(extension: number): boolean {
    return this.#run(() => hasExtension(this.#ctx, extension));
  }

  /** VFIO_SET_IOMMU. @throws UapiError EINVAL (type), ENODEV, or as for large pages off. */
  setIommu(type: number): void {
    this.#run(() => setIommu(this.#ctx, type));
  }

  /** VFIO_IOMMU_MAP_DMA. @throws UapiError EINVAL (flags), ENODEV, or as IOMMU_IOAS_MAP. */
  mapDma(args: VfioMapArgs, process: UserProcess = this.#ctx.caller): void {
    this.#run(() => mapDma(this.#ctx, args, process));
  }

  /**
   * VFIO_IOMMU_UNMAP_DMA. Nothing mapped there is no error.
   * @param removed counts what was removed, also when the call fails then.
   * @returns bytes removed.
   * @throws UapiError EINVAL (flags, length), ENODEV, EOVERFLOW, ENOENT (a mapping in part), EBUSY,
   * EDEADLK.
   */
  unmapDma(args: VfioUnmapArgs, removed = new VfioRemoved()): bigint {
    return this.#run(() => unmapDma(this.#ctx, args, removed));
  }

  /**
   * The compatibility IOAS, for what VFIO_IOMMU_GET_INFO tells. @throws UapiError ENODEV.
   */
  get ioas(): Ioas {
    return this.#run(() => compatIoas(this.#ctx));
  }
}

/** What an unmap removed. */
export class VfioRemoved {
  /** Removing began: the count is worth telling, whatever came then. */
  began = false;
  readonly count = new Unmapped();
}

function compatIoas(ctx: ContextState): Ioas {
  const { compatIoasId } = ctx;
  const found = compatIoasId === undefined ? undefined : ctx.objects.find(compatIoasId);
  if (found?.kind === "ioas") return found as Ioas;
  throw new UapiError("ENODEV", "the context has no compatibility address space", {
    cite: "Linux get_compat_ioas()",
  });
}

function hasExtension(ctx: ContextState, extension: number): boolean {
  switch (extension) {
    case VfioExtension.type1:
    case VfioExtension.type1v2:
    case VfioExtension.unmapAll:
      return true;
    case VfioExtension.dmaCacheCoherent:
      return compatIoas(ctx).hwpts.every(({ domain }) => domain.enforcesCoherency);
    default:
      return false;
  }
}

function setIommu(ctx: ContextState, type: number): void {
  if (type !== VfioExtension.type1 && type !== VfioExtension.type1v2) {
    throw new UapiError("EINVAL", "the type is neither type1 nor type1v2", {
      cite: "Linux iommufd_vfio_set_iommu()",
    });
  }
  const { id } = compatIoas(ctx);
  if (type === VfioExtension.type1) setHugePages(ctx, id, 0n);
}

function mapDma(ctx: ContextState, args: VfioMapArgs, process: UserProcess): void {
  const { flags, vaddr, iova, size } = args;
  if ((flags & ~(VfioMapFlag.read | VfioMapFlag.write)) !== 0) {
    throw new UapiError("EINVAL", "an unknown flag is set", {
      cite: "Linux iommufd_vfio_map_dma()",
    });
  }
  const ioas = compatIoas(ctx);
  const permission =
    ((flags & VfioMapFlag.read) !== 0 ? MapFlag.readable : 0) |
    ((flags & VfioMapFlag.write) !== 0 ? MapFlag.writeable : 0);
  const place = { flags: permission | MapFlag.fixedIova, iova, length: size };
  mapMemory(ctx, ioas, place, vaddr, process);
}

const CITE_UNMAP = { cite: "Linux iommufd_vfio_unmap_dma()" };

function unmapDma(ctx: ContextState, args: VfioUnmapArgs, removed: VfioRemoved): bigint {
  const { flags = 0, iova, size } = args;
  if ((flags & ~VfioUnmapFlag.all) !== 0) {
    throw new UapiError("EINVAL", "an unknown flag is set", CITE_UNMAP);
  }
  const { space } = compatIoas(ctx);
  if ((flags & VfioUnmapFlag.all) !== 0) {
    if (iova === 0n && size === 0n) {
      removed.began = true;
      return unmapAll(space, removed.count);
    }
    throw new UapiError("EINVAL", "with the flag for all, iova and size are 0", CITE_UNMAP);
  }
  if (!space.largePages) {
    // Sums wrap here; only then the range is checked.
    cutBefore(space, BigInt.asUintN(64, iova + size));
    if (iova !== 0n) cutBefore(space, iova);
  }
  removed.began = true;
  if (size === 0n) throw new UapiError("EINVAL", "size is 0", CITE_UNMAP);
  const last = lastOf(iova, size);
  const { count } = removed;
  unmapRange(space, pageOf(iova), offsetOf(iova), pageOf(last), offsetOf(last), count);
  return count.total;
}
