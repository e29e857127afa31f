/** Allocating vIOMMUs and what belongs to them. The order of checks is the kernel's: viommu.c. */
import { UapiError } from "../abi/index.js";
import type { DriverData, HardwareQueue } from "../driver/index.js";
import { Access } from "./access.js";
import type { ContextState } from "./context-state.js";
import type { IommufdDevice } from "./device.js";
import { EventQueue } from "./event-queue.js";
import type { HwptPaging } from "./hw-pagetable.js";
import { EVENT_QUEUE_DEPTH_MAX } from "./limits.js";
import { lastOf } from "./position.js";
import { lockPages, unlockPages } from "./queue-lock.js";
import { Vdevice } from "./vdevice.js";
import { HwQueue, Viommu } from "./viommu.js";

export interface ViommuAllocArgs {
  readonly flags?: number | undefined;
  readonly type: number;
  readonly devId: number;
  readonly hwptId: number;
  readonly data?: DriverData | undefined;
}

/** @throws UapiError EOPNOTSUPP (flags, type), ENOENT, EINVAL (not a nesting parent). */
export function viommuAlloc(ctx: ContextState, args: ViommuAllocArgs): Viommu {
  if ((args.flags ?? 0) !== 0 || args.type === 0) throw unsupported("iommufd_viommu_alloc_ioctl()");
  const device = ctx.objects.get(args.devId, "device") as IommufdDevice;
  const types = ctx.system.driver.virtualIommuTypes?.(device.function) ?? [];
  if (!types.includes(args.type)) throw unsupported("iommufd_viommu_alloc_ioctl()");
  const parent = ctx.objects.get(args.hwptId, "hwpt-paging") as HwptPaging;
  if (!parent.nestParent) {
    throw new UapiError("EINVAL", "the page table is no nesting parent", {
      cite: "Linux iommufd_viommu_alloc_ioctl()",
    });
  }
  return ctx.objects.create((id) => {
    const { driver } = ctx.system;
    const virtual = driver.allocVirtualIommu(device.function, parent.domain, args.type, args.data);
    return new Viommu(id, parent, args.type, virtual);
  });
}

export interface VdeviceAllocArgs {
  readonly viommuId: number;
  readonly devId: number;
  readonly virtualId: bigint;
}

/** @throws UapiError ENOENT, EINVAL (another IOMMU), EEXIST (device or number taken). */
export function vdeviceAlloc(ctx: ContextState, args: VdeviceAllocArgs): Vdevice {
  const viommu = ctx.objects.get(args.viommuId, "viommu") as Viommu;
  const device = ctx.objects.get(args.devId, "device") as IommufdDevice;
  const cite = "Linux iommufd_vdevice_alloc_ioctl()";
  if (ctx.system.driver.instanceOf(device.function) !== viommu.parent.domain.instance) {
    throw new UapiError("EINVAL", "the device is behind another IOMMU than the vIOMMU", { cite });
  }
  if (device.vdevice !== undefined) {
    throw new UapiError("EEXIST", "the device has a vDEVICE already", { cite });
  }
  if (viommu.vdevices.has(args.virtualId)) {
    throw new UapiError("EEXIST", "the virtual id is taken in this vIOMMU", { cite });
  }
  return ctx.objects.create((id) => new Vdevice(id, viommu, device, args.virtualId));
}

export interface VeventqAllocArgs {
  readonly flags?: number | undefined;
  readonly viommuId: number;
  readonly type: number;
  readonly depth: number;
}

/** @throws UapiError EOPNOTSUPP (flags, type 0), EINVAL (depth), ENOENT, EEXIST. */
export function veventqAlloc(ctx: ContextState, args: VeventqAllocArgs): EventQueue {
  if ((args.flags ?? 0) !== 0 || args.type === 0) throw unsupported("iommufd_veventq_alloc()");
  if (args.depth < 1 || args.depth > EVENT_QUEUE_DEPTH_MAX) {
    throw new UapiError("EINVAL", `depth is not 1..${EVENT_QUEUE_DEPTH_MAX}`, {
      cite: "Linux iommufd_veventq_alloc()",
    });
  }
  const viommu = ctx.objects.get(args.viommuId, "viommu") as Viommu;
  if (viommu.queues.has(args.type)) {
    throw new UapiError("EEXIST", "the vIOMMU has an event queue of this type", {
      cite: "Linux iommufd_veventq_alloc()",
    });
  }
  return ctx.objects.create((id) => new EventQueue(id, viommu, args.type, args.depth));
}

export interface HwQueueAllocArgs {
  readonly flags?: number | undefined;
  readonly viommuId: number;
  readonly type: number;
  readonly index: number;
  readonly iova: bigint;
  readonly length: bigint;
}

/**
 * Pins the queue's memory in the nesting parent's space and locks its mappings.
 * @throws UapiError EOPNOTSUPP, EINVAL, EOVERFLOW, ENOENT, EPERM, EFAULT (not contiguous), or what
 * the driver throws.
 */
export function hwQueueAlloc(ctx: ContextState, args: HwQueueAllocArgs): HwQueue {
  const cite = "Linux iommufd_hw_queue_alloc_ioctl()";
  if ((args.flags ?? 0) !== 0 || args.type === 0)
    throw unsupported("iommufd_hw_queue_alloc_ioctl()");
  if (args.length === 0n) throw new UapiError("EINVAL", "length is 0", { cite });
  lastOf(args.iova, args.length);
  const viommu = ctx.objects.get(args.viommuId, "viommu") as Viommu;
  const { allocQueue } = viommu.virtual;
  if (allocQueue === undefined || !viommu.virtual.queueTypes.includes(args.type)) {
    throw unsupported("iommufd_hw_queue_alloc_ioctl()");
  }
  return ctx.objects.create((id) => {
    const access = new Access(0, ctx, { pinsPages: true, internal: true });
    try {
      access.attach(viommu.parent.ioas);
      const frame = pinContiguous(access, args.iova, args.length);
      const queue = allocQueue(args.type, args.index, frame, args.length);
      const locked = lockPages(viommu.parent.ioas.space, args.iova, args.length);
      const dependsOn = ownerOf(ctx, queue.dependsOn);
      return new HwQueue(id, viommu, queue, dependsOn, () => {
        unlockPages(viommu.parent.ioas.space, locked);
        access.close();
      });
    } catch (error) {
      access.close();
      throw error;
    }
  });
}

function pinContiguous(access: Access, iova: bigint, length: bigint): number {
  const first = iova & ~0xfffn;
  const last = (iova + length - 1n) | 0xfffn;
  const { frames } = access.pin(first, last - first + 1n);
  const frame = frames[0] as number;
  for (let i = 1; i < frames.length; i++) {
    if (frames[i] !== frame + i) {
      throw new UapiError("EFAULT", "the queue's memory is not contiguous", {
        cite: "Linux iommufd_hw_queue_alloc_phys()",
      });
    }
  }
  return frame;
}

function ownerOf(ctx: ContextState, queue: HardwareQueue | undefined): HwQueue | undefined {
  if (queue === undefined) return undefined;
  for (const object of ctx.objects.all()) {
    if (object.kind === "hw-queue" && (object as HwQueue).queue === queue) return object as HwQueue;
  }
  return undefined;
}

function unsupported(what: string): UapiError {
  return new UapiError("EOPNOTSUPP", "flags or type are not supported", { cite: `Linux ${what}` });
}
