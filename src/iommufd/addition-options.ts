/**
 * Options of IOMMU_OPTION that Linux does not have: the policy of a context or of one device, what
 * a device's driver declares, and whether traps are told.
 */
import {
  IOASIS_OPTION_DEVICE_COOKIE,
  IOASIS_OPTION_DEVICE_ROUTING,
  IOASIS_OPTION_EXCLUDE_RID_WINDOWS,
  IOASIS_OPTION_PASID_POLICY,
  IOASIS_OPTION_STRICT,
  IOASIS_ROUTING_RID,
  IOASIS_ROUTING_RID_PASID,
  IOASIS_ROUTING_RID_PASID_SHARED_QUEUE,
  IOASIS_ROUTING_SOFTWARE,
  IOASIS_ROUTING_TRANSLATED_ONLY,
  IOMMU_OPTION_OP_GET,
  IOMMU_OPTION_OP_SET,
  type IommuOption,
  UapiError,
} from "../abi/index.js";
import type { RoutingMode } from "../driver/index.js";
import type { AttachPolicy, PasidPolicy } from "./api.js";
import type { IommufdDevice } from "./device.js";
import type { OpenContext } from "./open-context.js";

const FIRST = 0x80000000;

export const isAdditionOption = (id: number): boolean => id >= FIRST;

/** What an option is now, and how it is changed. */
interface Option {
  get(): bigint;
  set(value: bigint): void;
}

/**
 * Reads or sets one.
 * @returns the value that the caller gets back.
 * @throws UapiError EOPNOTSUPP (no such option or operation), ENOENT (no such device), EINVAL (the
 * value), EBUSY (the device is attached).
 */
export function additionOption(context: OpenContext, option: IommuOption): bigint {
  const found = optionOf(context, option);
  switch (option.op) {
    case IOMMU_OPTION_OP_GET:
      return found.get();
    case IOMMU_OPTION_OP_SET:
      found.set(option.val64);
      return option.val64;
    default:
      throw new UapiError("EOPNOTSUPP", "an option is read (1) or set (0)");
  }
}

function optionOf(context: OpenContext, { option_id, object_id }: IommuOption): Option {
  switch (option_id) {
    case IOASIS_OPTION_PASID_POLICY:
      return pasidPolicy(holderOf(context, object_id));
    case IOASIS_OPTION_EXCLUDE_RID_WINDOWS:
      return ridWindows(holderOf(context, object_id));
    case IOASIS_OPTION_STRICT:
      if (object_id !== 0) throw unknown("the option belongs to the file, not to an object");
      return strict(context);
    case IOASIS_OPTION_DEVICE_ROUTING:
      return routing(context.iommufd.device(object_id));
    case IOASIS_OPTION_DEVICE_COOKIE:
      return cookie(context.iommufd.device(object_id));
    default:
      throw unknown("no option has this id");
  }
}

/** Whose policy: the context's (object 0), or that of one device, which goes before it. */
function holderOf({ iommufd }: OpenContext, id: number): { policy: AttachPolicy } {
  return id === 0 ? iommufd.state : iommufd.device(id);
}

const POLICIES = [
  "refuse",
  "exclude-windows",
  "translated-only",
  "raw",
] as const satisfies readonly PasidPolicy[];

function pasidPolicy(holder: { policy: AttachPolicy }): Option {
  return {
    get: () => BigInt(POLICIES.indexOf(holder.policy.pasid ?? "refuse")),
    set: (value) => {
      const pasid = value < 4n ? POLICIES[Number(value)] : undefined;
      if (pasid === undefined) throw badValue("a policy is 0 to 3");
      holder.policy = { ...holder.policy, pasid };
    },
  };
}

function ridWindows(holder: { policy: AttachPolicy }): Option {
  return {
    get: () => (holder.policy.excludeRidWindows === true ? 1n : 0n),
    set: (value) => {
      holder.policy = { ...holder.policy, excludeRidWindows: asFlag(value) };
    },
  };
}

function strict(context: OpenContext): Option {
  return {
    get: () => (context.strict ? 1n : 0n),
    set: (value) => {
      context.strict = asFlag(value);
    },
  };
}

const ROUTING = {
  rid: IOASIS_ROUTING_RID,
  "rid+pasid": IOASIS_ROUTING_RID_PASID,
  "rid+pasid+shared-queue": IOASIS_ROUTING_RID_PASID_SHARED_QUEUE,
  software: IOASIS_ROUTING_SOFTWARE,
} as const satisfies Record<RoutingMode, number>;

/** What the driver in user space says of the requests that it makes the device send. */
function routing(device: IommufdDevice): Option {
  return {
    get: () => {
      const { routing: mode, translatedOnly } = device.declaration;
      return BigInt(ROUTING[mode] | (translatedOnly ? IOASIS_ROUTING_TRANSLATED_ONLY : 0));
    },
    set: (value) => {
      const only = BigInt(IOASIS_ROUTING_TRANSLATED_ONLY);
      const number = value & ~only;
      const mode = (Object.keys(ROUTING) as RoutingMode[]).find(
        (m) => BigInt(ROUTING[m]) === number,
      );
      if (mode === undefined) throw badValue("a routing mode is 0 to 3");
      device.declare(mode, (value & only) !== 0n);
    },
  };
}

function cookie(device: IommufdDevice): Option {
  return {
    get: () => device.cookie ?? 0n,
    set: (value) => {
      device.cookie = value;
    },
  };
}

function asFlag(value: bigint): boolean {
  if (value > 1n) throw badValue("the value is not 0 or 1");
  return value === 1n;
}

const badValue = (rule: string): UapiError => new UapiError("EINVAL", rule);
const unknown = (rule: string): UapiError => new UapiError("EOPNOTSUPP", rule);
