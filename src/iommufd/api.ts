/**
 * The object layer as a library: one method per call of the kernel's interface, with its argument
 * meaning, order of checks and errno, free of wire details.
 *
 * Ids are per context and start at 1; 0 is never an object. Addresses and lengths are bigints of 64
 * bits, 0 to 2^64 - 1.
 * Every method throws UapiError when it refuses, and then nothing has changed unless its
 * description says otherwise.
 */
import type { DriverData, HardwareInfo, InvalidationEntries } from "../driver/index.js";
import type { Evidence } from "../isolation/index.js";
import type { Bdf, Pasid, Span } from "../units/index.js";
import type { PageSource, UserProcess } from "./ports.js";

/** IOMMU_IOAS_MAP_*. */
export const MapFlag = { fixedIova: 1, writeable: 2, readable: 4 } as const;
/** IOMMU_HWPT_ALLOC_*. */
export const HwptFlag = { nestParent: 1, dirtyTracking: 2, faultIdValid: 4, pasid: 8 } as const;

/** How the driver of a device sends its DMA; it decides, nobody derives it. */
export type RoutingMode = "rid" | "rid-pasid" | "rid-pasid-shared-queue" | "software";

/** What a device's driver declares when the device is bound. */
export interface DeviceDeclaration {
  readonly mode: RoutingMode;
  /** With PASIDs it sends only translation requests and translated requests. */
  readonly translatedOnly?: boolean | undefined;
  /** Echoed in reports and faults; need not be unique. */
  readonly cookie?: bigint | undefined;
}

export type PasidPolicy = "refuse" | "exclude-windows" | "translated-only" | "raw";

/** Settings of a context, each of which an attach may override. */
export interface AttachPolicy {
  /** PASID attach on a path without ACS redirect and forwarding. Default refuse. */
  readonly pasid?: PasidPolicy | undefined;
  /** Peer windows are reserved for RID attaches inside a group of several devices. Default off. */
  readonly excludeRidWindows?: boolean | undefined;
}

export interface MapArgs {
  readonly ioasId: number;
  readonly flags: number;
  readonly userVa: bigint;
  readonly length: bigint;
  /** Used with fixedIova. */
  readonly iova?: bigint | undefined;
}

/** Keeps a file while some area shows its memory. */
export interface MemoryHolder {
  keep(): void;
  drop(): void;
}

export interface MapFileArgs extends Omit<MapArgs, "userVa"> {
  /** Undefined: the descriptor is not open. */
  readonly file: PageSource | undefined;
  /** Refuses files that cannot be mapped; asked after the range was checked. */
  readonly checkFile?: (() => void) | undefined;
  /** Kept from the first area of the file in the context to the last. */
  readonly holder?: MemoryHolder | undefined;
  /** Bytes of the file, or undefined where the source checks itself. */
  readonly fileSize?: bigint | undefined;
  readonly start: bigint;
}

export interface CopyArgs {
  readonly flags: number;
  readonly dstIoasId: number;
  readonly srcIoasId: number;
  readonly length: bigint;
  readonly dstIova?: bigint | undefined;
  readonly srcIova: bigint;
}

export interface HwptAllocArgs {
  readonly flags?: number | undefined;
  readonly devId: number;
  /** An IOAS, a paging HWPT that may be a parent, or a vIOMMU. */
  readonly ptId: number;
  readonly data?: DriverData | undefined;
  readonly faultId?: number | undefined;
}

/** Takes bits of a bitmap. */
export interface DirtyBits {
  /** Sets bits first to last. */
  set(first: number, last: number): void;
}

export interface DirtyBitmapArgs {
  readonly hwptId: number;
  readonly flags?: number | undefined;
  readonly iova: bigint;
  readonly length: bigint;
  readonly pageSize: bigint;
  /** Bits are only ever set; little-endian, relative to `iova`. */
  readonly bitmap: Uint8Array | DirtyBits;
}

export interface InvalidateArgs {
  /** A nested HWPT or a vIOMMU. */
  readonly hwptId: number;
  readonly dataType: number;
  /** `done` counts the entries completed, also when the call fails. */
  readonly entries: InvalidationEntries;
}

export interface DeviceInfo {
  readonly hardware: HardwareInfo;
  readonly maxPasidLog2: number;
  /** IOMMU_HW_CAP_*: dirty tracking 1, PASID execute 2, PASID privileged 4, no ATS 8. */
  readonly capabilities: bigint;
}

/** The report of a bound device. */
export interface BoundDeviceReport {
  readonly device: Bdf;
  readonly cookie: bigint | undefined;
  /** Everything that must use one address space with it, itself included. */
  readonly aliasSet: readonly Bdf[];
  readonly isolationGroup: readonly Bdf[];
  readonly mustShare: boolean;
  readonly mustShareBecause: readonly Evidence[];
  readonly pasid: {
    readonly ok: boolean;
    /** Not ok, and a policy may accept it: only ACS bits on the path are missing. */
    readonly onlyPath: boolean;
    readonly because: readonly Evidence[];
  };
  /** What the policy makes of a PASID attach. */
  readonly pasidPolicy: PasidPolicy;
  /** Attached with a policy that leaves peers reachable. */
  readonly exposed: readonly ExposedSlot[];
  /** Addresses that the space in the RID slot can map; undefined when blocked. */
  readonly permitted: readonly Span[] | undefined;
  /** Devices with the same number share one space of PASID numbers. */
  readonly pasidSpace: number;
}

export interface ExposedSlot {
  readonly pasid: Pasid | undefined;
  readonly policy: PasidPolicy;
  readonly windows: readonly Span[];
}

/** Which process a call comes from; the context's own when absent. */
export interface Caller {
  readonly process?: UserProcess | undefined;
}
