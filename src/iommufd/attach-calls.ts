/**
 * Attach and replace as a device's user calls them: by the id of an IOAS or of a page table.
 *
 * For an IOAS the first automatic page table that the device accepts is taken, else one is made.
 * Linux iommufd_device_change_pt(), iommufd_device_auto_get_domain().
 */
import { isRefusal, UapiError } from "../abi/index.js";
import type { Pasid } from "../units/index.js";
import { createAccess } from "./access.js";
import type { AttachPolicy } from "./api.js";
import { attachTo, detach, dropAuto, replaceWith } from "./attach.js";
import type { ContextState } from "./context-state.js";
import type { IommufdDevice } from "./device.js";
import type { Hwpt, HwptPaging } from "./hw-pagetable.js";
import { allocAuto } from "./hwpt-alloc.js";
import type { Ioas } from "./ioas.js";
import type { AttachRequest } from "./slot.js";

export interface AttachArgs {
  readonly device: IommufdDevice;
  /** An IOAS or a page table. */
  readonly ptId: number;
  readonly pasid?: Pasid | undefined;
  /** Overrides the context's policy. */
  readonly policy?: AttachPolicy | undefined;
}

type Change = (ctx: ContextState, request: AttachRequest, hwpt: Hwpt) => void;

/** @returns the id of the page table. @throws UapiError ENOENT, EINVAL, EBUSY, EADDRINUSE, … */
export function attachDevice(ctx: ContextState, args: AttachArgs): number {
  if (args.device.dma.declaration.routing === "software") return attachSoftware(ctx, args);
  return changeTable(ctx, args, attachTo, true);
}

/** @returns the id of the page table. @throws UapiError as attach; EINVAL when not attached. */
export function replaceDevice(ctx: ContextState, args: AttachArgs): number {
  if (args.device.dma.declaration.routing !== "software") {
    return changeTable(ctx, args, replaceWith, false);
  }
  const { access } = args.device;
  if (access === undefined) throw new UapiError("EINVAL", "the device is not attached");
  access.replace(ctx.objects.get(args.ptId, "ioas") as Ioas);
  return args.ptId;
}

/** Ends an attachment; nothing happens when there is none. Never fails. */
export function detachDevice(
  ctx: ContextState,
  device: IommufdDevice,
  pasid: Pasid | undefined,
): void {
  if (device.dma.declaration.routing !== "software") detach(ctx, device, pasid);
  else device.access?.detach();
}

/** The device is closed: attachments end, a vDEVICE leaves a tombstone, the group is let go. */
export function unbindDevice(ctx: ContextState, device: IommufdDevice): void {
  for (const pasid of [...device.attachments.keys()]) {
    if (pasid !== undefined) detach(ctx, device, pasid);
  }
  detach(ctx, device, undefined);
  device.access?.close();
  device.access = undefined;
  if (device.vdevice !== undefined) ctx.objects.entomb(device.vdevice);
  device.users = 0;
  ctx.objects.remove(device);
}

function changeTable(
  ctx: ContextState,
  args: AttachArgs,
  change: Change,
  isAttach: boolean,
): number {
  const { device, pasid, policy = {} } = args;
  const request = { device, pasid, policy };
  const target = ctx.objects.find(args.ptId);
  switch (target?.kind) {
    case "hwpt-paging":
    case "hwpt-nested":
      change(ctx, request, target as Hwpt);
      return target.id;
    case "ioas":
      return changeAuto(ctx, request, target as Ioas, change, isAttach);
    default:
      throw new UapiError(
        target === undefined ? "ENOENT" : "EINVAL",
        "the id is no address space or page table",
        {
          evidence: [{ kind: "object-not-found", id: args.ptId, found: target?.kind }],
          cite: "Linux iommufd_device_change_pt()",
        },
      );
  }
}

function changeAuto(
  ctx: ContextState,
  request: AttachRequest,
  ioas: Ioas,
  change: Change,
  isAttach: boolean,
): number {
  for (const { id, auto } of ioas.hwpts) {
    if (!auto) continue;
    try {
      change(ctx, request, ctx.objects.get(id, "hwpt-paging") as HwptPaging);
      return id;
    } catch (error) {
      // EINVAL: this page table does not suit the device; the next one may.
      if (!isRefusal(error, "EINVAL")) throw error;
    }
  }
  const made = ctx.objects.create((id) => {
    const hwpt = allocAuto(ctx, request.device, ioas, id);
    try {
      // Attaching first lets the driver see the table's device before anything is mapped; replacing
      // goes to a table that is complete.
      if (!isAttach) hwpt.join();
      change(ctx, request, hwpt);
      if (isAttach) hwpt.join();
      return hwpt;
    } catch (error) {
      if (isAttach) detachFailed(ctx, request, hwpt);
      hwpt.destroy();
      throw error;
    }
  });
  return made.id;
}

/** Attached, but the space did not take the page table: back to where it was. */
function detachFailed(ctx: ContextState, request: AttachRequest, hwpt: HwptPaging): void {
  const { device, pasid } = request;
  if (device.attachments.get(pasid)?.slot.hwpt === hwpt)
    detach(ctx, device as IommufdDevice, pasid);
  dropAuto(ctx, hwpt);
}

/** A device without DMA of its own: an access to the space is all there is. */
function attachSoftware(ctx: ContextState, args: AttachArgs): number {
  const { device } = args;
  if (args.pasid !== undefined) {
    throw new UapiError("EINVAL", "the device has no PASIDs: its driver does the DMA");
  }
  const ioas = ctx.objects.get(args.ptId, "ioas") as Ioas;
  if (device.access?.ioas !== undefined) throw new UapiError("EBUSY", "the device is attached");
  device.access ??= createAccess(ctx, { pinsPages: true, unmap: device.onUnmap });
  device.access.attach(ioas);
  return ioas.id;
}
