/** The whole interface; see shape.ts. */
import { ADDITIONS } from "./additions.js";
import { IOMMUFD_HWPT } from "./iommufd-hwpt.js";
import { IOMMUFD_IOAS } from "./iommufd-ioas.js";
import { IOMMUFD_VIOMMU } from "./iommufd-viommu.js";
import { SELFTEST } from "./selftest.js";
import type { Chapter } from "./shape.js";
import { VFIO_CONTAINER } from "./vfio-container.js";
import { VFIO_DEVICE } from "./vfio-device.js";
import { VFIO_FEATURE } from "./vfio-feature.js";

export type * from "./shape.js";

/** What becomes `src/abi/NAME.gen.ts`. */
export interface CodecFile {
  readonly name: string;
  readonly chapters: readonly Chapter[];
}

export const CODEC_FILES: readonly CodecFile[] = [
  { name: "iommufd", chapters: [IOMMUFD_IOAS, IOMMUFD_HWPT, IOMMUFD_VIOMMU] },
  { name: "selftest", chapters: [SELFTEST] },
  { name: "vfio", chapters: [VFIO_DEVICE, VFIO_FEATURE, VFIO_CONTAINER] },
  { name: "additions", chapters: [ADDITIONS] },
];

export const CHAPTERS: readonly Chapter[] = CODEC_FILES.flatMap((file) => file.chapters);
