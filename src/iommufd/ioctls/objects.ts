/** IOMMU_DESTROY, IOMMU_OPTION and IOMMU_VFIO_IOAS. Linux main.c, vfio_compat.c. */
import {
  decodeIommuDestroy,
  decodeIommuOption,
  decodeIommuVfioIoas,
  IOMMU_OPTION_HUGE_PAGES,
  IOMMU_OPTION_OP_GET,
  IOMMU_OPTION_OP_SET,
  IOMMU_OPTION_RLIMIT_MODE,
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_GET,
  IOMMU_VFIO_IOAS_SET,
  type IommuOption,
  UapiError,
} from "../../abi/index.js";
import type { Call } from "../../files/index.js";
import { additionOption, isAdditionOption } from "../addition-options.js";
import type { IoctlHandler } from "../ioctl-row.js";
import type { OpenContext } from "../open-context.js";

const CITE_OPTION = { cite: "Linux iommufd_option()" };
const VAL64_AT = 16;

export const DESTROY: IoctlHandler = {
  run({ iommufd }, _call, { view }) {
    iommufd.destroy(decodeIommuDestroy(view).id);
    return 0;
  },
};

/** Only the value is copied back. */
export const OPTION: IoctlHandler = {
  repliesItself: true,
  run(context, call, argument) {
    const { view, address, bytes } = argument;
    const option = decodeIommuOption(view);
    if (option.__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", CITE_OPTION);
    }
    view.setBigUint64(VAL64_AT, runOption(context, call, option), true);
    call.copyOut(address + BigInt(VAL64_AT), bytes.subarray(VAL64_AT, VAL64_AT + 8));
    return 0;
  },
};

function runOption(context: OpenContext, call: Call, option: IommuOption): bigint {
  switch (option.option_id) {
    case IOMMU_OPTION_RLIMIT_MODE:
      return rlimitMode(context, call, option);
    case IOMMU_OPTION_HUGE_PAGES:
      return hugePages(context, option);
    default:
      if (isAdditionOption(option.option_id)) return additionOption(context, option);
      throw new UapiError("EOPNOTSUPP", "no option has this id", CITE_OPTION);
  }
}

function rlimitMode({ iommufd }: OpenContext, call: Call, option: IommuOption): bigint {
  if (option.object_id !== 0) {
    throw new UapiError("EOPNOTSUPP", "the option belongs to the file, not to an object", {
      cite: "Linux iommufd_option_rlimit_mode()",
    });
  }
  switch (option.op) {
    case IOMMU_OPTION_OP_GET:
      return iommufd.state.mmMode ? 1n : 0n;
    case IOMMU_OPTION_OP_SET:
      iommufd.setRlimitMode(option.val64, call);
      return option.val64;
    default:
      throw unknownOperation();
  }
}

function hugePages({ iommufd }: OpenContext, option: IommuOption): bigint {
  const { space } = iommufd.ioas(option.object_id);
  switch (option.op) {
    case IOMMU_OPTION_OP_GET:
      return space.largePages ? 1n : 0n;
    case IOMMU_OPTION_OP_SET:
      iommufd.setHugePages(option.object_id, option.val64);
      return option.val64;
    default:
      throw unknownOperation();
  }
}

export function unknownOperation(): UapiError {
  return new UapiError("EOPNOTSUPP", "an option is read (1) or set (0)", CITE_OPTION);
}

const CITE_VFIO = { cite: "Linux iommufd_vfio_ioas()" };

/** Copies back what it reads only. */
export const VFIO_IOAS: IoctlHandler = {
  repliesItself: true,
  run({ iommufd }, call, argument) {
    const args = decodeIommuVfioIoas(argument.view);
    if (args.__reserved !== 0) {
      throw new UapiError("EOPNOTSUPP", "a reserved field is not 0", CITE_VFIO);
    }
    switch (args.op) {
      case IOMMU_VFIO_IOAS_GET:
        argument.view.setUint32(4, iommufd.vfio.ioasId, true);
        argument.reply(call);
        return 0;
      case IOMMU_VFIO_IOAS_SET:
        iommufd.vfio.setIoas(args.ioas_id);
        return 0;
      case IOMMU_VFIO_IOAS_CLEAR:
        iommufd.vfio.clearIoas();
        return 0;
      default:
        throw new UapiError("EOPNOTSUPP", "the operation is not get, set or clear", CITE_VFIO);
    }
  },
};
