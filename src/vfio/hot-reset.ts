/**
 * Resets that take other functions along: VFIO_DEVICE_GET_PCI_HOT_RESET_INFO and PCI_HOT_RESET.
 * Linux vfio_pci_core.c.
 *
 * A reset of the bus hits every function below the bridge, so that the caller must own them all:
 * by the groups it names, or, when the device was bound by its own file, by its context.
 */
import {
  decodeVfioPciHotReset,
  encodeVfioPciDependentDevice,
  encodeVfioPciHotResetInfo,
  SIZEOF_VFIO_PCI_DEPENDENT_DEVICE,
  SIZEOF_VFIO_PCI_HOT_RESET,
  SIZEOF_VFIO_PCI_HOT_RESET_INFO,
  UapiError,
  VFIO_PCI_DEVID_NOT_OWNED,
  VFIO_PCI_DEVID_OWNED,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
} from "../abi/index.js";
import { type Call, FileKind } from "../files/index.js";
import type { PciFunction } from "../pcie/index.js";
import { type Bdf, busOf, devFnOf, segmentOf } from "../units/index.js";
import type { DeviceAccess, GroupFile } from "./device-access.js";
import { busResetBridge, resetBus } from "./function-reset.js";
import { argszOf, copyStruct, putStruct, takeStruct } from "./struct-argument.js";

const CITE_INFO = "Linux vfio_pci_ioctl_get_pci_hot_reset_info()";
const CITE_RESET = "Linux vfio_pci_ioctl_pci_hot_reset()";

interface Affected {
  readonly bridge: PciFunction;
  readonly devices: readonly Bdf[];
}

/** @throws UapiError EFAULT, EINVAL, ENODEV (nothing resets the bus), ENOSPC, EPERM. */
export function hotResetInfo(access: DeviceAccess, call: Call, address: bigint): number {
  const view = takeStruct(call, address, SIZEOF_VFIO_PCI_HOT_RESET_INFO, CITE_INFO);
  const argsz = argszOf(view);
  const { devices } = affectedBy(access, CITE_INFO);
  const count = devices.length;
  const bytes = count * SIZEOF_VFIO_PCI_DEPENDENT_DEVICE;
  if (argsz < SIZEOF_VFIO_PCI_HOT_RESET_INFO + bytes) {
    encodeVfioPciHotResetInfo({ argsz, flags: 0, count }, view);
    putStruct(call, address, view);
    throw new UapiError("ENOSPC", `a reset affects ${count} functions, which do not fit`, {
      evidence: [{ kind: "reset-affects", with: devices }],
      cite: CITE_INFO,
    });
  }
  const ids = devices.map((bdf) =>
    access.byGroup ? groupIdOf(access, bdf) : devIdOf(access, bdf),
  );
  const out = new DataView(new ArrayBuffer(bytes));
  devices.forEach((bdf, i) => {
    encodeVfioPciDependentDevice(
      {
        group_id: (ids[i] ?? 0) >>> 0,
        segment: segmentOf(bdf),
        bus: busOf(bdf),
        devfn: devFnOf(bdf),
      },
      out,
      i * SIZEOF_VFIO_PCI_DEPENDENT_DEVICE,
    );
  });
  putStruct(call, address + BigInt(SIZEOF_VFIO_PCI_HOT_RESET_INFO), out);
  const isOwned = !access.byGroup && !ids.includes(VFIO_PCI_DEVID_NOT_OWNED);
  const flags = access.byGroup
    ? 0
    : VFIO_PCI_HOT_RESET_FLAG_DEV_ID | (isOwned ? VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED : 0);
  encodeVfioPciHotResetInfo({ argsz, flags, count }, view);
  putStruct(call, address, view);
  return 0;
}

/** @throws UapiError EFAULT, EINVAL, ENODEV, EBADF. */
export function hotReset(access: DeviceAccess, call: Call, address: bigint): number {
  const view = takeStruct(call, address, SIZEOF_VFIO_PCI_HOT_RESET, CITE_RESET);
  const { flags, count } = decodeVfioPciHotReset(view);
  if (flags !== 0) throw new UapiError("EINVAL", "an unknown flag is set", { cite: CITE_RESET });
  const { bridge, devices } = affectedBy(access, CITE_RESET);
  if ((count !== 0) !== access.byGroup) {
    throw new UapiError("EINVAL", "groups are named when the device was opened through its group", {
      cite: CITE_RESET,
    });
  }
  const owns = access.byGroup
    ? ownsByGroups(access, call, address, count, devices.length)
    : (bdf: Bdf): boolean => devIdOf(access, bdf) !== VFIO_PCI_DEVID_NOT_OWNED;
  const { system } = access.table.platform;
  const others = devices.filter((bdf) => system.vfioDevice(bdf) === undefined || !owns(bdf));
  if (others.length > 0) {
    throw new UapiError("EINVAL", "the caller does not own every function that the reset affects", {
      evidence: others.map((at) => ({ kind: "reset-not-owned", at })),
      cite: "Linux vfio_pci_dev_set_hot_reset()",
    });
  }
  const open = [...access.table.all()].filter(({ bdf }) => devices.includes(bdf));
  for (const device of open) device.beforeReset();
  resetBus(access.device.machine, bridge.bdf);
  for (const device of open) device.afterReset();
  return 0;
}

/** @throws UapiError ENODEV. */
function affectedBy({ device }: DeviceAccess, cite: string): Affected {
  const fn = device.machine.fabric.function(device.bdf) ?? device.fn;
  const bridge = busResetBridge(fn);
  if (bridge === undefined) {
    throw new UapiError("ENODEV", "the bus of the device cannot be reset", {
      evidence: [{ kind: "no-reset-method", at: device.bdf }],
      cite,
    });
  }
  const below = device.machine.below(bridge.bdf).filter((bdf) => bdf !== bridge.bdf);
  return { bridge, devices: below.sort((a, b) => a - b) };
}

/** @throws UapiError EPERM: no group. */
function groupIdOf({ table }: DeviceAccess, bdf: Bdf): number {
  const found = table.platform.system.isolation.groupOf(bdf);
  if (found !== undefined) return found.id;
  throw new UapiError("EPERM", "an affected function is in no group", {
    evidence: [{ kind: "no-group", at: bdf }],
    cite: CITE_INFO,
  });
}

/** Its id in the caller's context, or whether the context owns its group. */
function devIdOf({ table, iommufd }: DeviceAccess, bdf: Bdf): number {
  const { system } = table.platform;
  for (const object of iommufd.state.objects.all()) {
    if (object.kind !== "device") continue;
    const { dma } = iommufd.device(object.id);
    if (dma.function === bdf && !dma.mediated) return object.id;
  }
  const isOwned = system.ownership.ownerOf(bdf) === iommufd.state.owner;
  return isOwned ? VFIO_PCI_DEVID_OWNED : VFIO_PCI_DEVID_NOT_OWNED;
}

/** @throws UapiError EINVAL too many, or a file that is no group; EFAULT; EBADF. */
function ownsByGroups(
  { table }: DeviceAccess,
  call: Call,
  address: bigint,
  count: number,
  most: number,
): (bdf: Bdf) => boolean {
  if (count > most) {
    throw new UapiError("EINVAL", "more groups are named than functions are affected", {
      cite: CITE_RESET,
    });
  }
  const fds = copyStruct(call, address + BigInt(SIZEOF_VFIO_PCI_HOT_RESET), 4 * count);
  const ids = new Set<number>();
  for (let i = 0; i < count; i++) {
    const fd = fds.getInt32(4 * i, true);
    const passed = call.fileOf(fd);
    if (passed === undefined) {
      throw new UapiError("EBADF", `descriptor ${fd} is not open`, { cite: CITE_RESET });
    }
    if (passed.kind !== "own" || passed.file.kind !== FileKind.vfioGroup) {
      throw new UapiError("EINVAL", `descriptor ${fd} is no group`, { cite: CITE_RESET });
    }
    ids.add((passed.file as GroupFile).groupId);
  }
  return (bdf) => {
    const id = table.platform.system.isolation.groupOf(bdf)?.id;
    return id !== undefined && ids.has(id);
  };
}
