/**
 * VFIO_DEVICE_FEATURE: what devices have beyond regions and interrupts. Linux
 * vfio_ioctl_device_feature(), vfio_pci_core_ioctl_feature().
 *
 * These devices are no migration drivers: migration and logging are unknown to them, as to
 * vfio-pci itself.
 */
import {
  decodeVfioDeviceFeature,
  decodeVfioDeviceFeatureDmaBuf,
  decodeVfioDeviceLowPowerEntryWithWakeup,
  decodeVfioRegionDmaRange,
  SIZEOF_VFIO_DEVICE_FEATURE,
  SIZEOF_VFIO_DEVICE_FEATURE_DMA_BUF,
  SIZEOF_VFIO_DEVICE_LOW_POWER_ENTRY_WITH_WAKEUP,
  SIZEOF_VFIO_REGION_DMA_RANGE,
  UapiError,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  type VfioRegionDmaRange,
} from "../abi/index.js";
import type { Call } from "../files/index.js";
import type { DeviceAccess } from "./device-access.js";
import { DmaBufFile } from "./dma-buf-file.js";
import { eventFdOf } from "./interrupt-set.js";
import { Region } from "./resources.js";
import { argszOf, copyStruct, takeStruct } from "./struct-argument.js";
import { TOKEN_BYTES } from "./vf-tokens.js";

const CITE = "Linux vfio_ioctl_device_feature()";
const OPERATIONS = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PROBE;
const GET_AND_SET = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
const PAGE = 4096n;
const CLOSE_ON_EXEC = 0o2000000;

interface Feature {
  /** GET or SET. */
  readonly operation: number;
  /** Bytes that the data have at least. */
  readonly bytes: number;
  /** @throws UapiError: not for this device. */
  readonly check?: (access: DeviceAccess) => void;
  /** @param data where the data are. @returns what the call returns. */
  readonly run: (access: DeviceAccess, call: Call, data: bigint) => number;
}

const FEATURES: ReadonlyMap<number, Feature> = new Map([
  [
    VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
    {
      operation: VFIO_DEVICE_FEATURE_SET,
      bytes: TOKEN_BYTES,
      check: ({ table, device }) => table.tokens.checkPhysical(device.bdf),
      run: setToken,
    } satisfies Feature,
  ],
  [
    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
    {
      operation: VFIO_DEVICE_FEATURE_SET,
      bytes: 0,
      run: ({ device }) => {
        device.lowPower.enter();
        return 0;
      },
    } satisfies Feature,
  ],
  [
    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
    {
      operation: VFIO_DEVICE_FEATURE_SET,
      bytes: SIZEOF_VFIO_DEVICE_LOW_POWER_ENTRY_WITH_WAKEUP,
      run: enterWithWakeUp,
    } satisfies Feature,
  ],
  [
    VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
    {
      operation: VFIO_DEVICE_FEATURE_SET,
      bytes: 0,
      run: ({ device }) => {
        device.lowPower.exit();
        return 0;
      },
    } satisfies Feature,
  ],
  [
    VFIO_DEVICE_FEATURE_DMA_BUF,
    {
      operation: VFIO_DEVICE_FEATURE_GET,
      bytes: SIZEOF_VFIO_DEVICE_FEATURE_DMA_BUF,
      run: exportBar,
    } satisfies Feature,
  ],
]);

/**
 * @returns 0, or the number of a new descriptor (written by whoever moves the call).
 * @throws UapiError EFAULT, EINVAL, ENOTTY, or as the feature.
 */
export function deviceFeature(access: DeviceAccess, call: Call, address: bigint): number {
  const view = takeStruct(call, address, SIZEOF_VFIO_DEVICE_FEATURE, CITE);
  const { flags } = decodeVfioDeviceFeature(view);
  const isProbe = (flags & VFIO_DEVICE_FEATURE_PROBE) !== 0;
  if ((flags & ~(OPERATIONS | VFIO_DEVICE_FEATURE_MASK)) !== 0) {
    throw new UapiError("EINVAL", "an unknown flag is set", { cite: CITE });
  }
  if (!isProbe && (flags & GET_AND_SET) === GET_AND_SET) {
    throw new UapiError("EINVAL", "to get and to set exclude each other", { cite: CITE });
  }
  const index = flags & VFIO_DEVICE_FEATURE_MASK;
  const feature = FEATURES.get(index);
  if (feature === undefined) {
    throw new UapiError("ENOTTY", `the device has no feature ${index}`, { cite: CITE });
  }
  feature.check?.(access);
  checkFeature(feature, flags, argszOf(view) - SIZEOF_VFIO_DEVICE_FEATURE);
  if (isProbe) return 0;
  return feature.run(access, call, address + BigInt(SIZEOF_VFIO_DEVICE_FEATURE));
}

/** @throws UapiError EINVAL. */
function checkFeature({ operation, bytes }: Feature, flags: number, given: number): void {
  const cite = "Linux vfio_check_feature()";
  if ((flags & GET_AND_SET & ~operation) !== 0) {
    throw new UapiError("EINVAL", "the feature has no such operation", { cite });
  }
  if ((flags & VFIO_DEVICE_FEATURE_PROBE) !== 0) return;
  if ((flags & operation) === 0) {
    throw new UapiError("EINVAL", "neither to get nor to set is asked for", { cite });
  }
  if (given < bytes) throw new UapiError("EINVAL", `the data have ${bytes} bytes`, { cite });
}

function setToken({ table, device }: DeviceAccess, call: Call, data: bigint): number {
  const token = new Uint8Array(TOKEN_BYTES);
  call.copyIn(data, token);
  table.tokens.set(device.bdf, token);
  return 0;
}

/** @throws UapiError EFAULT, EINVAL, EBADF. */
function enterWithWakeUp({ device }: DeviceAccess, call: Call, data: bigint): number {
  const { wakeup_eventfd: fd, reserved } = decodeVfioDeviceLowPowerEntryWithWakeup(
    copyStruct(call, data, SIZEOF_VFIO_DEVICE_LOW_POWER_ENTRY_WITH_WAKEUP),
  );
  if (reserved !== 0) {
    throw new UapiError("EINVAL", "a reserved field is not zero", {
      cite: "Linux vfio_pci_core_pm_entry_with_wakeup()",
    });
  }
  device.lowPower.enter(eventFdOf(call, fd));
  return 0;
}

/** @throws UapiError EFAULT, EINVAL, ENODEV no such BAR. */
function exportBar({ device }: DeviceAccess, call: Call, data: bigint): number {
  const cite = "Linux vfio_pci_core_feature_dma_buf()";
  const { region_index, open_flags, flags, nr_ranges } = decodeVfioDeviceFeatureDmaBuf(
    copyStruct(call, data, SIZEOF_VFIO_DEVICE_FEATURE_DMA_BUF),
  );
  if (nr_ranges === 0 || flags !== 0) {
    throw new UapiError("EINVAL", "no range is named, or a flag is set", { cite });
  }
  const resource = region_index < Region.rom ? device.regions.resources[region_index] : undefined;
  if (resource === undefined || !resource.isMemory) {
    throw new UapiError("ENODEV", `region ${region_index} is no memory BAR`, { cite });
  }
  const ranges = readRanges(call, data + BigInt(SIZEOF_VFIO_DEVICE_FEATURE_DMA_BUF), nr_ranges);
  for (const { offset, length } of ranges) {
    if (length === 0n || offset % PAGE !== 0n || length % PAGE !== 0n) {
      throw new UapiError("EINVAL", "a range is not of whole pages", { cite });
    }
    if (offset + length > resource.size) {
      throw new UapiError("EINVAL", "a range goes beyond the end of the BAR", { cite });
    }
  }
  const file = new DmaBufFile(
    device,
    device.regions.makePages(region_index, ranges),
    ranges.reduce((sum, { length }) => sum + length, 0n),
  );
  call.newDescriptor(file, "result", (open_flags & CLOSE_ON_EXEC) !== 0);
  return 0;
}

function readRanges(call: Call, address: bigint, count: number): VfioRegionDmaRange[] {
  const most = 65_536;
  if (count > most) throw new UapiError("EINVAL", `more than ${most} ranges are named`);
  const view = copyStruct(call, address, count * SIZEOF_VFIO_REGION_DMA_RANGE);
  return Array.from({ length: count }, (_, i) =>
    decodeVfioRegionDmaRange(view, i * SIZEOF_VFIO_REGION_DMA_RANGE),
  );
}
