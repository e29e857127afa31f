/**
 * Slots: places in hardware that hold one page table. A slot is (scope, PASID or none).
 *
 * The scope says who moves together, and is all that the rule sets differ in here. Device-centric:
 * the devices of one alias set, because the hardware cannot tell them apart. linux-7.2: the whole
 * group. With a PASID only members that have PASIDs are programmed.
 *
 * Invariant: every member of a slot's scope has the slot's domain in hardware; devices in
 * `attached` are those whose users asked for it. The last of them takes the slot away.
 */
import type { DmaDevice, DriverDeclaration, HardwareSlot } from "../driver/index.js";
import type { Bdf, Pasid, Span } from "../units/index.js";
import type { AttachPolicy, PasidPolicy } from "./api.js";
import type { Hwpt } from "./hw-pagetable.js";
import type { IommufdObject } from "./object-table.js";
import type { IsolationPort } from "./ports.js";

export interface Slot {
  readonly scope: Scope;
  /** As hardware sees it. */
  readonly pasid: Pasid | undefined;
  /** Functions that are programmed. */
  readonly members: readonly Bdf[];
  hwpt: Hwpt;
  readonly attached: Set<SlotDevice>;
}

/** One attachment of a device. */
export interface Attachment {
  readonly slot: Slot;
  readonly hardware: HardwareSlot;
  /** The PASID that the user named. */
  readonly pasid: Pasid | undefined;
  /** Policy in force, when the path needs one or windows are excluded. */
  policy: PasidPolicy | undefined;
  /** Reserved for peer windows; the owner of these ranges is the attachment. */
  windows: readonly Span[];
}

/** A bound device, as far as slots are concerned. */
export interface SlotDevice extends IommufdObject {
  readonly dma: DmaDevice;
  /** What its driver declares. */
  readonly declaration: DriverDeclaration;
  /** Goes before the context's. */
  readonly policy: AttachPolicy;
  /** The function whose requester ID it uses. @throws UapiError ENODEV for a software device. */
  readonly function: Bdf;
  /** By the user's PASID; the RID slot under undefined. */
  readonly attachments: Map<Pasid | undefined, Attachment>;
}

export interface AttachRequest {
  readonly device: SlotDevice;
  readonly pasid: Pasid | undefined;
  readonly policy: AttachPolicy;
}

export interface Scope {
  readonly id: number;
  readonly members: readonly Bdf[];
}

/** @returns who moves together with a function, under the rule set in force. */
export function scopeOf(isolation: IsolationPort, device: Bdf): Scope {
  if (isolation.rules === "linux-7.2") {
    const group = isolation.groupOf(device);
    return group ?? { id: -1 - device, members: [device] };
  }
  const members = isolation.aliasSetOf(device);
  let lowest = device;
  for (const member of members) if (member < lowest) lowest = member;
  return { id: lowest, members };
}

const RID = -1;

export class SlotTable {
  readonly #slots = new Map<number, Map<number, Slot>>();

  find(scope: Scope, pasid: Pasid | undefined): Slot | undefined {
    return this.#slots.get(scope.id)?.get(pasid ?? RID);
  }

  add(slot: Slot): void {
    const key = slot.pasid ?? RID;
    const list = this.#slots.get(slot.scope.id);
    if (list === undefined) this.#slots.set(slot.scope.id, new Map([[key, slot]]));
    else list.set(key, slot);
  }

  remove(slot: Slot): void {
    const list = this.#slots.get(slot.scope.id);
    list?.delete(slot.pasid ?? RID);
    if (list?.size === 0) this.#slots.delete(slot.scope.id);
  }

  /** Some PASID slot of the scope is in use. */
  hasPasids(scope: Scope): boolean {
    const list = this.#slots.get(scope.id);
    if (list === undefined) return false;
    return list.size > (list.has(RID) ? 1 : 0);
  }

  *all(): IterableIterator<Slot> {
    for (const list of this.#slots.values()) yield* list.values();
  }
}
