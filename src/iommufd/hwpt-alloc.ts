/** IOMMU_HWPT_ALLOC, and the automatic page tables of an attach. Linux hw_pagetable.c. */
import { UapiError } from "../abi/index.js";
import { type DriverData, dataLength, type PagingFlags } from "../driver/index.js";
import { type HwptAllocArgs, HwptFlag } from "./api.js";
import type { ContextState } from "./context-state.js";
import type { IommufdDevice } from "./device.js";
import type { FaultQueue } from "./fault.js";
import { type Hwpt, HwptNested, HwptPaging } from "./hw-pagetable.js";
import type { Ioas } from "./ioas.js";
import type { SlotDevice } from "./slot.js";
import type { Viommu } from "./viommu.js";

const KNOWN = HwptFlag.nestParent | HwptFlag.dirtyTracking | HwptFlag.faultIdValid | HwptFlag.pasid;
const NESTED_FLAGS = HwptFlag.faultIdValid | HwptFlag.pasid;
const CITE = "Linux iommufd_hwpt_alloc()";

/** @throws UapiError EINVAL, ENOENT, EOPNOTSUPP, or what the driver and the space throw. */
export function hwptAlloc(ctx: ContextState, args: HwptAllocArgs): Hwpt {
  const flags = args.flags ?? 0;
  checkData(args.data);
  const device = ctx.objects.get(args.devId, "device") as IommufdDevice;
  const target = ctx.objects.find(args.ptId);
  switch (target?.kind) {
    case "ioas":
      return allocManual(ctx, device, target as Ioas, flags, args);
    case "hwpt-paging":
      return allocNested(ctx, device, target as HwptPaging, flags, args);
    case "viommu":
      return allocThrough(ctx, device, target as Viommu, flags, args);
    default:
      throw new UapiError("EINVAL", "pt_id is no address space, nesting parent or vIOMMU", {
        evidence: [{ kind: "object-not-found", id: args.ptId, found: target?.kind }],
        cite: CITE,
      });
  }
}

/** Type 0 is no data, and no data is type 0. */
function checkData(data: DriverData | undefined): void {
  const hasType = (data?.type ?? 0) !== 0;
  const hasBytes = data !== undefined && dataLength(data) > 0;
  if (hasType !== hasBytes) {
    throw new UapiError("EINVAL", "data without a type, or a type without data", { cite: CITE });
  }
}

function allocManual(
  ctx: ContextState,
  device: IommufdDevice,
  ioas: Ioas,
  flags: number,
  args: HwptAllocArgs,
): HwptPaging {
  if ((flags & ~KNOWN) !== 0) throw unsupported("an unknown flag is set");
  const { driver } = ctx.system;
  const isDirty = (flags & HwptFlag.dirtyTracking) !== 0;
  if (isDirty && !driver.capabilities(device.function).dirtyTracking) {
    throw unsupported("the device's IOMMU has no dirty tracking");
  }
  const isParent = (flags & HwptFlag.nestParent) !== 0;
  const hasFault = (flags & HwptFlag.faultIdValid) !== 0;
  if (isParent && hasFault) throw unsupported("a nesting parent takes no fault queue");
  const pasid = (flags & HwptFlag.pasid) !== 0;
  return ctx.objects.create((id) => {
    const domain = driver.allocPaging(
      device.function,
      { nestParent: isParent, dirtyTracking: isDirty, pasid, userAllocated: true },
      args.data,
    );
    return joined(
      () => {
        checkCoherency(ioas, domain.enforcesCoherency);
        const options = { auto: false, nestParent: isParent, pasidCompatible: pasid };
        return new HwptPaging(id, ioas, domain, { ...options, fault: undefined });
      },
      domain,
      (made) => made.takeFaults(faultOf(ctx, hasFault, args)),
    );
  });
}

/** Builds the object, joins its space, finishes it; frees the domain when one of them fails. */
function joined(
  build: () => HwptPaging,
  domain: { free(): void },
  finish: (made: HwptPaging) => void,
): HwptPaging {
  let made: HwptPaging | undefined;
  try {
    made = build();
    made.join();
    finish(made);
    return made;
  } catch (error) {
    if (made === undefined) domain.free();
    else made.destroy();
    throw error;
  }
}

/**
 * A page table for an attach to an IOAS; not in its space yet (`join` does that).
 * @throws UapiError ENOMEM, EINVAL, or what the driver throws.
 */
export function allocAuto(
  ctx: ContextState,
  device: SlotDevice,
  ioas: Ioas,
  id: number,
): HwptPaging {
  const { driver, isolation } = ctx.system;
  const isLinux = isolation.rules === "linux-7.2";
  const pasid = !isLinux && driver.capabilities(device.function).maxPasids > 0;
  const flags: PagingFlags = {
    nestParent: false,
    dirtyTracking: false,
    pasid,
    userAllocated: false,
  };
  const domain = driver.allocPaging(device.function, flags, undefined);
  try {
    checkCoherency(ioas, domain.enforcesCoherency);
  } catch (error) {
    domain.free();
    throw error;
  }
  const options = { auto: true, nestParent: false, pasidCompatible: pasid, fault: undefined };
  return new HwptPaging(id, ioas, domain, options);
}

function checkCoherency(ioas: Ioas, enforces: boolean): void {
  if (!ioas.enforceCoherency || enforces) return;
  throw new UapiError("EINVAL", "the address space forces coherency, which this IOMMU cannot", {
    evidence: [{ kind: "coherency-not-enforced", ioas: ioas.id }],
  });
}

function allocNested(
  ctx: ContextState,
  device: IommufdDevice,
  parent: HwptPaging,
  flags: number,
  args: HwptAllocArgs,
): HwptNested {
  const data = nestedData(flags, args);
  if (parent.auto || !parent.nestParent) {
    throw new UapiError("EINVAL", "the page table is no nesting parent", { cite: CITE });
  }
  const { driver } = ctx.system;
  if (driver.instanceOf(device.function) !== parent.domain.instance) {
    throw new UapiError("EINVAL", "the parent belongs to another IOMMU", { cite: CITE });
  }
  const pasid = (flags & HwptFlag.pasid) !== 0;
  return ctx.objects.create((id) => {
    const domain = driver.allocNested(device.function, parent.domain, data, { pasid });
    return nestedObject(ctx, id, parent, domain, undefined, flags, args);
  });
}

function allocThrough(
  ctx: ContextState,
  device: IommufdDevice,
  viommu: Viommu,
  flags: number,
  args: HwptAllocArgs,
): HwptNested {
  const data = nestedData(flags, args);
  const { parent, virtual } = viommu;
  if (ctx.system.driver.instanceOf(device.function) !== parent.domain.instance) {
    throw new UapiError("EINVAL", "the device is behind another IOMMU than the vIOMMU", {
      cite: CITE,
    });
  }
  const pasid = (flags & HwptFlag.pasid) !== 0;
  return ctx.objects.create((id) => {
    const domain = virtual.allocNested(data, { pasid });
    return nestedObject(ctx, id, parent, domain, viommu, flags, args);
  });
}

function nestedData(flags: number, args: HwptAllocArgs): DriverData {
  if ((flags & ~NESTED_FLAGS) !== 0) throw unsupported("a flag that a nested table cannot have");
  if (args.data !== undefined) return args.data;
  throw unsupported("a nested table needs data");
}

function nestedObject(
  ctx: ContextState,
  id: number,
  parent: HwptPaging,
  domain: HwptNested["domain"],
  viommu: Viommu | undefined,
  flags: number,
  args: HwptAllocArgs,
): HwptNested {
  try {
    const fault = faultOf(ctx, (flags & HwptFlag.faultIdValid) !== 0, args);
    const pasidCompatible = (flags & HwptFlag.pasid) !== 0;
    return new HwptNested(id, parent, domain, viommu, { pasidCompatible, fault });
  } catch (error) {
    domain.free();
    throw error;
  }
}

function faultOf(ctx: ContextState, isValid: boolean, args: HwptAllocArgs): FaultQueue | undefined {
  return isValid ? (ctx.objects.get(args.faultId ?? 0, "fault") as FaultQueue) : undefined;
}

function unsupported(rule: string): UapiError {
  return new UapiError("EOPNOTSUPP", rule, { cite: CITE });
}
