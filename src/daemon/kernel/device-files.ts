/** Opens the devices of a platform: what stands behind /dev/iommu and /dev/vfio. */
import { UapiError } from "../../abi/index.js";
import {
  type DeviceFiles,
  IOMMU_MINOR,
  MISC_MAJOR,
  type PlatformKernel,
  VFIO_CONTAINER_MINOR,
  VFIO_DEVICE_MAJOR,
  VFIO_GROUP_MAJOR,
} from "../../door/index.js";
import { InterruptDomain } from "../../driver/index.js";
import type { Call, OpenFile, SharedMemoryMaker } from "../../files/index.js";
import type { Bdf } from "../../units/index.js";
import { VfioFiles } from "../../vfio/index.js";

export interface DeviceFilesOptions {
  readonly memory: SharedMemoryMaker;
  readonly fillRandom: (bytes: Uint8Array) => void;
  /** /dev/iommu of this system. */
  readonly openIommufd: (call: Call, rdev: OpenFile["rdev"]) => OpenFile;
}

/** For `PlatformKernelOptions.files`. */
export function deviceFiles(kernel: PlatformKernel, options: DeviceFilesOptions): DeviceFiles {
  const { system } = kernel;
  const { machine } = system;
  const files = new VfioFiles({
    system,
    machine,
    interrupts: new InterruptDomain(machine, system.driver),
    memory: options.memory,
    fillRandom: options.fillRandom,
  });
  return {
    iommufd: (call) => options.openIommufd(call, { major: MISC_MAJOR, minor: IOMMU_MINOR }),
    container: (call) => {
      return files.openContainer(call.process, { major: MISC_MAJOR, minor: VFIO_CONTAINER_MINOR });
    },
    group: (_call, id) => files.openGroup(id, { major: VFIO_GROUP_MAJOR, minor: id }),
    device: (_call, bdf) => openDevice(kernel, files, bdf),
    isOpen: (bdf) => files.isInUse(bdf),
    askBack: (bdf) => files.requestRelease(bdf),
  };
}

function openDevice(kernel: PlatformKernel, files: VfioFiles, bdf: Bdf): OpenFile {
  const minor = kernel.system.drivers.vfioNumberOf(bdf);
  if (minor === undefined) throw new UapiError("ENODEV", "no VFIO driver has the device");
  const rdev = { major: VFIO_DEVICE_MAJOR, minor };
  return files.openDevice(bdf, { label: `/dev/vfio/devices/vfio${minor}`, rdev });
}
