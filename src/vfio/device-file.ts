/**
 * VfioDeviceFile: an open file of a device, /dev/vfio/devices/vfioN or what a group gave. Linux
 * vfio_main.c.
 *
 * The device's own file can do nothing until it is bound. Regions lie in the file 2^40 bytes apart.
 */
import {
  UapiError,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
} from "../abi/index.js";
import {
  type Call,
  FileKind,
  type MappedRegion,
  type MmapRequest,
  type OpenFile,
} from "../files/index.js";
import type { Bdf } from "../units/index.js";
import { type DeviceAccess, noSuchCall } from "./device-access.js";
import { attachTable, bindByFile, detachTable } from "./device-bind.js";
import { deviceFeature } from "./device-features.js";
import { getInfo, getIrqInfo, getRegionInfo, REGION_SHIFT } from "./device-info.js";
import type { DeviceTable } from "./device-table.js";
import { hotReset, hotResetInfo } from "./hot-reset.js";
import { readIrqRequest } from "./interrupt-set.js";
import { setIoEventFd } from "./io-event-fd-call.js";
import { Region } from "./resources.js";

export interface DeviceFileOptions {
  readonly label: string;
  readonly rdev?: OpenFile["rdev"];
}

type Handler = (access: DeviceAccess, call: Call, address: bigint) => number;

const CALLS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [VFIO_DEVICE_GET_INFO, getInfo],
  [VFIO_DEVICE_GET_REGION_INFO, getRegionInfo],
  [VFIO_DEVICE_GET_IRQ_INFO, getIrqInfo],
  [VFIO_DEVICE_SET_IRQS, setIrqs],
  [VFIO_DEVICE_RESET, reset],
  [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hotResetInfo],
  [VFIO_DEVICE_PCI_HOT_RESET, hotReset],
  [VFIO_DEVICE_IOEVENTFD, setIoEventFd],
  [VFIO_DEVICE_FEATURE, deviceFeature],
]);

/** Calls of a device that was bound by its own file. */
const OWN_CALLS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [VFIO_DEVICE_ATTACH_IOMMUFD_PT, attachTable],
  [VFIO_DEVICE_DETACH_IOMMUFD_PT, detachTable],
]);

/** See the head of the file. */
export class VfioDeviceFile implements OpenFile {
  readonly kind = FileKind.vfioDevice;
  readonly label: string;
  readonly rdev: OpenFile["rdev"];
  readonly bdf: Bdf;
  readonly #table: DeviceTable;
  #access: DeviceAccess | undefined;
  #position = 0n;

  /** @param access what it may do; undefined: it is to be bound. */
  constructor(
    table: DeviceTable,
    bdf: Bdf,
    options: DeviceFileOptions,
    access: DeviceAccess | undefined,
  ) {
    this.#table = table;
    this.bdf = bdf;
    this.label = options.label;
    this.rdev = options.rdev;
    this.#access = access;
  }

  /** Undefined before it is bound; for looking at. */
  get access(): DeviceAccess | undefined {
    return this.#access;
  }

  /** A further line of /proc/PID/fdinfo. */
  fdInfo(): string {
    const path = this.#table.platform.sysfsPathOf?.(this.bdf);
    return path === undefined ? "" : `vfio-device-syspath: ${path}\n`;
  }

  ioctl(call: Call, command: number, argument: bigint): number {
    if (command === VFIO_DEVICE_BIND_IOMMUFD) {
      this.#access = bindByFile(this.#table, this.bdf, this.#access, call, argument);
      return 0;
    }
    const access = this.#use();
    const own = access.byGroup ? undefined : OWN_CALLS.get(command);
    const handler = own ?? CALLS.get(command) ?? noSuchCall(command);
    return handler(access, call, argument);
  }

  read(_call: Call, length: number, offset: bigint | undefined): Uint8Array {
    const { device } = this.#use();
    const { index, at } = place(offset ?? this.#position);
    const bytes =
      index === Region.config
        ? device.config.read(Number(at), length)
        : device.regions.read(checkRegion(index), at, length);
    if (offset === undefined) this.#position += BigInt(bytes.length);
    return bytes;
  }

  write(_call: Call, bytes: Uint8Array, offset: bigint | undefined): number {
    const { device } = this.#use();
    const { index, at } = place(offset ?? this.#position);
    if (index === Region.config) device.config.write(Number(at), bytes);
    const count =
      index === Region.config ? bytes.length : device.regions.write(checkRegion(index), at, bytes);
    if (offset === undefined) this.#position += BigInt(count);
    return count;
  }

  mmap(_call: Call, request: MmapRequest): MappedRegion {
    const { device } = this.#use();
    const { index, at } = place(request.offset);
    return device.regions.mmap(index, at, request);
  }

  release(): void {
    this.#access?.close();
    this.#access = undefined;
  }

  /** @throws UapiError EINVAL before it is bound. */
  #use(): DeviceAccess {
    const access = this.#access;
    if (access === undefined) {
      throw new UapiError("EINVAL", "the device is not bound", {
        evidence: [{ kind: "not-bound", at: this.bdf }],
        cite: "Linux vfio_device_fops_unl_ioctl(): access_granted",
      });
    }
    access.device.lowPower.touch();
    return access;
  }
}

function place(offset: bigint): { readonly index: number; readonly at: bigint } {
  return { index: Number(offset >> REGION_SHIFT), at: offset & ((1n << REGION_SHIFT) - 1n) };
}

/** @throws UapiError EINVAL: there are BARs and a ROM. */
function checkRegion(index: number): number {
  if (index <= Region.rom) return index;
  throw new UapiError("EINVAL", `the device has no region ${index}`, {
    cite: "Linux vfio_pci_rw()",
  });
}

function setIrqs({ device }: DeviceAccess, call: Call, address: bigint): number {
  const { interrupts } = device;
  const request = readIrqRequest(call, address, (index) => interrupts.countOf(index));
  return interrupts.set(call, request);
}

function reset({ device }: DeviceAccess): number {
  device.reset();
  return 0;
}
