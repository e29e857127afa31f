/** /dev/iommu of a platform. */
import { UapiError } from "../../abi/index.js";
import type { PlatformKernel } from "../../door/index.js";
import type { Call, OpenFile, SharedMemoryMaker } from "../../files/index.js";

/** @param strict contexts tell what Linux lets pass without a word. */
export function openIommufd(
  _kernel: PlatformKernel,
  _memory: SharedMemoryMaker,
  _strict: boolean,
): (call: Call, rdev: OpenFile["rdev"]) => OpenFile {
  return () => {
    throw new UapiError("ENODEV", "the platform has no /dev/iommu");
  };
}
