/**
 * What the object layer needs from outside: memory of processes and files, facts about isolation,
 * and a place where allocations can be made to fail.
 */
import type { DmaOwnership, GroupPort, IommuDriver } from "../driver/index.js";
import type { Evidence } from "../isolation/index.js";
import type { Bdf, Span } from "../units/index.js";

/**
 * Memory that can be mapped: the address space of a process, a file, a buffer of a device.
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
}

/** One limit for locked memory; processes of one user share it, or each has its own (mm mode). */
export interface LockedMemory {
  /** Charges pages against the limit. @returns false when they do not fit: nothing is charged. */
  charge(pages: number): boolean;
  uncharge(pages: number): void;
}

/** Who calls: the process whose memory a map means and whose limits apply. */
export interface UserProcess {
  readonly label: string;
  readonly memory: PageSource;
  /** CAP_IPC_LOCK: locked memory is not charged. */
  readonly mayLockMemory: boolean;
  /** CAP_SYS_RESOURCE: may change the accounting mode. */
  readonly mayRaiseLimits: boolean;
  /** Locked memory of the user (accounting mode "user"). */
  readonly userLocked: LockedMemory;
  /** Locked memory of the process (accounting mode "mm"). */
  readonly processLocked: LockedMemory;
  /** Told of pinned pages, whatever the mode: positive and negative numbers. */
  countPinned(pages: number): void;
}

/** A peer's addresses that the fabric serves before the IOMMU sees the request. */
export interface PeerWindow {
  /** The peer. */
  readonly device: Bdf;
  readonly span: Span;
}

export interface PasidPath {
  /** False: a condition fails. */
  readonly ok: boolean;
  /** The only failed conditions are ACS bits on the path: a policy may accept them. */
  readonly onlyPath: boolean;
  readonly because: readonly Evidence[];
}

/** What the fabric says about devices. */
export interface IsolationPort extends GroupPort {
  readonly rules: "device-centric" | "linux-7.2";
  /** Devices that the IOMMU cannot tell from `device`, itself included. */
  aliasSetOf(device: Bdf): readonly Bdf[];
  /** Why `device` shares its address space with the others of its alias set. */
  aliasEvidence(device: Bdf): readonly Evidence[];
  pasidPath(device: Bdf): PasidPath;
  /** A virtual function whose page requests are its physical function's. Absent: none is. */
  sharesPageRequests?(device: Bdf): boolean;
  /** Windows of peers that an untranslated request of `device` reaches; by bus address. */
  peerWindows(device: Bdf): readonly PeerWindow[];
}

/** May refuse an allocation: `memory`'s AllocationPort has this shape. */
export interface AllocationPermit {
  permit(kind: string): boolean;
}

/** One machine, as the object layer sees it; contexts of one machine share it. */
export interface IommufdSystem {
  readonly driver: IommuDriver;
  readonly isolation: IsolationPort;
  readonly ownership: DmaOwnership;
  readonly allocations: AllocationPermit;
  /** Users may own devices whose interrupts are not isolated (a module parameter). */
  readonly allowUnsafeInterrupts: boolean;
}
