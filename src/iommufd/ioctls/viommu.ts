/** The calls on virtual IOMMUs and what belongs to them. Linux viommu.c, eventq.c. */
import {
  decodeIommuHwQueueAlloc,
  decodeIommuVdeviceAlloc,
  decodeIommuVeventqAlloc,
  decodeIommuViommuAlloc,
  UapiError,
} from "../../abi/index.js";
import type { Call, UserMemory } from "../../files/index.js";
import { EventFile } from "../event-file.js";
import type { EventQueue } from "../event-queue.js";
import type { IoctlHandler } from "../ioctl-row.js";
import type { OpenContext } from "../open-context.js";
import { undo } from "../undo.js";
import { dataOf } from "../user-data.js";
import type { Viommu } from "../viommu.js";

export const VIOMMU_ALLOC: IoctlHandler = {
  creates: 20,
  run(context, call, { view }) {
    const args = decodeIommuViommuAlloc(view);
    const { type, data_uptr, data_len } = args;
    const viommu = context.iommufd.viommuAlloc({
      flags: args.flags,
      type,
      devId: args.dev_id,
      hwptId: args.hwpt_id,
      data: data_len === 0 ? undefined : dataOf(call, type, data_uptr, data_len),
    });
    try {
      placeRegion(context, viommu);
      reply(call, viommu, data_uptr, data_len);
    } catch (error) {
      undo(context, viommu.id);
      throw error;
    }
    view.setUint32(20, viommu.id, true);
    return 0;
  },
};

/** Gives memory that the user may map an offset in the file. */
function placeRegion({ memory, regions }: OpenContext, viommu: Viommu): void {
  const { region } = viommu.virtual;
  if (region === undefined) return;
  const made = memory.create(`vIOMMU ${viommu.id}`, region.byteLength);
  region.fill(made.bytes);
  region.placed(regions.add(made, viommu));
  viommu.onDestroy = () => regions.removeOwner(viommu);
}

/** What the driver answers, as far as the caller has room. */
function reply(memory: UserMemory, viommu: Viommu, address: bigint, room: number): void {
  const answer = viommu.virtual.reply?.bytes;
  if (answer === undefined) return;
  const length = Math.min(room, answer.byteLength);
  memory.copyOut(address, new Uint8Array(answer.buffer, answer.byteOffset, length));
}

export const VDEVICE_ALLOC: IoctlHandler = {
  creates: 12,
  run({ iommufd }, _call, { view }) {
    const { viommu_id: viommuId, dev_id: devId, virt_id } = decodeIommuVdeviceAlloc(view);
    const made = iommufd.vdeviceAlloc({ viommuId, devId, virtualId: virt_id });
    view.setUint32(12, made.id, true);
    return 0;
  },
};

export const VEVENTQ_ALLOC: IoctlHandler = {
  creates: 20,
  run({ iommufd }, _call, { view }) {
    const args = decodeIommuVeventqAlloc(view);
    if (args.__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", {
        cite: "Linux iommufd_veventq_alloc()",
      });
    }
    const { flags, type, viommu_id: viommuId, veventq_depth: depth } = args;
    view.setUint32(20, iommufd.veventqAlloc({ flags, type, viommuId, depth }).id, true);
    return 0;
  },
  finish(context: OpenContext, call: Call, { view, address }) {
    const { objects } = context.iommufd.state;
    const queue = objects.get(view.getUint32(20, true), "veventq") as EventQueue;
    call.newDescriptor(new EventFile(context, queue), { address: address + 24n }, true);
  },
};

export const HW_QUEUE_ALLOC: IoctlHandler = {
  creates: 20,
  run({ iommufd }, _call, { view }) {
    const args = decodeIommuHwQueueAlloc(view);
    const made = iommufd.hwQueueAlloc({
      flags: args.flags,
      viommuId: args.viommu_id,
      type: args.type,
      index: args.index,
      iova: args.nesting_parent_iova,
      length: args.length,
    });
    view.setUint32(20, made.id, true);
    return 0;
  },
};
