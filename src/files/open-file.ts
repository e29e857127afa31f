/**
 * Open files as the kernel knows them: one object for one open file description, however many
 * descriptors in however many processes refer to it.
 *
 * Whatever moves the calls (a daemon, a test, the library) keeps descriptors and calls these
 * methods, one at a time, in the order the calls arrive. A method that refuses throws a UapiError,
 * which becomes -errno at one place. An operation that is absent answers as Linux does for a file
 * without it (ioctl ENOTTY, read and write EINVAL, mmap ENODEV, poll always ready).
 */
import type { EventFd, HostFile } from "./host-files.js";
import type { PageSource } from "./page-source.js";
import type { SharedMemory } from "./shared-memory.js";
import type { UserMemory } from "./user-memory.js";
import type { UserProcess } from "./user-process.js";

/** What a file is; the numbers travel to the client. */
export const FileKind = {
  iommufd: 1,
  faultQueue: 2,
  eventQueue: 3,
  access: 4,
  dmaBuf: 5,
  vfioContainer: 6,
  vfioGroup: 7,
  vfioDevice: 8,
  attribute: 9,
  migration: 10,
} as const;
export type FileKind = (typeof FileKind)[keyof typeof FileKind];

/** Bits of poll(2). */
export const Poll = { in: 0x1, out: 0x4, err: 0x8, hangUp: 0x10 } as const;

export interface MmapRequest {
  /** Bytes, as given. */
  readonly length: bigint;
  /** PROT_*: read 1, write 2, execute 4. */
  readonly protection: number;
  /** MAP_*: shared 1, private 2, fixed 0x10, as given. */
  readonly flags: number;
  readonly offset: bigint;
}

/** What a program gets to map. */
export interface MappedRegion {
  readonly memory: SharedMemory;
  /** First byte in `memory`, a multiple of 4096. */
  readonly offset: number;
  /**
   * Set for memory behind a BAR: how other devices reach it. Page 0 is the region's first page.
   * Mappings of it are no memory that can be pinned, see {@link PageSource.deviceAt}.
   */
  readonly device?: PageSource | undefined;
  /** Called once per region when no process maps it any longer. */
  readonly released?: (() => void) | undefined;
}

/** See the head of the file. */
export interface OpenFile {
  readonly kind: FileKind;
  /** As /proc/PID/fd shows it: `/dev/iommu`, `anon_inode:[iommufd-pgfault]`. */
  readonly label: string;
  /** Device number of a character device, for stat. */
  readonly rdev?: { readonly major: number; readonly minor: number } | undefined;
  /**
   * @param command all 32 bits.
   * @param argument pointer or value, as given.
   * @returns what the call returns, 0 or more.
   */
  ioctl?(call: Call, command: number, argument: bigint): number;
  /**
   * Reads take multiples of so many bytes: whoever moves calls cuts long ones there. Absent: 1.
   */
  readonly readUnit?: number | undefined;
  /** @param offset absent: read(2) at the file position, which the file keeps. */
  read?(call: Call, length: number, offset: bigint | undefined): Uint8Array;
  /** @returns bytes taken. */
  write?(call: Call, bytes: Uint8Array, offset: bigint | undefined): number;
  mmap?(call: Call, request: MmapRequest): MappedRegion;
  /** Poll bits now. */
  poll?(): number;
  /** Set by whoever moves the calls; the file calls it when its poll bits may have changed. */
  onPoll?: (() => void) | undefined;
  /** Further lines of /proc/PID/fdinfo, each with its end. Absent: none. */
  fdInfo?(): string;
  /** The last descriptor is closed. Never fails. */
  release(): void;
}

/** A file of this platform. */
export interface OwnFile {
  readonly kind: "own";
  readonly file: OpenFile;
}

export type PassedFile = OwnFile | EventFd | HostFile;

/** Where the number of a new descriptor goes: the result of the call, or an s32 of the caller. */
export type DescriptorPlace = "result" | { readonly address: bigint };

/** One system call on an open file: who calls, its memory, its descriptors. */
export interface Call extends UserMemory {
  readonly process: UserProcess;
  /** Process and thread of the caller, for traces. */
  readonly pid: number;
  readonly tid: number;
  /** CAP_SYS_RAWIO. */
  readonly mayRawIo: boolean;
  /**
   * What a descriptor number of the caller refers to; undefined: nothing (EBADF).
   * Valid during the call; `keep` it to use it longer.
   */
  fileOf(fd: number): PassedFile | undefined;
  /**
   * Gives the caller a descriptor for `file` when the call succeeds. At most once per call. The
   * number is not known yet: it is written by whoever moves the call.
   */
  newDescriptor(file: OpenFile, place: DescriptorPlace, closeOnExec: boolean): void;
}
