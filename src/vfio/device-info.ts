/**
 * Calls that tell of a device: VFIO_DEVICE_GET_INFO, GET_REGION_INFO, GET_IRQ_INFO. Linux
 * vfio_pci_core.c.
 */
import {
  encodeVfioDeviceInfo,
  encodeVfioIrqInfo,
  encodeVfioRegionInfo,
  SIZEOF_VFIO_DEVICE_INFO,
  SIZEOF_VFIO_IRQ_INFO,
  SIZEOF_VFIO_REGION_INFO,
  UapiError,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from "../abi/index.js";
import type { Call } from "../files/index.js";
import type { DeviceAccess } from "./device-access.js";
import { Irq } from "./interrupt-set.js";
import type { PciDevice } from "./pci-device.js";
import { Region } from "./resources.js";
import { argszOf, capabilityChain, putStruct, takeStruct } from "./struct-argument.js";

/** Regions lie so far apart in a device's file. */
export const REGION_SHIFT = 40n;
/** VFIO_DEVICE_GET_INFO as programs knew it before it had capabilities. */
const INFO_LEAST = 16;

const READ_WRITE = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

/** @throws UapiError EFAULT, EINVAL. */
export function getInfo({ device }: DeviceAccess, call: Call, address: bigint): number {
  const view = takeStruct(call, address, INFO_LEAST, "Linux vfio_pci_ioctl_get_info()");
  const argsz = argszOf(view);
  const out = new DataView(new ArrayBuffer(SIZEOF_VFIO_DEVICE_INFO));
  encodeVfioDeviceInfo(
    {
      argsz,
      flags: VFIO_DEVICE_FLAGS_PCI | (device.canReset ? VFIO_DEVICE_FLAGS_RESET : 0),
      num_regions: Region.count,
      num_irqs: Irq.count,
      cap_offset: 0,
      pad: 0,
    },
    out,
  );
  putStruct(call, address, out, Math.min(argsz, SIZEOF_VFIO_DEVICE_INFO));
  return 0;
}

/** @throws UapiError EFAULT, EINVAL (argsz, an index that is not there). */
export function getRegionInfo({ device }: DeviceAccess, call: Call, address: bigint): number {
  const cite = "Linux vfio_pci_ioctl_get_region_info()";
  const view = takeStruct(call, address, SIZEOF_VFIO_REGION_INFO, cite);
  const index = view.getUint32(8, true);
  const region = regionInfo(device, index);
  if (region === undefined) {
    throw new UapiError("EINVAL", `the device has no region ${index}`, { cite });
  }
  const hasTable = index < Region.rom && device.regions.table?.bar === index;
  const caps =
    hasTable && (region.flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0
      ? [{ id: VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, version: 1, body: new Uint8Array(0) }]
      : [];
  const chain = capabilityChain(caps, SIZEOF_VFIO_REGION_INFO);
  const argsz = argszOf(view);
  const needed = SIZEOF_VFIO_REGION_INFO + chain.length;
  const fits = chain.length > 0 && argsz >= needed;
  if (fits) call.copyOut(address + BigInt(SIZEOF_VFIO_REGION_INFO), chain);
  encodeVfioRegionInfo(
    {
      argsz: argsz < needed ? needed : argsz,
      flags: region.flags | (caps.length > 0 ? VFIO_REGION_INFO_FLAG_CAPS : 0),
      index,
      cap_offset: fits ? SIZEOF_VFIO_REGION_INFO : 0,
      size: region.size,
      offset: BigInt(index) << REGION_SHIFT,
    },
    view,
  );
  putStruct(call, address, view);
  return 0;
}

function regionInfo(
  device: PciDevice,
  index: number,
): { readonly flags: number; readonly size: bigint } | undefined {
  const { regions } = device;
  if (index < Region.rom) {
    const size = regions.sizeOf(index);
    if (size === 0n) return { flags: 0, size };
    const mmap = regions.isMappable(index) ? VFIO_REGION_INFO_FLAG_MMAP : 0;
    return { flags: READ_WRITE | mmap, size };
  }
  if (index === Region.rom) {
    if (!regions.hasRom) return { flags: 0, size: 0n };
    return { flags: VFIO_REGION_INFO_FLAG_READ, size: regions.sizeOf(index) };
  }
  if (index === Region.config) return { flags: READ_WRITE, size: BigInt(device.config.size) };
  return undefined;
}

/** @throws UapiError EFAULT, EINVAL (argsz, an index that is not there). */
export function getIrqInfo({ device }: DeviceAccess, call: Call, address: bigint): number {
  const cite = "Linux vfio_pci_ioctl_get_irq_info()";
  const view = takeStruct(call, address, SIZEOF_VFIO_IRQ_INFO, cite);
  const index = view.getUint32(8, true);
  const count = index < Irq.count ? device.interrupts.countOf(index) : 0;
  if (index >= Irq.count || (index === Irq.error && count === 0)) {
    throw new UapiError("EINVAL", `the device has no interrupt ${index}`, { cite });
  }
  const flags = device.interrupts.infoOf(index);
  encodeVfioIrqInfo({ argsz: argszOf(view), flags, index, count }, view);
  putStruct(call, address, view);
  return 0;
}
