/**
 * Attaching, replacing and detaching page tables. Linux device.c, with the scope of a slot from the
 * rule set (slot.ts) and the policy for PASIDs (pasid-policy.ts).
 *
 * Order of an attach: PASID and its path, PASID compatibility, the slot's state, the device's
 * reserved addresses, then hardware. Hardware goes straight from the old table to the new one; a
 * failure puts back what was changed. Invariants: a slot holds one table; a device's reserved
 * addresses are reserved in the space of its RID slot while it is attached.
 */
import { UapiError } from "../abi/index.js";
import type { HardwareSlot } from "../driver/index.js";
import type { Bdf, Pasid } from "../units/index.js";
import type { ContextState } from "./context-state.js";
import { type Hwpt, pagingOf } from "./hw-pagetable.js";
import { checkExcludable, exclude, excludes, type Judgement, judgePath } from "./pasid-policy.js";
import { reserveForDevice } from "./reserve-device.js";
import {
  type Attachment,
  type AttachRequest,
  type Scope,
  type Slot,
  type SlotDevice,
  scopeOf,
} from "./slot.js";

const CITE = "Linux iommufd_hw_pagetable_attach()";
const CITE_REPLACE = "Linux iommufd_device_do_replace()";

/** Puts the device's slot on a page table. @throws UapiError; then nothing has changed. */
export function attachTo(ctx: ContextState, request: AttachRequest, hwpt: Hwpt): void {
  const { device, pasid } = request;
  const isNew = !device.attachments.has(pasid);
  const hardware = hardwareSlot(device, pasid);
  try {
    const judged = judgePath(ctx, request, hardware);
    const scope = scopeOf(ctx.system.isolation, hardware.device);
    checkPasidCompatible(ctx, scope, hardware.pasid, hwpt);
    checkFaultCapable(ctx, hardware.device, hwpt);
    const slot = ctx.slots.find(scope, hardware.pasid);
    if (slot !== undefined) checkJoin(ctx, slot, device, hwpt);
    const attachment = reserveAll(ctx, request, hwpt, hardware, judged);
    try {
      if (slot === undefined) programNew(ctx, scope, hardware, hwpt, attachment);
      else attachment.slot = slot;
    } catch (error) {
      unreserveAll(device, pasid, hwpt, attachment);
      throw error;
    }
    hwpt.users++;
    attachment.slot.attached.add(device);
    device.attachments.set(pasid, attachment as Attachment);
  } catch (error) {
    if (isNew) device.dma.releaseSlot(pasid);
    throw error;
  }
}

/** Moves the slot of an attached device, and whoever shares it, to another page table. */
export function replaceWith(ctx: ContextState, request: AttachRequest, hwpt: Hwpt): void {
  const { device, pasid } = request;
  const attachment = device.attachments.get(pasid);
  if (attachment === undefined) {
    throw new UapiError("EINVAL", "the device is not attached", { cite: CITE_REPLACE });
  }
  const { slot, hardware } = attachment;
  checkPasidCompatible(ctx, slot.scope, hardware.pasid, hwpt);
  const old = slot.hwpt;
  if (old === hwpt) return;
  checkFaultCapable(ctx, hardware.device, hwpt);
  const judged = judgePath(ctx, request, hardware);
  const moves = [...slot.attached].map((mover): Move => {
    const theirs = mover.attachments.get(pasidOf(mover, slot)) as Attachment;
    return { mover, theirs, rule: mover === device ? judged : theirs };
  });
  const done: (() => void)[] = [];
  try {
    for (const move of moves) reserveMove(ctx, slot, move, hwpt, done);
    program(ctx, slot.members, slot.pasid, hwpt, old);
  } catch (error) {
    for (const undo of done) undo();
    throw error;
  }
  for (const move of moves) {
    old.fault?.drop(move.mover, move.theirs.pasid);
    unreserveMove(slot, move, hwpt);
    old.users--;
    hwpt.users++;
  }
  attachment.policy = judged.policy;
  attachment.windows = judged.windows;
  slot.hwpt = hwpt;
  dropAuto(ctx, old);
}

/** A device whose slot goes to another table, and the rule that holds for it there. */
interface Move {
  readonly mover: SlotDevice;
  readonly theirs: Attachment;
  readonly rule: Judgement;
}

/** Reserves what the move needs in the new space; `done` undoes it. */
function reserveMove(
  ctx: ContextState,
  slot: Slot,
  { mover, theirs, rule }: Move,
  hwpt: Hwpt,
  done: (() => void)[],
): void {
  const { ioas } = pagingOf(hwpt);
  checkExcludable(hwpt, rule);
  const isSameSpace = ioas === pagingOf(slot.hwpt).ioas;
  if (!isSameSpace && slot.pasid === undefined) {
    reserveForDevice(ctx, mover, ioas);
    done.push(() => ioas.space.unreserve(mover));
  }
  if (isSameSpace && excludes(theirs.policy)) return;
  exclude(ioas.space, hwpt, rule, theirs);
  done.push(() => ioas.space.unreserve(theirs));
}

/** Gives back what only the old table needed. */
function unreserveMove(slot: Slot, { mover, theirs, rule }: Move, hwpt: Hwpt): void {
  const { ioas } = pagingOf(slot.hwpt);
  const isSameSpace = ioas === pagingOf(hwpt).ioas;
  if (!isSameSpace && slot.pasid === undefined) ioas.space.unreserve(mover);
  if (!isSameSpace || !excludes(rule.policy)) ioas.space.unreserve(theirs);
}

/** Ends an attachment; the last device of the slot blocks it. Never fails. */
export function detach(ctx: ContextState, device: SlotDevice, pasid: Pasid | undefined): void {
  const attachment = device.attachments.get(pasid);
  if (attachment === undefined) return;
  const { slot, hardware } = attachment;
  const { hwpt } = slot;
  slot.attached.delete(device);
  device.attachments.delete(pasid);
  if (slot.attached.size === 0) {
    for (const member of slot.members) block(ctx, member, hardware.pasid);
    ctx.slots.remove(slot);
  }
  hwpt.fault?.drop(device, pasid);
  unreserveAll(device, pasid, hwpt, attachment);
  hwpt.users--;
  device.dma.releaseSlot(pasid);
  dropAuto(ctx, hwpt);
}

function hardwareSlot(device: SlotDevice, pasid: Pasid | undefined): HardwareSlot {
  if (pasid !== undefined && device.declaration.routing === "rid") {
    throw new UapiError("EINVAL", "the device's driver declares requests without PASID only", {
      evidence: [{ kind: "declaration", driver: device.declaration.name }],
    });
  }
  const found = device.dma.slotOf(pasid);
  if (found !== undefined) return found;
  throw new UapiError("EINVAL", "the device sends no requests: it has no slot in hardware");
}

/**
 * PASID and RID of one scope need page tables that were allocated for that. Device-centric: tables
 * of an IOAS are.
 */
function checkPasidCompatible(
  ctx: ContextState,
  scope: Scope,
  pasid: Pasid | undefined,
  hwpt: Hwpt,
): void {
  const cite = "Linux iommufd_hwpt_pasid_compat()";
  if (pasid === undefined) {
    if (hwpt.pasidCompatible || !ctx.slots.hasPasids(scope)) return;
    throw new UapiError("EINVAL", "PASIDs are attached: the page table must allow PASIDs too", {
      cite,
    });
  }
  if (!hwpt.pasidCompatible) {
    throw new UapiError("EINVAL", "the page table was not allocated for PASIDs", { cite });
  }
  const rid = ctx.slots.find(scope, undefined);
  if (rid === undefined || rid.hwpt.pasidCompatible) return;
  throw new UapiError("EINVAL", "the page table without PASID was not allocated for PASIDs", {
    cite,
  });
}

function checkFaultCapable(ctx: ContextState, device: Bdf, hwpt: Hwpt): void {
  if (hwpt.fault === undefined) return;
  if (ctx.system.isolation.sharesPageRequests?.(device) !== true) return;
  throw new UapiError("EINVAL", "the virtual function shares page requests with its PF", {
    evidence: [{ kind: "follows-physical-function", at: device, capability: "PRI" }],
    cite: "Linux iommufd_hwpt_attach_device(): pci_pri_supported()",
  });
}

/** Another device of the scope holds the slot: only the same table is possible. */
function checkJoin(ctx: ContextState, slot: Slot, device: SlotDevice, hwpt: Hwpt): void {
  if (slot.attached.has(device)) {
    throw new UapiError("EBUSY", "the device is attached here already", { cite: CITE });
  }
  if (device.dma.mediated) {
    throw new UapiError("EBUSY", "the slot in hardware is taken by another device", { cite: CITE });
  }
  if (slot.hwpt === hwpt) return;
  const { isolation } = ctx.system;
  const isLinux = isolation.rules === "linux-7.2";
  const rule = isLinux
    ? "another device of the group has a different page table"
    : "a device that the IOMMU cannot tell from this one has a different page table";
  const evidence = isLinux ? [] : isolation.aliasEvidence(device.function);
  throw new UapiError("EINVAL", rule, {
    evidence: [{ kind: "must-share", at: device.function, with: slot.scope.members }, ...evidence],
    cite: CITE,
  });
}

/** What an attachment reserves, before hardware is touched. */
function reserveAll(
  ctx: ContextState,
  request: AttachRequest,
  hwpt: Hwpt,
  hardware: HardwareSlot,
  judged: Judgement,
): Pending {
  const { device, pasid } = request;
  const { ioas } = pagingOf(hwpt);
  const attachment: Pending = { slot: NO_SLOT, hardware, pasid, policy: undefined, windows: [] };
  if (hardware.pasid === undefined) reserveForDevice(ctx, device, ioas);
  try {
    exclude(ioas.space, hwpt, judged, attachment);
  } catch (error) {
    if (hardware.pasid === undefined) ioas.space.unreserve(device);
    throw error;
  }
  attachment.policy = judged.policy;
  attachment.windows = judged.windows;
  return attachment;
}

type Pending = { -readonly [K in keyof Attachment]: Attachment[K] };
const NO_SLOT = {} as Slot;

function unreserveAll(
  device: SlotDevice,
  pasid: Pasid | undefined,
  hwpt: Hwpt,
  attachment: Attachment,
): void {
  const { space } = pagingOf(hwpt).ioas;
  if (pasid === undefined) space.unreserve(device);
  space.unreserve(attachment);
}

function programNew(
  ctx: ContextState,
  scope: Scope,
  hardware: HardwareSlot,
  hwpt: Hwpt,
  attachment: Pending,
): void {
  const members = membersOf(ctx, scope, hardware);
  program(ctx, members, hardware.pasid, hwpt, undefined);
  const slot: Slot = { scope, pasid: hardware.pasid, members, hwpt, attached: new Set() };
  ctx.slots.add(slot);
  attachment.slot = slot;
}

/** Who is programmed; with a PASID the members that have PASIDs, each wide enough. */
function membersOf(ctx: ContextState, scope: Scope, hardware: HardwareSlot): readonly Bdf[] {
  const { pasid } = hardware;
  if (pasid === undefined) return scope.members;
  const { driver } = ctx.system;
  const able = scope.members.filter((m) => driver.capabilities(m).maxPasids > 0);
  for (const member of able) {
    const { maxPasids } = driver.capabilities(member);
    if (pasid < maxPasids) continue;
    throw new UapiError("EINVAL", "the PASID is above what a member of the slot supports", {
      evidence: [{ kind: "pasid-too-large", at: member, pasid, maxPasids }],
      cite: "Linux iommu_attach_device_pasid()",
    });
  }
  return able.includes(hardware.device) ? able : [hardware.device];
}

/** Moves every member to the table; a failure moves those before it back. */
function program(
  ctx: ContextState,
  members: readonly Bdf[],
  pasid: Pasid | undefined,
  hwpt: Hwpt,
  old: Hwpt | undefined,
): void {
  const { driver } = ctx.system;
  const done: Bdf[] = [];
  try {
    for (const member of members) {
      driver.attach(member, pasid, hwpt.domain);
      done.push(member);
    }
  } catch (error) {
    for (const member of done) {
      if (old === undefined) block(ctx, member, pasid);
      else driver.attach(member, pasid, old.domain);
    }
    throw error;
  }
}

function block(ctx: ContextState, member: Bdf, pasid: Pasid | undefined): void {
  const { driver } = ctx.system;
  if (pasid === undefined) driver.attach(member, undefined, driver.blocked(member));
  else driver.detachPasid(member, pasid);
}

/** An automatic page table goes with its last attachment. */
export function dropAuto(ctx: ContextState, hwpt: Hwpt): void {
  if (hwpt.kind !== "hwpt-paging" || !hwpt.auto || hwpt.users > 0) return;
  if (ctx.objects.find(hwpt.id) === hwpt) ctx.objects.remove(hwpt);
}

/** The PASID by which a device's user knows a slot. */
function pasidOf(device: SlotDevice, slot: Slot): Pasid | undefined {
  for (const [pasid, attachment] of device.attachments) if (attachment.slot === slot) return pasid;
  return undefined;
}
