/**
 * A device that was bound to a context. Binding takes its isolation group for the context's owner
 * and blocks it; closing the device is the only way back.
 */
import { UapiError } from "../abi/index.js";
import type { DmaDevice, DriverDeclaration, RoutingMode } from "../driver/index.js";
import type { Bdf, Pasid } from "../units/index.js";
import type { Access } from "./access.js";
import type { AttachPolicy } from "./api.js";
import type { ContextState } from "./context-state.js";
import type { IommufdObject } from "./object-table.js";
import type { Attachment, SlotDevice } from "./slot.js";
import type { Viommu } from "./viommu.js";

/** Its number in a vIOMMU. */
export interface VirtualDevice extends IommufdObject {
  readonly viommu: Viommu;
  readonly virtualId: bigint;
}

/** A bound device. */
export class IommufdDevice implements SlotDevice {
  readonly kind = "device";
  readonly id: number;
  readonly ctx: ContextState;
  readonly dma: DmaDevice;
  /** Echoed in reports; need not be unique. */
  cookie: bigint | undefined;
  /** Goes before the context's. */
  policy: AttachPolicy = {};
  #declared: Pick<DriverDeclaration, "routing" | "translatedOnly"> | undefined;
  /** Its driver is a user: a bound device cannot be destroyed. */
  users = 1;
  /** By the user's PASID; the RID slot under undefined. */
  readonly attachments = new Map<Pasid | undefined, Attachment>();
  vdevice: VirtualDevice | undefined;
  /** How a software device reaches its space. */
  access: Access | undefined;
  /** Tells a software device's driver to let go of pages; by default it lets go of all at once. */
  onUnmap: (access: Access, iova: bigint, length: bigint) => void = (access, iova, length) =>
    access.unpinRange(iova, length);

  constructor(id: number, ctx: ContextState, dma: DmaDevice, cookie: bigint | undefined) {
    this.id = id;
    this.ctx = ctx;
    this.dma = dma;
    this.cookie = cookie;
  }

  /** What its driver says of the requests that it makes the device send. */
  get declaration(): DriverDeclaration {
    return { ...this.dma.declaration, ...this.#declared };
  }

  /**
   * The driver in user space says so.
   * @throws UapiError EBUSY while it is attached; EINVAL when only one of now and before is a
   * device
   * whose driver does the DMA.
   */
  declare(routing: RoutingMode, translatedOnly: boolean): void {
    if (this.attachments.size > 0 || this.access?.ioas !== undefined) {
      throw new UapiError("EBUSY", "the device is attached: its routing cannot change");
    }
    if ((routing === "software") !== (this.dma.declaration.routing === "software")) {
      throw new UapiError("EINVAL", "a device sends requests of its own, or it does not", {
        evidence: [{ kind: "declaration", driver: this.dma.declaration.name, routing }],
      });
    }
    this.#declared = { routing, translatedOnly };
  }

  /** The function whose requester ID it uses. @throws UapiError ENODEV for a software device. */
  get function(): Bdf {
    const found = this.dma.function;
    if (found !== undefined) return found;
    throw new UapiError("ENODEV", "the device sends no requests of its own");
  }

  destroy(): void {
    const { function: bdf, mediated } = this.dma;
    if (bdf !== undefined && !mediated) {
      this.ctx.system.ownership.releaseForUser(bdf, this.ctx.owner);
    }
  }
}

const CITE = "Linux iommufd_device_bind()";

/**
 * IOMMUFD bind. The checks in order: coherency (EINVAL), a group (ENODEV), isolated interrupts
 * (EPERM), ownership of the group (EPERM, EBUSY, EINVAL).
 */
export function bindDevice(
  ctx: ContextState,
  dma: DmaDevice,
  cookie: bigint | undefined,
): IommufdDevice {
  const { function: bdf, mediated } = dma;
  const { ownership, isolation } = ctx.system;
  if (bdf === undefined || mediated) {
    return ctx.objects.create((id) => new IommufdDevice(id, ctx, dma, cookie));
  }
  const { capabilities } = dma;
  if (capabilities !== undefined && !capabilities.cacheCoherent) {
    throw new UapiError("EINVAL", "DMA of the device is not coherent with caches", {
      evidence: [{ kind: "not-coherent", at: bdf }],
      cite: CITE,
    });
  }
  const group = isolation.groupOf(bdf);
  if (group === undefined) {
    throw new UapiError("ENODEV", "the device is in no isolation group: no IOMMU covers it", {
      evidence: [{ kind: "no-group", at: bdf }],
      cite: CITE,
    });
  }
  checkInterrupts(ctx, group.members);
  const id = ctx.objects.reserve();
  try {
    ownership.claimForUser(bdf, ctx.owner);
  } catch (error) {
    ctx.objects.abort(id);
    throw error;
  }
  const made = new IommufdDevice(id, ctx, dma, cookie);
  ctx.objects.publish(made);
  return made;
}

function checkInterrupts(ctx: ContextState, members: readonly Bdf[]): void {
  if (ctx.system.allowUnsafeInterrupts) return;
  const unsafe = members.filter((m) => !ctx.system.driver.capabilities(m).isolatedMsi);
  if (unsafe.length === 0) return;
  throw new UapiError("EPERM", "interrupts of the device are not isolated", {
    evidence: unsafe.map((at) => ({ kind: "interrupts-not-isolated", at })),
    cite: "Linux iommu_group_has_isolated_msi()",
  });
}
