/** A connected process as the platform's kernel sees it: memory, rights, locked pages. */
import type { ProcessAccount } from "../../door/index.js";
import type { LockedMemory, UserProcess } from "../../files/index.js";
import type { PhysicalMemory } from "../../memory/index.js";
import type { LostAccesses } from "./private-memory.io.js";
import { ProcessMemory } from "./process-memory.io.js";
import { type Grant, type Rights, rightsOf } from "./rights.io.js";

/** Opens the account of a process. @param limit pages it may lock; asked at each charge. */
export type OpenAccount = (pid: number, uid: number, limit: () => number) => ProcessAccount;

export interface ProcessOptions {
  /** Counts what could not be reached. */
  readonly lost: LostAccesses;
  readonly grants: readonly Grant[];
}

export class ProcessState implements UserProcess {
  readonly pid: number;
  readonly label: string;
  readonly memory: ProcessMemory;
  readonly #openAccount: OpenAccount;
  readonly #grants: readonly Grant[];
  #rights: Rights | undefined;
  #account: ProcessAccount | undefined;

  constructor(pid: number, memory: PhysicalMemory, open: OpenAccount, options: ProcessOptions) {
    this.pid = pid;
    this.#grants = options.grants;
    this.label = `process ${pid}`;
    this.memory = new ProcessMemory(pid, memory, options.lost);
    this.#openAccount = open;
  }

  get rights(): Rights {
    this.#rights ??= rightsOf(this.pid, this.#grants);
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
    return this.#accountNow().userLocked;
  }

  get processLocked(): LockedMemory {
    return this.#accountNow().processLocked;
  }

  countPinned(pages: number): void {
    this.#accountNow().countPinned(pages);
  }

  /** The program changed its rights or limits. */
  forgetRights(): void {
    this.#rights = undefined;
    this.#account = undefined;
  }

  /** What is known of the address space may have changed since the last call. */
  beginCall(): void {
    this.memory.beginCall();
  }

  /** The connection is gone: the process ended, or runs another program. */
  leave(): void {
    // Rights as they were: what it left behind is still charged against them.
    this.memory.end();
  }

  #accountNow(): ProcessAccount {
    this.#account ??= this.#openAccount(this.pid, this.rights.uid, () => this.rights.lockLimit);
    return this.#account;
  }
}
