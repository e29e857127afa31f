/**
 * What the object layer asks of an IOMMU driver, and nothing of hardware.
 *
 * Vocabulary: a *granule* is the smallest page of a domain; addresses at this port are granule
 * numbers (exact Numbers; with 4 KiB granules an IOVA granule is an IovaPfn and an output granule a
 * page frame number). A *domain* is one translation: paging, nested, blocked. A *slot* is (device,
 * PASID or undefined); each slot has one domain at any time.
 *
 * Rules of the port: an operation that throws has changed nothing. After `sync` no cache holds an
 * entry that was unmapped before. Attaching switches a slot from its present domain straight to the
 * new one, so that nothing but the old, the new or the blocked table is ever live.
 */
import type { Bdf, Pasid, Span } from "../units/index.js";

/** Access that an entry permits; a bit mask. */
export const Prot = { read: 1, write: 2, cache: 4, mmio: 8 } as const;
export type Prot = number;

export interface DeviceCapabilities {
  /** DMA is coherent with caches; without it a user cannot own the device. */
  readonly cacheCoherent: boolean;
  /** No-snoop requests can be forced to snoop. */
  readonly enforcesCoherency: boolean;
  readonly dirtyTracking: boolean;
  /** PASIDs usable on the device, 2^width; 0 when none. */
  readonly maxPasids: number;
  readonly pasidExecute: boolean;
  readonly pasidPrivileged: boolean;
  readonly ats: boolean;
  readonly pageRequests: boolean;
  /** Interrupts are remapped, so that a device cannot forge others'. */
  readonly isolatedMsi: boolean;
}

export type ReservedKind = "direct" | "direct-relaxable" | "reserved" | "msi" | "sw-msi";

export interface ReservedSpan {
  readonly span: Span;
  readonly kind: ReservedKind;
}

interface DomainBase {
  /** The IOMMU instance it was made for; compared by identity. */
  readonly instance: IommuInstance;
}

/** Dirty bits of a paging domain. */
export interface DirtyOps {
  /** Switches tracking; enabling clears nothing by itself. */
  setTracking(enabled: boolean): void;
  /**
   * Calls `dirty(granule, count)` for each run of dirty entries in the granules given, and clears
   * them when `clear`.
   */
  scan(
    first: number,
    count: number,
    clear: boolean,
    dirty: (granule: number, count: number) => void,
  ): void;
}

export interface PagingDomain extends DomainBase {
  readonly kind: "paging";
  /** log2 of the granule in bytes, 0 to 12. */
  readonly granuleShift: number;
  /** Page sizes as a bit mask of bytes. */
  readonly pageSizes: bigint;
  /** Addresses that it can translate. */
  readonly aperture: Span;
  /** May be the parent of nested domains. */
  readonly nestParent: boolean;
  /** No-snoop requests are forced to snoop by every entry of this domain. */
  readonly enforcesCoherency: boolean;
  readonly dirty: DirtyOps | undefined;
  /** Granules from `iova` to `pa`, none of which is mapped. @throws UapiError ENOMEM. */
  map(iova: number, pa: number, count: number, prot: Prot): void;
  /**
   * Removes entries. A large page that is only partly inside is removed as a whole.
   * @returns granules removed, counted from `iova`.
   */
  unmap(iova: number, count: number): number;
  /**
   * Replaces a large page that reaches across the boundary below `iova` by smaller ones, so that
   * `unmap` may begin or stop there; what is mapped stays so. @throws UapiError ENOMEM.
   */
  split(iova: number): void;
  /** Waits until no cache holds what was unmapped. */
  sync(): void;
  /** Output granule, or undefined when not mapped. */
  translate(iova: number): number | undefined;
  /** Frees its tables. Attached nowhere. */
  free(): void;
}

/** A stage-1 table that a guest owns, on top of a paging parent. */
export interface NestedDomain extends DomainBase {
  readonly kind: "nested";
  readonly parent: PagingDomain;
  /** Undefined: the driver has no invalidation for it. */
  readonly invalidate: ((type: number, entries: InvalidationEntries) => void) | undefined;
  free(): void;
}

/** Nothing passes. */
export interface BlockedDomain extends DomainBase {
  readonly kind: "blocked";
}

export type Domain = PagingDomain | NestedDomain | BlockedDomain;

/**
 * An array of invalidation requests in the user's format.
 *
 * The driver takes entry after entry and counts up `done`; when it throws, the entries before have
 * taken effect.
 */
export interface InvalidationEntries {
  readonly entryBytes: number;
  readonly count: number;
  done: number;
  /**
   * Entry `i`; with `structBytes`, as a struct of that size: what an entry lacks is 0.
   * @throws UapiError EFAULT; E2BIG when an entry has more than the struct, and that is not 0.
   */
  entry(i: number, structBytes?: number): DataView;
}

/** Data in a format that only driver and user know. */
export interface DriverData {
  readonly type: number;
  /** Bytes, where looking at them may fault; absent: the length of `bytes`. */
  readonly byteLength?: number | undefined;
  /** @throws UapiError EFAULT. */
  readonly bytes: DataView;
}

/** Length of driver data, known without reading them. */
export function dataLength(data: DriverData): number {
  return data.byteLength ?? data.bytes.byteLength;
}

/** Memory of a driver that the user may map. */
export interface DriverRegion {
  /** A multiple of 4096. */
  readonly byteLength: number;
  /** Fills the fresh memory, which is 0. */
  fill(bytes: Uint8Array): void;
  /** Tells the offset by which the user maps it. */
  placed(offset: number): void;
}

export interface PagingFlags {
  readonly nestParent: boolean;
  readonly dirtyTracking: boolean;
  readonly pasid: boolean;
  /** Allocated by the user with flags or data, not for an address space automatically. */
  readonly userAllocated: boolean;
}

export interface HardwareInfo {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** One IOMMU, or several that share tables. */
export interface IommuInstance {
  readonly label: string;
}

/** A queue of commands that hardware reads from guest memory. */
export interface HardwareQueue {
  /** The queue that must outlive this one. */
  readonly dependsOn: HardwareQueue | undefined;
  free(): void;
}

/** A slice of an IOMMU for one virtual machine. */
export interface VirtualIommu {
  readonly type: number;
  /** Output of the driver's allocation data; undefined when the type has none. */
  readonly reply: DriverData | undefined;
  /** Memory that the user may map; absent: none. */
  readonly region?: DriverRegion | undefined;
  /** A nested domain through it. */
  allocNested(data: DriverData, flags: { readonly pasid: boolean }): NestedDomain;
  readonly invalidate: ((type: number, entries: InvalidationEntries) => void) | undefined;
  /** Types that `allocQueue` knows. */
  readonly queueTypes: readonly number[];
  /** Undefined: no hardware queues. @throws UapiError EINVAL, EEXIST, EIO. */
  readonly allocQueue:
    | ((type: number, index: number, frame: number, length: bigint) => HardwareQueue)
    | undefined;
  addDevice(device: Bdf, virtualId: bigint): void;
  removeDevice(device: Bdf, virtualId: bigint): void;
  free(): void;
}

/** One page that a device asks for. `perm`: 1 read, 2 write, 4 execute, 8 privileged. */
export interface PageFault {
  readonly perm: number;
  /** Of the page. */
  readonly address: bigint;
}

/** Page requests that a device sent together and that get one answer. PCIe 6 § 10.4. */
export interface PageRequestGroup {
  /** Page request group index, 9 bits. */
  readonly groupId: number;
  readonly faults: readonly PageFault[];
  /**
   * Tells the device: 0 success, 1 invalid request, 15 failure. Nothing happens the second time,
   * and after the slot has changed, for then the driver has answered "invalid".
   */
  respond(code: number): void;
}

/** A request that was refused. */
export interface DmaFault {
  /** Undefined when no known device has the requester ID. */
  readonly device: Bdf | undefined;
  readonly unit: string;
  readonly rid: number;
  readonly pasid: Pasid | undefined;
  readonly address: bigint;
  readonly write: boolean;
  /** The unit's own code, and its name in the words of the specification. */
  readonly code: number;
  readonly reason: string;
}

export interface IommuDriver {
  readonly name: string;
  /**
   * Takes page requests; absent: they are answered "invalid".
   * @returns false when nobody wants them: the driver answers "invalid".
   */
  onPageRequests?:
    | ((device: Bdf, pasid: Pasid | undefined, group: PageRequestGroup) => boolean)
    | undefined;
  onFault?: ((fault: DmaFault) => void) | undefined;
  /** Hands out what units have queued: page requests and faults. */
  poll?(): void;
  /** @throws UapiError ENODEV when the device has no IOMMU. */
  instanceOf(device: Bdf): IommuInstance;
  capabilities(device: Bdf): DeviceCapabilities;
  reservedSpans(device: Bdf): readonly ReservedSpan[];
  /** @throws UapiError EOPNOTSUPP for a type that is not known. 0 = the default type. */
  hardwareInfo(device: Bdf, type: number): HardwareInfo;
  /** @throws UapiError EOPNOTSUPP, ENOMEM, or what the data deserve. */
  allocPaging(device: Bdf, flags: PagingFlags, data: DriverData | undefined): PagingDomain;
  /** @throws UapiError EOPNOTSUPP when the driver cannot nest. */
  allocNested(
    device: Bdf,
    parent: PagingDomain,
    data: DriverData,
    flags: { readonly pasid: boolean },
  ): NestedDomain;
  blocked(device: Bdf): BlockedDomain;
  /** Types that `allocVirtualIommu` knows for the device. Absent: none. */
  virtualIommuTypes?(device: Bdf): readonly number[];
  /** @throws UapiError EOPNOTSUPP when the type is not known. */
  allocVirtualIommu(
    device: Bdf,
    parent: PagingDomain,
    type: number,
    data: DriverData | undefined,
  ): VirtualIommu;
  /**
   * Puts `domain` into the slot in place of what is there.
   * @throws UapiError EINVAL when the device cannot use the domain, EOPNOTSUPP without PASIDs,
   * ENOMEM.
   */
  attach(device: Bdf, pasid: Pasid | undefined, domain: Domain): void;
  /** What is in the slot; undefined in a slot with the kernel's default domain. */
  attached(device: Bdf, pasid: Pasid | undefined): Domain | undefined;
  /** RID slot to the kernel's default domain. Never fails. */
  attachDefault(device: Bdf): void;
  /** Empties a PASID slot: it blocks. Never fails. */
  detachPasid(device: Bdf, pasid: Pasid): void;
}
