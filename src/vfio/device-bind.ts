/**
 * VFIO_DEVICE_BIND_IOMMUFD, ATTACH_IOMMUFD_PT and DETACH_IOMMUFD_PT. Linux device_cdev.c.
 *
 * Binding is what opens a device: before it nothing of it can be reached, and only closing the file
 * ends it.
 */
import {
  decodeVfioDeviceAttachIommufdPt,
  decodeVfioDeviceBindIommufd,
  decodeVfioDeviceDetachIommufdPt,
  SIZEOF_VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  SIZEOF_VFIO_DEVICE_BIND_IOMMUFD,
  SIZEOF_VFIO_DEVICE_DETACH_IOMMUFD_PT,
  UapiError,
  VFIO_DEVICE_ATTACH_PASID,
  VFIO_DEVICE_BIND_FLAG_TOKEN,
  VFIO_DEVICE_DETACH_PASID,
} from "../abi/index.js";
import type { Call } from "../files/index.js";
import { asIommufd, type OpenIommufd } from "../iommufd/index.js";
import { type Bdf, makePasid, PASID_LIMIT, type Pasid } from "../units/index.js";
import type { DeviceAccess } from "./device-access.js";
import type { DeviceTable } from "./device-table.js";
import { argszOf, checkSize, copyStruct, takeExtensible, takeStruct } from "./struct-argument.js";
import { TOKEN_BYTES } from "./vf-tokens.js";

const BIND_LEAST = 16;
const ATTACH_LEAST = 12;
const DETACH_LEAST = 8;
const CITE_BIND = "Linux vfio_df_ioctl_bind_iommufd()";
const CITE_ATTACH = "Linux vfio_df_ioctl_attach_pt()";
const CITE_DETACH = "Linux vfio_df_ioctl_detach_pt()";

/**
 * @param known what the file may do already.
 * @returns what it may do now; nothing was written to the caller yet but the device's id.
 * @throws UapiError EFAULT, EINVAL, E2BIG, EBUSY (its group is open), EACCES, EBADF, EBADFD, or as
 *   binding.
 */
export function bindByFile(
  table: DeviceTable,
  bdf: Bdf,
  known: DeviceAccess | undefined,
  call: Call,
  address: bigint,
): DeviceAccess {
  const view = takeExtensible(
    call,
    address,
    BIND_LEAST,
    SIZEOF_VFIO_DEVICE_BIND_IOMMUFD,
    CITE_BIND,
  );
  const { flags, iommufd: fd, token_uuid_ptr } = decodeVfioDeviceBindIommufd(view);
  if (fd < 0 || (flags & ~VFIO_DEVICE_BIND_FLAG_TOKEN) !== 0) {
    throw new UapiError("EINVAL", "the descriptor is negative, or an unknown flag is set", {
      cite: CITE_BIND,
    });
  }
  if (known?.byGroup === true) {
    throw new UapiError("EINVAL", "the device was opened through its group", { cite: CITE_BIND });
  }
  const group = table.groups.of(bdf);
  group.checkNotOpen(bdf);
  if (known !== undefined) {
    throw new UapiError("EINVAL", "the device is bound already", { cite: CITE_BIND });
  }
  table.tokens.check(bdf, tokenOf(call, flags, token_uuid_ptr));
  const file = contextOf(call, fd);
  if (table.find(bdf) !== undefined) {
    throw new UapiError("EINVAL", "the device is open by another file", {
      evidence: [{ kind: "device-open", at: bdf }],
      cite: "Linux vfio_df_open()",
    });
  }
  const access = group.bindByFile(bdf, () => open(table, bdf, file));
  const id = new DataView(new ArrayBuffer(4));
  id.setUint32(0, access.object.id, true);
  try {
    call.copyOut(address + 12n, new Uint8Array(id.buffer));
  } catch (error) {
    access.close();
    throw error;
  }
  return access;
}

function open(table: DeviceTable, bdf: Bdf, file: OpenIommufd): DeviceAccess {
  const dma = table.platform.system.vfioDevice(bdf);
  if (dma === undefined) {
    throw new UapiError("ENODEV", "no VFIO driver has the device", {
      evidence: [{ kind: "no-vfio-driver", at: bdf }],
      cite: CITE_BIND,
    });
  }
  const { iommufd } = file;
  const object = iommufd.bind({ dma });
  const letGo = file.hold();
  const undo = (): void => {
    iommufd.unbind(object);
    letGo();
  };
  try {
    const device = table.open(bdf);
    const close = (): void => {
      table.close(device);
      undo();
      table.groups.find(bdf)?.unbound(bdf);
    };
    return { table, device, iommufd, object, byGroup: false, close };
  } catch (error) {
    undo();
    throw error;
  }
}

function tokenOf(call: Call, flags: number, address: bigint): Uint8Array | undefined {
  if ((flags & VFIO_DEVICE_BIND_FLAG_TOKEN) === 0) return undefined;
  const token = new Uint8Array(TOKEN_BYTES);
  call.copyIn(address, token);
  return token;
}

/** @throws UapiError EBADF, EBADFD. */
function contextOf(call: Call, fd: number): OpenIommufd {
  const passed = call.fileOf(fd);
  if (passed === undefined) {
    throw new UapiError("EBADF", `descriptor ${fd} is not open`, {
      cite: "Linux iommufd_ctx_from_fd()",
    });
  }
  const found = passed.kind === "own" ? asIommufd(passed.file) : undefined;
  if (found !== undefined) return found;
  throw new UapiError("EBADFD", `descriptor ${fd} is no /dev/iommu`, {
    cite: "Linux iommufd_ctx_from_file()",
  });
}

/** Attaches, or moves what is attached. @throws UapiError EFAULT, EINVAL, or as attaching. */
export function attachTable(access: DeviceAccess, call: Call, address: bigint): number {
  const view = new DataView(new ArrayBuffer(SIZEOF_VFIO_DEVICE_ATTACH_IOMMUFD_PT));
  readWithPasid(call, address, view, ATTACH_LEAST, VFIO_DEVICE_ATTACH_PASID, CITE_ATTACH);
  const { flags, pt_id: ptId, pasid: number } = decodeVfioDeviceAttachIommufdPt(view);
  const pasid = pasidOf(flags, number);
  const { iommufd, object } = access;
  const before = object.attachments.has(pasid);
  const args = { device: object, ptId, pasid };
  const id = before ? iommufd.replace(args) : iommufd.attach(args);
  view.setUint32(8, id, true);
  try {
    call.copyOut(address + 8n, new Uint8Array(view.buffer, 8, 4));
  } catch (error) {
    iommufd.detach(object, pasid);
    throw error;
  }
  return 0;
}

/** @throws UapiError EFAULT, EINVAL: the arguments only. */
export function detachTable(access: DeviceAccess, call: Call, address: bigint): number {
  const view = new DataView(new ArrayBuffer(SIZEOF_VFIO_DEVICE_DETACH_IOMMUFD_PT));
  readWithPasid(call, address, view, DETACH_LEAST, VFIO_DEVICE_DETACH_PASID, CITE_DETACH);
  const { flags, pasid: number } = decodeVfioDeviceDetachIommufdPt(view);
  if (number < PASID_LIMIT) access.iommufd.detach(access.object, pasidOf(flags, number));
  return 0;
}

/** The PASID at the end of the struct is read only when its flag is set. */
function readWithPasid(
  call: Call,
  address: bigint,
  into: DataView,
  least: number,
  flag: number,
  cite: string,
): void {
  const first = takeStruct(call, address, least, cite);
  const bytes = new Uint8Array(into.buffer);
  bytes.set(new Uint8Array(first.buffer));
  const flags = first.getUint32(4, true);
  if ((flags & ~flag) !== 0) throw new UapiError("EINVAL", "an unknown flag is set", { cite });
  if (flags === 0) return;
  checkSize(argszOf(first), into.byteLength, cite);
  bytes.set(new Uint8Array(copyStruct(call, address, into.byteLength).buffer));
}

/** @throws UapiError EINVAL: more than 20 bits. */
function pasidOf(flags: number, number: number): Pasid | undefined {
  if (flags === 0 || number === 0) return undefined;
  if (number < PASID_LIMIT) return makePasid(number);
  throw new UapiError("EINVAL", "a PASID has 20 bits", {
    cite: "Linux iommu_attach_device_pasid()",
  });
}
