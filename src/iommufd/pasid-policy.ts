/**
 * What an owner may accept when the fabric could send a device's requests past the IOMMU.
 *
 * A switch routes an untranslated request by its address, whatever its PASID. Where ACS does not
 * send it up first, an address in a peer's window never reaches the IOMMU. `refuse`: no such
 * attach. `exclude-windows`: the peers' windows are reserved in the space, so that no permitted
 * address is misrouted. `translated-only`: the same, for devices that promise to send translation
 * requests and translated requests only. `raw`: nothing is done, and it shows.
 *
 * linux-7.2 refuses whatever the policy says.
 */
import { UapiError } from "../abi/index.js";
import type { HardwareSlot } from "../driver/index.js";
import { mergeSpans, type Span } from "../units/index.js";
import type { PasidPolicy } from "./api.js";
import type { ContextState } from "./context-state.js";
import type { Hwpt } from "./hw-pagetable.js";
import type { IoPagetable } from "./io-pagetable.js";
import type { Attachment, AttachRequest } from "./slot.js";

/** What must hold for an attachment. */
export interface Judgement {
  /** The policy that let it pass; undefined when none was needed. */
  readonly policy: PasidPolicy | undefined;
  /** To be reserved; with `raw` what stays reachable. */
  readonly windows: readonly Span[];
}

const NOTHING: Judgement = { policy: undefined, windows: [] };
const CITE = "Linux pci_enable_pasid(): pci_acs_path_enabled()";

/** @throws UapiError EINVAL when neither the path nor the policy allows the attach. */
export function judgePath(
  ctx: ContextState,
  request: AttachRequest,
  hardware: HardwareSlot,
): Judgement {
  const { isolation } = ctx.system;
  const isLinux = isolation.rules === "linux-7.2";
  if (hardware.pasid === undefined) return isLinux ? NOTHING : judgeRid(ctx, request, hardware);
  const path = isolation.pasidPath(hardware.device);
  if (path.ok) return NOTHING;
  const policy =
    request.policy.pasid ?? request.device.policy.pasid ?? ctx.policy.pasid ?? "refuse";
  if (!path.onlyPath || isLinux || policy === "refuse") {
    const rule = path.onlyPath
      ? "the path lacks ACS redirect or upstream forwarding, which PASIDs need"
      : "the device, its path or its IOMMU cannot use PASIDs";
    throw new UapiError("EINVAL", rule, { evidence: path.because, cite: CITE });
  }
  const promises = request.device.declaration.translatedOnly;
  if (policy === "translated-only" && !promises) {
    throw new UapiError("EINVAL", "the driver does not promise translated requests only", {
      evidence: path.because,
    });
  }
  return { policy, windows: windowsOf(ctx, hardware) };
}

/** Peers' windows, for RID attaches inside a group of several devices, when that was asked for. */
function judgeRid(ctx: ContextState, request: AttachRequest, hardware: HardwareSlot): Judgement {
  const wanted =
    request.policy.excludeRidWindows ??
    request.device.policy.excludeRidWindows ??
    ctx.policy.excludeRidWindows ??
    false;
  if (!wanted) return NOTHING;
  const group = ctx.system.isolation.groupOf(hardware.device);
  if (group === undefined || group.members.length < 2) return NOTHING;
  return { policy: "exclude-windows", windows: windowsOf(ctx, hardware) };
}

export function windowsOf(ctx: ContextState, hardware: HardwareSlot): readonly Span[] {
  return mergeSpans(ctx.system.isolation.peerWindows(hardware.device).map((w) => w.span));
}

/**
 * Reserves the windows for an attachment, which owns them.
 * @throws UapiError EADDRINUSE, EOPNOTSUPP for a guest's table: then nothing is reserved.
 */
export function exclude(
  space: IoPagetable,
  hwpt: Hwpt,
  judged: Judgement,
  attachment: Attachment,
): void {
  if (!excludes(judged.policy)) return;
  checkExcludable(hwpt, judged);
  try {
    for (const span of judged.windows) space.reserve(span, attachment);
  } catch (error) {
    space.unreserve(attachment);
    throw error;
  }
}

/** The policy reserves windows. */
export function excludes(policy: PasidPolicy | undefined): boolean {
  return policy === "exclude-windows" || policy === "translated-only";
}

/** @throws UapiError EOPNOTSUPP when windows would have to be kept out of a guest's table. */
export function checkExcludable(hwpt: Hwpt, judged: Judgement): void {
  if (!excludes(judged.policy) || hwpt.kind !== "hwpt-nested") return;
  throw new UapiError("EOPNOTSUPP", "addresses of a guest's own table cannot be restricted", {
    evidence: [{ kind: "windows-not-excludable", windows: judged.windows }],
  });
}

/**
 * Windows changed: every attachment that excludes windows takes the new ones.
 * @throws UapiError EADDRINUSE when a mapping is in a new window: then all stays as it was, and
 * whoever changes the window must not.
 */
export function updateWindows(ctx: ContextState): void {
  const changed: { attachment: Attachment; space: IoPagetable; windows: readonly Span[] }[] = [];
  for (const slot of ctx.slots.all()) {
    for (const device of slot.attached) {
      for (const attachment of device.attachments.values()) {
        if (attachment.slot !== slot || attachment.policy === undefined) continue;
        const windows = windowsOf(ctx, attachment.hardware);
        const { hwpt } = slot;
        const paging = hwpt.kind === "hwpt-paging" ? hwpt : hwpt.parent;
        changed.push({ attachment, space: paging.ioas.space, windows });
      }
    }
  }
  for (const { attachment, space, windows } of changed) {
    if (attachment.policy === "raw") continue;
    for (const span of windows) space.checkUnused(span);
  }
  for (const { attachment, space, windows } of changed) {
    attachment.windows = windows;
    if (attachment.policy === "raw") continue;
    space.unreserve(attachment);
    for (const span of windows) space.reserve(span, attachment);
  }
}
