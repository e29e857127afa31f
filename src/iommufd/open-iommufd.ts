/** An open /dev/iommu, as other drivers find it behind a descriptor of a program. */
import { FileKind, type OpenFile } from "../files/index.js";
import type { Iommufd } from "./iommufd.js";

/** See the head of the file. */
export interface OpenIommufd extends OpenFile {
  readonly kind: typeof FileKind.iommufd;
  readonly iommufd: Iommufd;
  /**
   * Keeps the context although the file may be closed: bound devices and groups do.
   * @returns lets it go; to be called once.
   */
  hold(): () => void;
}

/** The context behind a file; undefined for any other file. */
export function asIommufd(file: OpenFile): OpenIommufd | undefined {
  return file.kind === FileKind.iommufd ? (file as OpenIommufd) : undefined;
}
