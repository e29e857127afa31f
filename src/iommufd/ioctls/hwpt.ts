/** The calls on hardware page tables, and what the hardware is. Linux hw_pagetable.c, device.c. */
import {
  decodeIommuFaultAlloc,
  decodeIommuHwInfo,
  decodeIommuHwptAlloc,
  decodeIommuHwptGetDirtyBitmap,
  decodeIommuHwptInvalidate,
  decodeIommuHwptSetDirtyTracking,
  encodeIommuHwInfo,
  IOMMU_HW_INFO_FLAG_INPUT_TYPE,
  type IommuHwptInvalidate,
  UapiError,
} from "../../abi/index.js";
import type { Call, UserMemory } from "../../files/index.js";
import type { FaultQueue } from "../fault.js";
import { FaultFile } from "../fault-file.js";
import type { IoctlHandler } from "../ioctl-row.js";
import type { OpenContext } from "../open-context.js";
import { tell } from "../strict.js";
import { UserBitmap } from "../user-bitmap.js";
import { dataOf, UserEntries } from "../user-data.js";

export const HWPT_ALLOC: IoctlHandler = {
  creates: 16,
  run({ iommufd }, call, { view }) {
    const args = decodeIommuHwptAlloc(view);
    if (args.__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", {
        cite: "Linux iommufd_hwpt_alloc()",
      });
    }
    const id = iommufd.hwptAlloc({
      flags: args.flags,
      devId: args.dev_id,
      ptId: args.pt_id,
      data: dataOf(call, args.data_type, args.data_uptr, args.data_len),
      faultId: args.fault_id,
    });
    view.setUint32(16, id, true);
    return 0;
  },
};

const CITE_INFO = { cite: "Linux iommufd_get_hw_info()" };

export const GET_HW_INFO: IoctlHandler = {
  run({ iommufd }, call, { view }) {
    const args = decodeIommuHwInfo(view);
    if ((args.flags & ~IOMMU_HW_INFO_FLAG_INPUT_TYPE) !== 0) {
      throw new UapiError("EOPNOTSUPP", "an unknown flag is set", CITE_INFO);
    }
    if (args.__reserved.some((byte) => byte !== 0)) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", CITE_INFO);
    }
    const isTyped = (args.flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE) !== 0;
    const found = iommufd.hardwareInfo(args.dev_id, isTyped ? args.out_data_type : 0);
    const { type, bytes } = found.hardware;
    const length = Math.min(bytes.length, args.data_len);
    if (length > 0) call.copyOut(args.data_uptr, bytes.subarray(0, length));
    clear(call, args.data_uptr + BigInt(length), args.data_len - length);
    args.data_len = bytes.length;
    args.out_data_type = type;
    args.out_max_pasid_log2 = found.maxPasidLog2;
    args.out_capabilities = found.capabilities;
    encodeIommuHwInfo(args, view);
    return 0;
  },
};

/** Zeros in the caller's memory. @throws UapiError EFAULT. */
function clear(memory: UserMemory, address: bigint, length: number): void {
  const zeros = new Uint8Array(Math.min(length, 65536));
  for (let done = 0; done < length; done += zeros.length) {
    const part = zeros.subarray(0, Math.min(zeros.length, length - done));
    memory.copyOut(address + BigInt(done), part);
  }
}

export const HWPT_SET_DIRTY_TRACKING: IoctlHandler = {
  run({ iommufd }, _call, { view }) {
    const { hwpt_id, flags } = decodeIommuHwptSetDirtyTracking(view);
    iommufd.hwptSetDirtyTracking(hwpt_id, flags);
    return 0;
  },
};

export const HWPT_GET_DIRTY_BITMAP: IoctlHandler = {
  run(context, call, { view }) {
    const args = decodeIommuHwptGetDirtyBitmap(view);
    if (args.__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", {
        cite: "Linux iommufd_hwpt_get_dirty_bitmap()",
      });
    }
    const { iova, length } = args;
    const bitmap = new UserBitmap(call, args.data);
    const walked = context.iommufd.hwptGetDirtyBitmap({
      hwptId: args.hwpt_id,
      flags: args.flags,
      iova,
      length,
      pageSize: args.page_size,
      bitmap,
    });
    bitmap.flush();
    if (context.strict) {
      const told = { call: "IOMMU_HWPT_GET_DIRTY_BITMAP", iova, length };
      if (walked < length) tell(context, call, "dirty-hole", { ...told, done: walked });
      if (bitmap.isIncomplete) tell(context, call, "dirty-bitmap-lost", told);
    }
    return 0;
  },
};

/** The number of entries done is copied back whatever happens. */
export const HWPT_INVALIDATE: IoctlHandler = {
  repliesItself: true,
  run(context, call, argument) {
    const args = decodeIommuHwptInvalidate(argument.view);
    const { data_uptr, entry_len, entry_num } = args;
    const entries = new UserEntries(call, data_uptr, entry_len, entry_num);
    let refusal: unknown;
    try {
      invalidate(context, args, entries);
    } catch (error) {
      if (!UapiError.is(error)) throw error;
      refusal = error;
    }
    argument.view.setUint32(24, entries.done, true);
    argument.reply(call);
    if (refusal !== undefined) throw refusal;
    return 0;
  },
};

function invalidate(
  { iommufd }: OpenContext,
  args: IommuHwptInvalidate,
  entries: UserEntries,
): void {
  const cite = { cite: "Linux iommufd_hwpt_invalidate()" };
  if (args.__reserved !== 0) throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", cite);
  if (args.entry_num !== 0 && args.data_uptr === 0n) {
    throw new UapiError("EINVAL", "entries at address 0", cite);
  }
  iommufd.hwptInvalidate({ hwptId: args.hwpt_id, dataType: args.data_type, entries });
}

export const FAULT_QUEUE_ALLOC: IoctlHandler = {
  creates: 8,
  run({ iommufd }, _call, { view }) {
    const { flags } = decodeIommuFaultAlloc(view);
    view.setUint32(8, iommufd.faultQueueAlloc(flags).id, true);
    return 0;
  },
  finish(context: OpenContext, call: Call, { view, address }) {
    const { objects } = context.iommufd.state;
    const queue = objects.get(view.getUint32(8, true), "fault") as FaultQueue;
    call.newDescriptor(new FaultFile(context, queue), { address: address + 12n }, true);
  },
};
