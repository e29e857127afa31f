/** What comes from hardware: page requests, events of virtual IOMMUs, revoked device memory. */
import { UapiError } from "../abi/index.js";
import type { Bdf, Pasid } from "../units/index.js";
import { AreaFlag } from "./area-rows.js";
import type { ContextState } from "./context-state.js";
import type { IommufdDevice } from "./device.js";
import type { FaultGroup } from "./fault.js";
import type { Hwpt } from "./hw-pagetable.js";
import type { Ioas } from "./ioas.js";
import type { PageSource } from "./ports.js";
import { type Slot, type SlotDevice, scopeOf } from "./slot.js";

/**
 * A device sent page requests. They go to the fault queue of the table in the slot; requests with a
 * PASID without a slot go to the nested table of the RID (the guest owns its PASIDs).
 * @returns false when nobody takes them: the hardware answers.
 */
export function deliverFault(
  ctx: ContextState,
  device: Bdf,
  pasid: Pasid | undefined,
  group: FaultGroup,
): boolean {
  const scope = scopeOf(ctx.system.isolation, device);
  const own = ctx.slots.find(scope, pasid);
  const rid = ctx.slots.find(scope, undefined);
  const slot = own ?? (rid?.hwpt.kind === "hwpt-nested" ? rid : undefined);
  const source = slot === undefined ? undefined : sourceIn(slot, device);
  const fault = slot?.hwpt.fault;
  if (slot === undefined || source === undefined || fault === undefined) return false;
  fault.deliver(source, own === undefined ? pasid : userPasid(source, slot), group);
  return true;
}

/** The bound device of a slot that a function's requests belong to. */
function sourceIn(slot: Slot, device: Bdf): SlotDevice | undefined {
  let any: SlotDevice | undefined;
  for (const candidate of slot.attached) {
    if (candidate.dma.function === device) return candidate;
    any = candidate;
  }
  return any;
}

/** The PASID by which the user knows the slot: hardware's may differ. */
function userPasid(device: SlotDevice, slot: Slot): Pasid | undefined {
  for (const [pasid, attachment] of device.attachments) if (attachment.slot === slot) return pasid;
  return undefined;
}

/**
 * An event of a device behind a virtual IOMMU.
 * @throws UapiError ENOENT (the device is on no nested table of a vIOMMU, or has no number there),
 * EOPNOTSUPP (no queue of the type).
 */
export function deliverVirtualEvent(
  device: IommufdDevice,
  type: number,
  makeData: (virtualId: bigint) => Uint8Array,
): void {
  const rid: Hwpt | undefined = device.attachments.get(undefined)?.slot.hwpt;
  const viommu = rid?.kind === "hwpt-nested" ? rid.viommu : undefined;
  const { vdevice } = device;
  if (viommu === undefined || vdevice === undefined || vdevice.virtualId === 0n) {
    throw new UapiError("ENOENT", "the device has no number in a vIOMMU that it uses", {
      cite: "Linux iommufd_viommu_get_vdev_id()",
    });
  }
  const queue = vdevice.viommu.queues.get(type);
  if (queue === undefined) {
    throw new UapiError("EOPNOTSUPP", "the vIOMMU has no event queue of this type", {
      cite: "Linux iommufd_viommu_report_event()",
    });
  }
  queue.report(makeData(vdevice.virtualId));
}

/** Memory of a device is gone: no page table shows it any more; its areas stay, empty. */
export function revokeSource(ctx: ContextState, source: PageSource): void {
  const { origins, sharedPages } = ctx.tables;
  const ids = new Set(origins.of(source).map((o) => o.id));
  if (ids.size === 0) return;
  for (const object of ctx.objects.all()) {
    if (object.kind !== "ioas") continue;
    const { space } = object as Ioas;
    const { rows } = space.areas;
    space.revoke((row) => {
      const isShared = (rows.flags(row) & AreaFlag.shared) !== 0;
      const number = rows.source(row);
      return ids.has(isShared ? sharedPages.get(number).origin.id : number);
    });
  }
}
