/** VFIO_DEVICE_IOEVENTFD as programs make it. Linux vfio_pci_ioctl_ioeventfd(). */
import {
  decodeVfioDeviceIoeventfd,
  SIZEOF_VFIO_DEVICE_IOEVENTFD,
  UapiError,
  VFIO_DEVICE_IOEVENTFD_SIZE_MASK,
} from "../abi/index.js";
import type { Call } from "../files/index.js";
import type { DeviceAccess } from "./device-access.js";
import { REGION_SHIFT } from "./device-info.js";
import { eventFdOf } from "./interrupt-set.js";
import { takeStruct } from "./struct-argument.js";

const LEAST = 28;
const CITE = "Linux vfio_pci_ioctl_ioeventfd()";

/** @throws UapiError EFAULT, EINVAL, EEXIST, ENODEV, ENOSPC, EBADF. */
export function setIoEventFd({ device }: DeviceAccess, call: Call, address: bigint): number {
  const view = new DataView(new ArrayBuffer(SIZEOF_VFIO_DEVICE_IOEVENTFD));
  const given = takeStruct(call, address, LEAST, CITE);
  new Uint8Array(view.buffer).set(new Uint8Array(given.buffer));
  const { flags, offset, data, fd } = decodeVfioDeviceIoeventfd(view);
  // A width is its own flag: 1, 2, 4 or 8 bytes.
  const width = flags & VFIO_DEVICE_IOEVENTFD_SIZE_MASK;
  if (width !== flags || width === 0 || (width & (width - 1)) !== 0 || fd < -1) {
    throw new UapiError("EINVAL", "exactly one width is to be named, and a descriptor or -1", {
      cite: CITE,
    });
  }
  const bar = Number(offset >> REGION_SHIFT);
  const at = offset & ((1n << REGION_SHIFT) - 1n);
  const eventFd = fd === -1 ? undefined : () => eventFdOf(call, fd);
  device.ioEventFds.set({ bar, offset: at, width, data }, eventFd);
  return 0;
}
