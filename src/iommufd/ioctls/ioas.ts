/** The calls on address spaces. Linux ioas.c. */
import {
  decodeIommuIoasAlloc,
  decodeIommuIoasAllowIovas,
  decodeIommuIoasChangeProcess,
  decodeIommuIoasCopy,
  decodeIommuIoasIovaRanges,
  decodeIommuIoasMap,
  decodeIommuIoasMapFile,
  decodeIommuIoasUnmap,
  encodeIommuIovaRange,
  SIZEOF_IOMMU_IOVA_RANGE,
  UapiError,
} from "../../abi/index.js";
import type { Call, UserMemory } from "../../files/index.js";
import type { Span } from "../../units/index.js";
import type { Argument } from "../argument.js";
import { memoryOf } from "../file-memory.js";
import { iovaRanges } from "../ioas-calls.js";
import type { IoctlHandler } from "../ioctl-row.js";
import type { OpenContext } from "../open-context.js";
import { tellMapped, unmapStrictly } from "../strict.js";
import { readRanges } from "../user-ranges.js";

const IOVA_AT = 32;

export const IOAS_ALLOC: IoctlHandler = {
  creates: 8,
  run({ iommufd }, _call, { view }) {
    const { flags } = decodeIommuIoasAlloc(view);
    view.setUint32(8, iommufd.ioasAlloc({ flags }), true);
    return 0;
  },
};

/** Copies back also when the ranges did not fit. */
export const IOAS_IOVA_RANGES: IoctlHandler = {
  repliesItself: true,
  run({ iommufd }, call, argument) {
    const args = decodeIommuIoasIovaRanges(argument.view);
    const cite = { cite: "Linux iommufd_ioas_iova_ranges()" };
    if (args.__reserved !== 0) throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", cite);
    const found = iovaRanges(iommufd.state, args.ioas_id, args.num_iovas);
    writeRanges(call, args.allowed_iovas, found.ranges);
    argument.view.setUint32(8, found.total, true);
    argument.view.setBigUint64(24, BigInt(found.alignment), true);
    argument.reply(call);
    if (found.total <= args.num_iovas) return 0;
    throw new UapiError("EMSGSIZE", "there are more ranges than fit", {
      evidence: [{ kind: "ranges", total: found.total, alignment: found.alignment }],
      ...cite,
    });
  },
};

/** @throws UapiError EFAULT. */
export function writeRanges(memory: UserMemory, address: bigint, ranges: readonly Span[]): void {
  const bytes = new Uint8Array(ranges.length * SIZEOF_IOMMU_IOVA_RANGE);
  const view = new DataView(bytes.buffer);
  ranges.forEach(({ first, last }, i) => {
    encodeIommuIovaRange({ start: first, last }, view, i * SIZEOF_IOMMU_IOVA_RANGE);
  });
  if (bytes.length > 0) memory.copyOut(address, bytes);
}

export const IOAS_ALLOW_IOVAS: IoctlHandler = {
  run({ iommufd }, call, { view }) {
    const args = decodeIommuIoasAllowIovas(view);
    if (args.__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", {
        cite: "Linux iommufd_ioas_allow_iovas()",
      });
    }
    iommufd.ioas(args.ioas_id);
    iommufd.ioasAllowIovas(args.ioas_id, readRanges(call, args.allowed_iovas, args.num_iovas));
    return 0;
  },
};

const CITE_MAP = { cite: "Linux iommufd_ioas_map()" };

export const IOAS_MAP: IoctlHandler = {
  run(context, call, { view }) {
    const args = decodeIommuIoasMap(view);
    const { flags, ioas_id: ioasId, user_va: userVa, length, iova } = args;
    if (args.__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", CITE_MAP);
    }
    try {
      const at = context.iommufd.ioasMap({ ioasId, flags, userVa, length, iova }, call);
      view.setBigUint64(IOVA_AT, at, true);
    } catch (error) {
      tellMapped(context, call, error, "IOMMU_IOAS_MAP", iova, length);
      throw error;
    }
    return 0;
  },
};

export const IOAS_MAP_FILE: IoctlHandler = {
  run(context, call, { view }) {
    const args = decodeIommuIoasMapFile(view);
    const { flags, ioas_id: ioasId, start, length, iova } = args;
    const memory = memoryOf(context, call, args.fd);
    try {
      const place = { ioasId, flags, start, length, iova };
      const at = context.iommufd.ioasMapFile({ ...place, ...memory }, call);
      view.setBigUint64(IOVA_AT, at, true);
    } catch (error) {
      tellMapped(context, call, error, "IOMMU_IOAS_MAP_FILE", iova, length);
      throw error;
    }
    return 0;
  },
};

export const IOAS_COPY: IoctlHandler = {
  run(context, call, { view }) {
    const args = decodeIommuIoasCopy(view);
    const { flags, length, dst_iova: dstIova, src_iova: srcIova } = args;
    const spaces = { dstIoasId: args.dst_ioas_id, srcIoasId: args.src_ioas_id };
    try {
      const at = context.iommufd.ioasCopy({ ...spaces, flags, length, dstIova, srcIova });
      view.setBigUint64(24, at, true);
    } catch (error) {
      tellMapped(context, call, error, "IOMMU_IOAS_COPY", dstIova, length);
      throw error;
    }
    return 0;
  },
};

export const IOAS_UNMAP: IoctlHandler = {
  run(context: OpenContext, call: Call, { view }: Argument) {
    const args = decodeIommuIoasUnmap(view);
    const done = context.strict
      ? unmapStrictly(context, call, args.ioas_id, args.iova, args.length)
      : context.iommufd.ioasUnmap(args.ioas_id, args.iova, args.length);
    view.setBigUint64(16, done, true);
    return 0;
  },
};

export const IOAS_CHANGE_PROCESS: IoctlHandler = {
  run({ iommufd }, call, { view }) {
    if (decodeIommuIoasChangeProcess(view).__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", {
        cite: "Linux iommufd_ioas_change_process()",
      });
    }
    iommufd.ioasChangeProcess(call.process);
    return 0;
  },
};
