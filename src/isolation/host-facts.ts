/**
 * What is known of a host besides its functions: kernel, command line, firmware tables. Types only.
 */
import type { Bdf, Span } from "../units/index.js";

export type Architecture = "x86" | "arm64" | "riscv64" | "other";

export interface HostFacts {
  /** Release as `uname -r` prints it. */
  readonly kernel?: string | undefined;
  readonly architecture?: Architecture | undefined;
  readonly commandLine?: string | undefined;
  readonly firmware?: "acpi" | "device-tree" | undefined;
  /**
   * The kernel said that it uses an IOMMU, or that it uses none; undefined when nothing says so.
   */
  readonly iommuInUse?: boolean | undefined;
  /** False: the IOMMU in use cannot match requester IDs, so all its devices look alike to it. */
  readonly requesterMatching?: boolean | undefined;
  /**
   * What it means that functions of a multi-function device have no ACS capability: they may route
   * between each other (`shares`, the default, as Linux takes it), or do no peer-to-peer at all
   * (`isolates`: PCIe 6 § 6.12.1.2 asks for ACS only of functions that do). A person's decision, as
   * nothing in the device tells.
   */
  readonly absentAcs?: "shares" | "isolates" | undefined;
  readonly dmar?: DmarTable | undefined;
  readonly ivrs?: IvrsTable | undefined;
  readonly iort?: IortTable | undefined;
  readonly viot?: ViotTable | undefined;
  /**
   * ACPI table signatures that the capture shows to exist, whether or not it has their contents.
   */
  readonly acpiTables?: AcpiTableList | undefined;
  /**
   * IOMMU units as a log or /sys/class/iommu shows them; absent when nothing tells, empty = none
   * active.
   */
  readonly iommus?: readonly SeenIommu[] | undefined;
  /** RMRR ranges that a log lists; which devices they belong to only the table tells. */
  readonly loggedReserved?: readonly Span[] | undefined;
  /** Domains whose devices send as one function (Intel VMD), when the capture pairs them. */
  readonly childDomains?: readonly ChildDomain[] | undefined;
}

export interface AcpiTableList {
  readonly present: readonly string[];
  /** The list is complete: a signature that is not in it does not exist on the host. */
  readonly complete: boolean;
}

/** One IOMMU unit as the running kernel names it. */
export interface SeenIommu {
  readonly kind: "vt-d" | "amd-vi" | "smmu" | "smmuv3" | "virtio" | "riscv" | "other";
  /** `dmar0`, `ivhd0`, `smmu3.0x…`. */
  readonly name?: string | undefined;
  /** The unit's own PCI function (AMD-Vi, virtio). */
  readonly at?: Bdf | undefined;
  readonly registerBase?: bigint | undefined;
  /** VT-d: the unit takes every device of its segment that no other unit names. */
  readonly includeAll?: boolean | undefined;
  /** VT-d capability and extended capability registers; VT-d 5.0 § 11.4.2, § 11.4.3. */
  readonly cap?: bigint | undefined;
  readonly ecap?: bigint | undefined;
  /** AMD-Vi extended feature registers; AMD I/O Virtualization 3.10 § 3.4.11. */
  readonly efr?: bigint | undefined;
  readonly efr2?: bigint | undefined;
  /** Devices that the running kernel attached to this unit. */
  readonly devices?: readonly Bdf[] | undefined;
}

export interface ChildDomain {
  readonly segment: number;
  readonly owner: Bdf;
}

/** A path from a bus through bridges: bus, then device and function of each hop. */
export interface DeviceScope {
  readonly kind: "endpoint" | "sub-hierarchy" | "ioapic" | "hpet" | "namespace";
  readonly bus: number;
  readonly path: readonly { readonly device: number; readonly fn: number }[];
}

/** DMA Remapping table; VT-d 5.0 § 8. */
export interface DmarTable {
  readonly addressWidth: number;
  readonly interruptRemapping: boolean;
  readonly platformOptIn: boolean;
  readonly units: readonly DmarUnit[];
  readonly reserved: readonly RmrrRegion[];
  readonly ats: readonly AtsrScope[];
  /** Root-complex integrated devices with ATS (SATC), § 8.8. */
  readonly integratedAts?: readonly AtsrScope[] | undefined;
  /** Names of ACPI devices (ANDD), § 8.7. */
  readonly namespaceDevices?: readonly { readonly id: number; readonly name: string }[] | undefined;
}

export interface DmarUnit {
  readonly segment: number;
  readonly includeAll: boolean;
  readonly registerBase: bigint;
  readonly scopes: readonly DeviceScope[];
  /**
   * Capability and extended capability registers when a log shows them (`dmar0: … cap … ecap …`).
   */
  readonly cap?: bigint | undefined;
  readonly ecap?: bigint | undefined;
}

export interface RmrrRegion {
  readonly segment: number;
  readonly span: Span;
  readonly scopes: readonly DeviceScope[];
}

export interface AtsrScope {
  readonly segment: number;
  readonly allPorts: boolean;
  readonly scopes: readonly DeviceScope[];
}

/** I/O Virtualization Reporting Structure; AMD I/O Virtualization 3.10 § 5. */
export interface IvrsTable {
  readonly units: readonly IvrsUnit[];
  readonly memory: readonly IvmdRegion[];
}

export interface IvrsUnit {
  readonly segment: number;
  /** The IOMMU's own function. */
  readonly iommu: Bdf;
  readonly base: bigint;
  /** Requester IDs covered, as first..last. */
  readonly covered: readonly { readonly first: number; readonly last: number }[];
  /** Requester IDs that appear under another one. */
  readonly aliases: readonly {
    readonly first: number;
    readonly last: number;
    readonly alias: number;
  }[];
  /** Extended feature register images when the table has them. */
  readonly efr?: bigint | undefined;
  readonly efr2?: bigint | undefined;
  /**
   * The unit's attributes rule out host page tables (HATDis); undefined when the table does not
   * say.
   */
  readonly hostTablesDisabled?: boolean | undefined;
}

export interface IvmdRegion {
  readonly segment: number;
  readonly kind: "all" | "one" | "range";
  readonly first: number;
  readonly last: number;
  readonly span: Span;
  /** Exclusion ranges and unity maps; AMD § 5.2.3. */
  readonly unity: boolean;
  readonly exclusion: boolean;
}

/** I/O Remapping Table; Arm DEN0049. */
export interface IortTable {
  readonly rootComplexes: readonly IortRootComplex[];
  /** Reserved memory ranges (RMR nodes), by the stream IDs they are for; DEN0049E § 3.1.1.5. */
  readonly reserved?: readonly IortReserved[] | undefined;
}

export interface IortReserved {
  readonly spans: readonly Span[];
  readonly streams: readonly {
    readonly first: number;
    readonly last: number;
    /** Offset of the SMMU node in the table. */
    readonly smmu: number;
  }[];
}

export interface IortRootComplex {
  readonly segment: number;
  readonly ats: boolean;
  readonly pasidBits: number;
  readonly pri?: boolean | undefined;
  /** Requester IDs mapped to an SMMU. */
  readonly mappings: readonly {
    readonly firstRid: number;
    readonly lastRid: number;
    readonly to: "smmu" | "smmuv3" | "its" | "other";
    /** All requester IDs map to the one output id. */
    readonly single: boolean;
    readonly outputBase: number;
    /** Offset of the target node in the table. */
    readonly target?: number | undefined;
  }[];
}

/** Virtual I/O Translation table; ACPI 6.5 § 5.2.38. */
export interface ViotTable {
  readonly ranges: readonly {
    readonly firstSegment: number;
    readonly lastSegment: number;
    readonly firstBdf: number;
    readonly lastBdf: number;
  }[];
  /** The virtio-iommu functions themselves. */
  readonly iommus: readonly Bdf[];
  /** There are virtio-iommu units that are no PCI functions. */
  readonly hasMmioUnit?: boolean | undefined;
}
