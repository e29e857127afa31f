/** Memory that its owner hands to other drivers by descriptor, and may take back: a dma-buf. */
import type { FileKind, OpenFile } from "./open-file.js";
import type { PageSource } from "./page-source.js";

/**
 * An open dma-buf. Whoever imports it keeps `pages`, which outlive the file.
 *
 * Revoked, it stays a file, but its pages cannot be pinned (ENODEV) until it is given back.
 */
export interface DmaBuf extends OpenFile {
  readonly kind: typeof FileKind.dmaBuf;
  /** Which driver made it: an importer takes only those it knows. */
  readonly exporter: "vfio-pci" | "iommufd-selftest";
  /** Bytes, a multiple of 4096. */
  readonly size: bigint;
  /** Kind `device`; page 0 is the first of the buffer. */
  readonly pages: PageSource;
  readonly isRevoked: boolean;
  /** The pages lie together in physical memory. Absent: they do. */
  readonly isOneRun?: boolean;
  /** Calls `listener` each time it is revoked, until the function returned is called. */
  onRevoke(listener: () => void): () => void;
}
