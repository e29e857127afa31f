/** Memory that can be mapped for devices. */

/**
 * The address space of a process, a file, a buffer of a device.
 *
 * Pages are 4 KiB; page n holds bytes n * 4096 on (of the address space, or of the file). One page
 * has one frame however often it is pinned.
 */
export interface PageSource {
  /** For messages: `process 7`. */
  readonly label: string;
  /** `device` memory is not charged, and the processor cannot reach it. */
  readonly kind: "process" | "file" | "device";
  /**
   * Pins pages and writes their frame numbers to `frames` from index 0.
   * @throws UapiError EFAULT (process), EINVAL (file), ENODEV (revoked): nothing stays pinned.
   */
  pin(page: number, count: number, writable: boolean, frames: Float64Array): void;
  unpin(page: number, count: number): void;
  /** Bytes of one page. @throws UapiError EFAULT. */
  read(page: number, offset: number, into: Uint8Array): void;
  write(page: number, offset: number, from: Uint8Array): void;
  /**
   * Where pages of a process show memory of a device: mappings of a region whose
   * {@link MappedRegion.device} is set. `pin` refuses such pages with EFAULT.
   * Absent, or undefined: they show none.
   */
  deviceAt?(page: number): DevicePlace | undefined;
  /**
   * The frame behind a page at this moment, pinned or not: what `pin` would write. For tests that
   * compare what is mapped with what the program sees. Absent: nobody can tell.
   * @throws UapiError EFAULT.
   */
  frameOf?(page: number): number;
  /**
   * How often the frame behind a page is pinned, through whatever source and for whatever context.
   * Undefined: it is part of a large page of the host, whose pins are not counted by page.
   * @throws UapiError EFAULT.
   */
  pinsOf?(page: number): number | undefined;
}

/** A run of pages that shows memory of a device. */
export interface DevicePlace {
  readonly source: PageSource;
  /** The page of `source` that the page asked for shows. */
  readonly page: number;
  /** Pages that follow each other from there on, at least 1. */
  readonly count: number;
}
