/** Files of the host that a program passes by descriptor in a call. */
import type { PageSource } from "./page-source.js";

/** An eventfd of a program. */
export interface EventFd {
  readonly kind: "eventfd";
  /** Adds 1. Never blocks. */
  signal(): void;
  /** Calls `listener` at each signal by somebody else, until the function returned is called. */
  listen(listener: () => void): () => void;
  /** Keeps it beyond the call; each `keep` needs one `drop`. */
  keep(): EventFd;
  drop(): void;
}

/** A file of the host: only memory files can be mapped for devices. */
export interface HostFile {
  readonly kind: "file";
  /** memfd, tmpfs or hugetlbfs: pages can be pinned. */
  readonly isMemory: boolean;
  readonly pages: PageSource;
  /** Bytes, now. */
  size(): bigint;
  keep(): HostFile;
  drop(): void;
}
