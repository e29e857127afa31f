/** Who calls: the process whose memory a map means and whose limits apply. */
import type { PageSource } from "./page-source.js";

/** One limit for locked memory; processes of one user share it, or each has its own (mm mode). */
export interface LockedMemory {
  /** Charges pages against the limit. @returns false when they do not fit: nothing is charged. */
  charge(pages: number): boolean;
  uncharge(pages: number): void;
}

/** A process with its memory, its rights and its limits; read anew at each use. */
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
