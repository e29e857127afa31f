/**
 * A device that was opened through its group. It lives in the one address space of the container:
 * it cannot be bound or attached by itself, with or without a PASID.
 * Linux vfio_device_fops_unl_ioctl().
 */
import { UapiError } from "../abi/index.js";
import type { Iommufd, IommufdDevice } from "../iommufd/index.js";
import type { Bdf } from "../units/index.js";

/** One open file of such a device. */
export class VfioGroupDevice {
  readonly bdf: Bdf;
  /** The context that its object belongs to; for looking at. */
  readonly iommufd: Iommufd;
  readonly object: IommufdDevice;
  readonly #onClose: (file: VfioGroupDevice) => void;

  constructor(
    bdf: Bdf,
    iommufd: Iommufd,
    object: IommufdDevice,
    onClose: (file: VfioGroupDevice) => void,
  ) {
    this.bdf = bdf;
    this.iommufd = iommufd;
    this.object = object;
    this.#onClose = onClose;
  }

  /** VFIO_DEVICE_BIND_IOMMUFD. @throws UapiError EINVAL, always. */
  bind(): never {
    throw new UapiError("EINVAL", "the device was opened through its group", {
      cite: "Linux vfio_df_ioctl_bind_iommufd()",
    });
  }

  /**
   * VFIO_DEVICE_ATTACH_IOMMUFD_PT and DETACH, with or without PASID.
   * @throws UapiError ENOTTY, always.
   */
  attach(): never {
    throw new UapiError("ENOTTY", "the device was opened through its group: it cannot be moved", {
      cite: "Linux vfio_device_fops_unl_ioctl()",
    });
  }

  /** Closing it again does nothing. */
  close(): void {
    this.#onClose(this);
  }
}
