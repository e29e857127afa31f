/**
 * Locked and pinned memory of the processes of a platform, in pages.
 *
 * In accounting mode "user" pages are charged to the user, against the limit of the process that
 * maps (Linux locked_vm of user_struct); in mode "mm" to the process (VmLck). Pinned pages count
 * for
 * the process whose memory they are, whatever the mode (VmPin).
 */
import type { LockedMemory } from "../files/index.js";

const PAGE_KIB = 4;

/** What a process of the platform is charged with; its fields fit a UserProcess. */
export interface ProcessAccount {
  readonly userLocked: LockedMemory;
  readonly processLocked: LockedMemory;
  countPinned(pages: number): void;
}

/** See the head of the file. */
export class MemoryAccounts {
  readonly #users = new Map<number, { pages: number }>();
  readonly #processes = new Map<number, { locked: { pages: number }; pinned: number }>();

  /**
   * Opens the account of a process; asking again gives the same counts.
   * @param limit pages that the process may lock now (RLIMIT_MEMLOCK); asked at each charge.
   */
  account(pid: number, uid: number, limit: () => number): ProcessAccount {
    let user = this.#users.get(uid);
    if (user === undefined) {
      user = { pages: 0 };
      this.#users.set(uid, user);
    }
    let process = this.#processes.get(pid);
    if (process === undefined) {
      process = { locked: { pages: 0 }, pinned: 0 };
      this.#processes.set(pid, process);
    }
    const own = process;
    return {
      userLocked: new Locked(user, limit),
      processLocked: new Locked(own.locked, limit),
      countPinned: (pages) => {
        own.pinned += pages;
      },
    };
  }

  /** VmPin: KiB of the process that are pinned; 0 for one that is not known. */
  pinnedKiB(pid: number): number {
    return (this.#processes.get(pid)?.pinned ?? 0) * PAGE_KIB;
  }

  /** VmLck: KiB charged to the process. */
  lockedKiB(pid: number): number {
    return (this.#processes.get(pid)?.locked.pages ?? 0) * PAGE_KIB;
  }

  /** Pages charged to a user, over all its processes. */
  lockedByUser(uid: number): number {
    return this.#users.get(uid)?.pages ?? 0;
  }

  /** The process is gone; what its contexts still have charged to the user stays charged. */
  forget(pid: number): void {
    this.#processes.delete(pid);
  }
}

class Locked implements LockedMemory {
  readonly #count: { pages: number };
  readonly #limit: () => number;

  constructor(count: { pages: number }, limit: () => number) {
    this.#count = count;
    this.#limit = limit;
  }

  charge(pages: number): boolean {
    if (this.#count.pages + pages > this.#limit()) return false;
    this.#count.pages += pages;
    return true;
  }

  uncharge(pages: number): void {
    this.#count.pages -= pages;
  }
}
