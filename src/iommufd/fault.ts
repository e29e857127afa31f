/**
 * Fault queue: page requests of devices on a HWPT, for the user to answer.
 *
 * Faults of one request group are read together and answered once, by cookie. Groups of an
 * attachment that goes away are answered INVALID and dropped. Linux eventq.c.
 */
import { UapiError } from "../abi/index.js";
import type { Pasid } from "../units/index.js";
import { IdHeap } from "./id-heap.js";
import type { IommufdObject } from "./object-table.js";

/** IOMMU_PGFAULT_FLAGS_*. */
export const FaultFlag = { pasidValid: 1, lastPage: 2 } as const;
/** IOMMU_PGFAULT_PERM_*. */
export const FaultPerm = { read: 1, write: 2, execute: 4, privileged: 8 } as const;
export const FaultResponse = { success: 0, invalid: 1 } as const;

export interface PageFault {
  readonly perm: number;
  readonly address: bigint;
}

/** A device, as faults name it; compared by identity. */
export interface FaultSource {
  readonly id: number;
}

/** Page requests that a device sent together. */
export interface FaultGroup {
  readonly groupId: number;
  readonly faults: readonly PageFault[];
  /** Tells the device. */
  respond(code: number): void;
}

/** As struct iommu_hwpt_pgfault. */
export interface FaultMessage {
  readonly flags: number;
  readonly devId: number;
  readonly pasid: number;
  readonly groupId: number;
  readonly perm: number;
  readonly address: bigint;
  readonly cookie: number;
}

interface Entry {
  readonly device: FaultSource;
  readonly pasid: Pasid | undefined;
  readonly group: FaultGroup;
}

const CITE = "Linux iommufd_fault_fops_write()";

/** One fault queue. */
export class FaultQueue implements IommufdObject {
  readonly kind = "fault";
  readonly id: number;
  /** The open file is a user. */
  users = 1;
  /** The file's: there is more, or less, to read. */
  onChange: (() => void) | undefined;
  #unread: Entry[] = [];
  readonly #pending = new Map<number, Entry>();
  readonly #cookies = new IdHeap();
  #nextCookie = 1;
  #isOpen = true;

  constructor(id: number) {
    this.id = id;
  }

  /** Groups that were not read. */
  get unread(): number {
    return this.#unread.length;
  }

  /** Groups that were read and not answered. */
  get pending(): number {
    return this.#pending.size;
  }

  deliver(device: FaultSource, pasid: Pasid | undefined, group: FaultGroup): void {
    this.#unread.push({ device, pasid, group });
    this.onChange?.();
  }

  /**
   * Whole groups, as many as fit; empty when there are none.
   * @throws UapiError EINVAL when the first group does not fit.
   */
  read(maxMessages: number): FaultMessage[] {
    const out: FaultMessage[] = [];
    let taken = 0;
    for (const entry of this.#unread) {
      const { faults } = entry.group;
      if (out.length + faults.length > maxMessages) break;
      const cookie = this.#cookies.pop() ?? this.#nextCookie++;
      this.#pending.set(cookie, entry);
      faults.forEach((fault, i) => {
        out.push(messageOf(entry, fault, i === faults.length - 1, cookie));
      });
      taken++;
    }
    if (taken === 0 && this.#unread.length > 0) {
      throw new UapiError("EINVAL", "the first fault group does not fit", {
        cite: "Linux iommufd_fault_fops_read()",
      });
    }
    this.#unread.splice(0, taken);
    if (taken > 0) this.onChange?.();
    return out;
  }

  /** @throws UapiError EINVAL for an unknown code or cookie. */
  respond(cookie: number, code: number): void {
    if (code !== FaultResponse.success && code !== FaultResponse.invalid) {
      throw new UapiError("EINVAL", "the response code is not known", { cite: CITE });
    }
    const entry = this.#pending.get(cookie);
    if (entry === undefined) {
      throw new UapiError("EINVAL", "no fault has this cookie", {
        evidence: [{ kind: "cookie-unknown", cookie }],
        cite: CITE,
      });
    }
    this.#forget(cookie);
    entry.group.respond(code);
  }

  /** The attachment goes away: its faults are answered INVALID and dropped. */
  drop(device: FaultSource, pasid: Pasid | undefined): void {
    const isTheirs = (e: Entry): boolean => e.device === device && e.pasid === pasid;
    const unread = this.#unread.filter(isTheirs);
    this.#unread = this.#unread.filter((e) => !isTheirs(e));
    for (const entry of unread) entry.group.respond(FaultResponse.invalid);
    if (unread.length > 0) this.onChange?.();
    for (const [cookie, entry] of [...this.#pending]) {
      if (!isTheirs(entry)) continue;
      this.#forget(cookie);
      entry.group.respond(FaultResponse.invalid);
    }
  }

  /** The file is closed: the object can be destroyed. */
  closeFile(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.users--;
  }

  destroy(): void {
    for (const entry of this.#unread) entry.group.respond(FaultResponse.invalid);
    for (const entry of this.#pending.values()) entry.group.respond(FaultResponse.invalid);
    this.#unread = [];
    this.#pending.clear();
  }

  #forget(cookie: number): void {
    this.#pending.delete(cookie);
    this.#cookies.push(cookie);
  }
}

function messageOf(entry: Entry, fault: PageFault, isLast: boolean, cookie: number): FaultMessage {
  const { device, pasid, group } = entry;
  const flags =
    (pasid === undefined ? 0 : FaultFlag.pasidValid) | (isLast ? FaultFlag.lastPage : 0);
  return {
    flags,
    devId: device.id,
    pasid: pasid ?? 0,
    groupId: group.groupId,
    perm: fault.perm,
    address: fault.address,
    cookie,
  };
}
