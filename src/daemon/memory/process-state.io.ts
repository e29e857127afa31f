/** A connected process as the platform's kernel sees it: memory, rights, locked pages. */
import type { LockedMemory, UserProcess } from "../../files/index.js";
import type { PhysicalMemory } from "../../memory/index.js";
import type { LostAccesses } from "./private-memory.io.js";
import { ProcessMemory } from "./process-memory.io.js";
import { type Rights, rightsOf } from "./rights.io.js";

const KIB_PER_PAGE = 4;

/** Pages that one user's processes, or one process, have locked. */
export class LockedPages {
  pages = 0;
}

/** Charged against the limit that the charging process has now. */
class Locked implements LockedMemory {
  readonly #locked: LockedPages;
  readonly #limit: () => number;

  constructor(locked: LockedPages, limit: () => number) {
    this.#locked = locked;
    this.#limit = limit;
  }

  charge(pages: number): boolean {
    if (this.#locked.pages + pages > this.#limit()) return false;
    this.#locked.pages += pages;
    return true;
  }

  uncharge(pages: number): void {
    this.#locked.pages -= pages;
  }
}

/** Locked pages of each user. */
export type LockedByUser = Map<number, LockedPages>;

export class ProcessState implements UserProcess {
  readonly pid: number;
  readonly label: string;
  readonly memory: ProcessMemory;
  readonly processLocked: LockedMemory;
  readonly #locked = new LockedPages();
  readonly #byUser: LockedByUser;
  #rights: Rights | undefined;
  #userLocked: LockedMemory | undefined;
  #pinned = 0;

  constructor(pid: number, memory: PhysicalMemory, byUser: LockedByUser, lost: LostAccesses) {
    this.pid = pid;
    this.label = `process ${pid}`;
    this.memory = new ProcessMemory(pid, memory, lost);
    this.#byUser = byUser;
    this.processLocked = new Locked(this.#locked, () => this.rights.lockLimit);
  }

  get rights(): Rights {
    this.#rights ??= rightsOf(this.pid);
    return this.#rights;
  }

  get mayLockMemory(): boolean {
    return this.rights.mayLockMemory;
  }

  get mayRaiseLimits(): boolean {
    return this.rights.mayRaiseLimits;
  }

  get mayRawIo(): boolean {
    return this.rights.mayRawIo;
  }

  get userLocked(): LockedMemory {
    if (this.#userLocked !== undefined) return this.#userLocked;
    const { uid } = this.rights;
    const locked = this.#byUser.get(uid) ?? new LockedPages();
    this.#byUser.set(uid, locked);
    this.#userLocked = new Locked(locked, () => this.rights.lockLimit);
    return this.#userLocked;
  }

  countPinned(pages: number): void {
    this.#pinned += pages;
  }

  /** VmPin and VmLck of /proc/PID/status. */
  get pinnedKiB(): number {
    return this.#pinned * KIB_PER_PAGE;
  }

  get lockedKiB(): number {
    return this.#locked.pages * KIB_PER_PAGE;
  }

  /** The program changed its rights or limits. */
  forgetRights(): void {
    this.#rights = undefined;
    this.#userLocked = undefined;
  }

  /** What is known of the address space may have changed since the last call. */
  beginCall(): void {
    this.memory.maps.forget();
  }

  /** The connection is gone: the process ended, or runs another program. */
  leave(): void {
    // Rights as they were: what it left behind is still charged against them.
    this.memory.end();
  }
}
