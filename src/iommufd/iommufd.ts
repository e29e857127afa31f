/**
 * One open /dev/iommu as a library object: the calls of the interface, one method each.
 *
 * Every method that refuses throws a UapiError, which is also kept as `lastFailure`. Methods are
 * synchronous. The contexts of one machine share its `IommufdSystem`.
 */
import { UapiError } from "../abi/index.js";
import type { DmaDevice } from "../driver/index.js";
import type { Bdf, Pasid, Span } from "../units/index.js";
import { type Access, type AccessOptions, createAccess } from "./access.js";
import type {
  AttachPolicy,
  BoundDeviceReport,
  Caller,
  CopyArgs,
  DeviceInfo,
  DirtyBitmapArgs,
  HwptAllocArgs,
  InvalidateArgs,
  MapArgs,
  MapFileArgs,
} from "./api.js";
import {
  type AttachArgs,
  attachDevice,
  detachDevice,
  replaceDevice,
  unbindDevice,
} from "./attach-calls.js";
import { ContextState } from "./context-state.js";
import { bindDevice, type IommufdDevice } from "./device.js";
import { getDirtyBitmap, setDirtyTracking } from "./dirty.js";
import type { EventQueue } from "./event-queue.js";
import { deliverFault, deliverVirtualEvent, revokeSource } from "./events.js";
import { type FaultGroup, FaultQueue } from "./fault.js";
import type { Hwpt } from "./hw-pagetable.js";
import { hwptAlloc } from "./hwpt-alloc.js";
import { hwptInvalidate } from "./invalidate.js";
import { Ioas } from "./ioas.js";
import {
  allowIovas,
  changeProcess,
  type IovaRanges,
  ioasUnmap,
  iovaRanges,
  setHugePages,
  setRlimitMode,
} from "./ioas-calls.js";
import { ioasCopy, ioasMap, ioasMapFile } from "./ioas-map.js";
import { updateWindows } from "./pasid-policy.js";
import type { IommufdSystem, PageSource, UserProcess } from "./ports.js";
import { deviceInfo, reportDevice } from "./report.js";
import {
  type NestedMapArgs,
  nestedIoasAlloc,
  nestedIoasMap,
  type ParentUnmapPolicy,
} from "./software-nesting.js";
import type { Vdevice } from "./vdevice.js";
import { VfioCompat } from "./vfio-compat.js";
import type { HwQueue, Viommu } from "./viommu.js";
import {
  type HwQueueAllocArgs,
  hwQueueAlloc,
  type VdeviceAllocArgs,
  type VeventqAllocArgs,
  type ViommuAllocArgs,
  vdeviceAlloc,
  veventqAlloc,
  viommuAlloc,
} from "./viommu-alloc.js";

export interface BindArgs {
  readonly dma: DmaDevice;
  /** Echoed in the report; need not be unique. */
  readonly cookie?: bigint | undefined;
}

/** No process named: the context's own. */
const HERE: Caller = {};

/** One context; see the head of the file. */
export class Iommufd {
  readonly state: ContextState;
  /** The calls of a VFIO container. */
  readonly vfio: VfioCompat;
  /** Why the last call that failed did; calls that succeed leave it. */
  lastFailure: UapiError | undefined;

  constructor(system: IommufdSystem, caller: UserProcess) {
    this.state = new ContextState(system, caller);
    this.vfio = new VfioCompat(this.state, (call) => this.#run(call));
  }

  // Objects.

  /** IOMMU_DESTROY. @throws UapiError ENOENT, EBUSY. */
  destroy(id: number): void {
    this.#run(() => this.state.objects.destroy(id));
    if (this.state.compatIoasId === id) this.state.compatIoasId = undefined;
  }

  /**
   * Closes the context: devices are unbound, accesses closed, then everything else goes.
   */
  close(): void {
    const { objects } = this.state;
    for (const object of [...objects.all()]) {
      if (object.kind === "device") unbindDevice(this.state, object as IommufdDevice);
      else if (object.kind === "access" && objects.find(object.id) === object) {
        (object as Access).close();
      } else if (object.kind === "fault") (object as FaultQueue).closeFile();
      else if (object.kind === "veventq") (object as EventQueue).closeFile();
    }
    objects.clear();
  }

  // Address spaces.

  /** IOMMU_IOAS_ALLOC. @returns the id. @throws UapiError EOPNOTSUPP, ENOMEM. */
  ioasAlloc(args: { readonly flags?: number; readonly enforceCoherency?: boolean } = {}): number {
    return this.#run(() => {
      if ((args.flags ?? 0) !== 0) throw new UapiError("EOPNOTSUPP", "an unknown flag is set");
      const { objects, tables } = this.state;
      return objects.create((id) => new Ioas(id, tables, args.enforceCoherency)).id;
    });
  }

  /** IOMMU_IOAS_MAP. @returns the address. */
  ioasMap(args: MapArgs, from: Caller = HERE): bigint {
    try {
      return ioasMap(this.state, args, from.process ?? this.state.caller);
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** IOMMU_IOAS_MAP_FILE. @returns the address. */
  ioasMapFile(args: MapFileArgs, from: Caller = {}): bigint {
    return this.#run(() => ioasMapFile(this.state, args, from.process ?? this.state.caller));
  }

  /** IOMMU_IOAS_COPY. @returns the address. */
  ioasCopy(args: CopyArgs): bigint {
    return this.#run(() => ioasCopy(this.state, args));
  }

  /** IOMMU_IOAS_UNMAP. @returns bytes removed. */
  ioasUnmap(ioasId: number, iova: bigint, length: bigint): bigint {
    try {
      return ioasUnmap(this.state, ioasId, iova, length);
    } catch (error) {
      return this.#failed(error);
    }
  }

  /**
   * IOMMU_IOAS_IOVA_RANGES. Without a capacity all ranges.
   * @throws UapiError ENOENT; EMSGSIZE when there are more than the capacity.
   */
  ioasIovaRanges(ioasId: number, capacity?: number): IovaRanges {
    return this.#run(() => {
      const found = iovaRanges(this.state, ioasId, capacity ?? Number.POSITIVE_INFINITY);
      if (found.ranges.length === found.total) return found;
      throw new UapiError("EMSGSIZE", "there are more ranges than fit", {
        evidence: [{ kind: "ranges", total: found.total, alignment: found.alignment }],
        cite: "Linux iommufd_ioas_iova_ranges()",
      });
    });
  }

  /** IOMMU_IOAS_ALLOW_IOVAS. */
  ioasAllowIovas(ioasId: number, spans: readonly Span[]): void {
    this.#run(() => allowIovas(this.state, ioasId, spans));
  }

  /** IOMMU_IOAS_CHANGE_PROCESS. */
  ioasChangeProcess(to: UserProcess): void {
    this.#run(() => changeProcess(this.state, to));
  }

  /** IOMMU_OPTION_RLIMIT_MODE. */
  setRlimitMode(value: bigint, from: Caller = {}): void {
    this.#run(() => setRlimitMode(this.state, from.process ?? this.state.caller, value));
  }

  /** IOMMU_OPTION_HUGE_PAGES. */
  setHugePages(ioasId: number, value: bigint): void {
    this.#run(() => setHugePages(this.state, ioasId, value));
  }

  /** Reserves addresses for good. @throws UapiError ENOENT, EADDRINUSE. */
  ioasReserve(ioasId: number, span: Span): void {
    this.#run(() => this.ioas(ioasId).space.reserve(span, undefined));
  }

  /** A space on top of another one, merged in software. @returns the id. */
  nestedIoasAlloc(parentId: number, policy?: ParentUnmapPolicy): number {
    return this.#run(() => nestedIoasAlloc(this.state, parentId, policy).id);
  }

  /** @returns the address in the nested space. */
  nestedIoasMap(args: NestedMapArgs): bigint {
    return this.#run(() => nestedIoasMap(this.state, args));
  }

  // Page tables.

  /** IOMMU_HWPT_ALLOC. @returns the id. */
  hwptAlloc(args: HwptAllocArgs): number {
    return this.#run(() => hwptAlloc(this.state, args).id);
  }

  /** IOMMU_HWPT_SET_DIRTY_TRACKING. */
  hwptSetDirtyTracking(hwptId: number, flags: number): void {
    this.#run(() => setDirtyTracking(this.state, hwptId, flags));
  }

  /** IOMMU_HWPT_GET_DIRTY_BITMAP. @returns bytes walked: fewer than asked at a hole. */
  hwptGetDirtyBitmap(args: DirtyBitmapArgs): bigint {
    return this.#run(() => getDirtyBitmap(this.state, args));
  }

  /** IOMMU_HWPT_INVALIDATE. */
  hwptInvalidate(args: InvalidateArgs): void {
    this.#run(() => hwptInvalidate(this.state, args));
  }

  // Devices.

  /** VFIO_DEVICE_BIND_IOMMUFD. @throws UapiError EINVAL, ENODEV, EPERM, EBUSY, ENOMEM. */
  bind(args: BindArgs): IommufdDevice {
    return this.#run(() => bindDevice(this.state, args.dma, args.cookie));
  }

  /** Closes the device: detaches everything and lets its group go with the last. Never fails. */
  unbind(device: IommufdDevice): void {
    unbindDevice(this.state, device);
  }

  /** Attaches to an IOAS or a page table. @returns the id of the page table. */
  attach(args: AttachArgs): number {
    return this.#run(() => attachDevice(this.state, args));
  }

  /** Moves an attached device. @returns the id of the page table. */
  replace(args: AttachArgs): number {
    return this.#run(() => replaceDevice(this.state, args));
  }

  /** Never fails. */
  detach(device: IommufdDevice, pasid?: Pasid): void {
    detachDevice(this.state, device, pasid);
  }

  /** IOMMU_GET_HW_INFO. */
  hardwareInfo(deviceId: number, type = 0): DeviceInfo {
    return this.#run(() => deviceInfo(this.state, this.device(deviceId), type));
  }

  /** What must be shared, who is isolated, what may be mapped, and why. */
  report(deviceId: number): BoundDeviceReport {
    return this.#run(() => reportDevice(this.state, this.device(deviceId)));
  }

  /** Settings of the context; attaches that were made keep theirs. */
  setPolicy(policy: AttachPolicy): void {
    this.state.policy = { ...this.state.policy, ...policy };
  }

  /** Windows of bridges changed. @throws UapiError EADDRINUSE: then they must not change. */
  updateWindows(): void {
    this.#run(() => updateWindows(this.state));
  }

  // Accesses, queues, virtual IOMMUs.

  /** An access without a space: `attach` gives it one. */
  createAccess(options: AccessOptions): Access {
    return this.#run(() => createAccess(this.state, options));
  }

  /** IOMMU_FAULT_QUEUE_ALLOC. @throws UapiError EOPNOTSUPP, ENOMEM. */
  faultQueueAlloc(flags = 0): FaultQueue {
    return this.#run(() => {
      if (flags !== 0) throw new UapiError("EOPNOTSUPP", "an unknown flag is set");
      return this.state.objects.create((id) => new FaultQueue(id));
    });
  }

  /** IOMMU_VIOMMU_ALLOC. */
  viommuAlloc(args: ViommuAllocArgs): Viommu {
    return this.#run(() => viommuAlloc(this.state, args));
  }

  /** IOMMU_VDEVICE_ALLOC. */
  vdeviceAlloc(args: VdeviceAllocArgs): Vdevice {
    return this.#run(() => vdeviceAlloc(this.state, args));
  }

  /** IOMMU_VEVENTQ_ALLOC. */
  veventqAlloc(args: VeventqAllocArgs): EventQueue {
    return this.#run(() => veventqAlloc(this.state, args));
  }

  /** IOMMU_HW_QUEUE_ALLOC. */
  hwQueueAlloc(args: HwQueueAllocArgs): HwQueue {
    return this.#run(() => hwQueueAlloc(this.state, args));
  }

  // From hardware.

  /** Page requests of a function. @returns false when nobody takes them. */
  deliverFault(device: Bdf, pasid: Pasid | undefined, group: FaultGroup): boolean {
    return deliverFault(this.state, device, pasid, group);
  }

  /** An event for the vIOMMU of a device. @throws UapiError ENOENT, EOPNOTSUPP. */
  deliverVirtualEvent(
    deviceId: number,
    type: number,
    makeData: (virtualId: bigint) => Uint8Array,
  ): void {
    this.#run(() => deliverVirtualEvent(this.device(deviceId), type, makeData));
  }

  /** Memory of a device is gone. */
  revoke(source: PageSource): void {
    revokeSource(this.state, source);
  }

  // Look-ups.

  /** @throws UapiError ENOENT. */
  ioas(id: number): Ioas {
    return this.state.objects.get(id, "ioas") as Ioas;
  }

  /** @throws UapiError ENOENT. */
  device(id: number): IommufdDevice {
    return this.state.objects.get(id, "device") as IommufdDevice;
  }

  /** A page table of either kind, or undefined. */
  hwpt(id: number): Hwpt | undefined {
    const found = this.state.objects.find(id);
    const isTable = found?.kind === "hwpt-paging" || found?.kind === "hwpt-nested";
    return isTable ? (found as Hwpt) : undefined;
  }

  #run<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): never {
    if (UapiError.is(error)) this.lastFailure = error;
    throw error;
  }
}
