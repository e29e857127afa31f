/** The report of a bound device: what it must share, who it is isolated from, what it may map. */
import type { Pasid, Span } from "../units/index.js";
import type { BoundDeviceReport, DeviceInfo, ExposedSlot } from "./api.js";
import type { ContextState } from "./context-state.js";
import type { IommufdDevice } from "./device.js";
import { pagingOf } from "./hw-pagetable.js";
import { windowsOf } from "./pasid-policy.js";

/** @throws UapiError ENODEV for a device without requests of its own. */
export function reportDevice(ctx: ContextState, device: IommufdDevice): BoundDeviceReport {
  const { isolation } = ctx.system;
  const bdf = device.function;
  const aliasSet = isolation.aliasSetOf(bdf);
  const path = isolation.pasidPath(bdf);
  const attached = device.attachments.get(undefined);
  return {
    device: bdf,
    cookie: device.cookie,
    aliasSet,
    isolationGroup: isolation.groupOf(bdf)?.members ?? [bdf],
    mustShare: aliasSet.length > 1,
    mustShareBecause: isolation.aliasEvidence(bdf),
    pasid: { ok: path.ok, onlyPath: path.onlyPath, because: path.because },
    pasidPolicy: device.policy.pasid ?? ctx.policy.pasid ?? "refuse",
    exposed: exposedSlots(ctx, device),
    permitted:
      attached === undefined
        ? undefined
        : pagingOf(attached.slot.hwpt).ioas.space.reserved.usable(),
    pasidSpace: device.dma.pasidSpace,
  };
}

/** Slots whose requests can reach peers untranslated. */
function exposedSlots(ctx: ContextState, device: IommufdDevice): readonly ExposedSlot[] {
  const out: ExposedSlot[] = [];
  for (const attachment of device.attachments.values()) {
    const { pasid, policy, hardware } = attachment;
    if (policy === "raw" || policy === "translated-only") {
      out.push({ pasid, policy, windows: attachment.windows });
    } else if (policy === undefined && hardware.pasid === undefined) {
      const windows: readonly Span[] = windowsOf(ctx, hardware);
      if (windows.length > 0) out.push({ pasid, policy: "raw", windows });
    }
  }
  return out.sort((a, b) => order(a.pasid) - order(b.pasid));
}

const order = (pasid: Pasid | undefined): number => pasid ?? -1;

/** IOMMU_HW_CAP_*. */
export const HardwareCap = {
  dirtyTracking: 1n,
  pasidExecute: 2n,
  pasidPrivileged: 4n,
  noAts: 8n,
} as const;

/** IOMMU_GET_HW_INFO. @throws UapiError EOPNOTSUPP for a type that the driver does not know. */
export function deviceInfo(ctx: ContextState, device: IommufdDevice, type: number): DeviceInfo {
  const { driver } = ctx.system;
  const bdf = device.function;
  const hardware = driver.hardwareInfo(bdf, type);
  const caps = driver.capabilities(bdf);
  const maxPasidLog2 = log2(caps.maxPasids);
  let capabilities = 0n;
  if (caps.dirtyTracking) capabilities |= HardwareCap.dirtyTracking;
  if (caps.maxPasids > 0 && caps.pasidExecute) capabilities |= HardwareCap.pasidExecute;
  if (caps.maxPasids > 0 && caps.pasidPrivileged) capabilities |= HardwareCap.pasidPrivileged;
  if (!caps.ats) capabilities |= HardwareCap.noAts;
  return { hardware, maxPasidLog2, capabilities };
}

const log2 = (count: number): number => (count === 0 ? 0 : Math.floor(Math.log2(count)));

/** Log2 of the PASIDs that the device's user may name; 0: none. */
export function pasidBits(device: IommufdDevice): number {
  const { maxPasids = 0 } = device.dma.capabilities ?? {};
  return device.declaration.routing === "rid" ? 0 : log2(maxPasids);
}
