/** What is known of a host besides its functions: kernel, command line, firmware tables. Types only. */
import type { Bdf, Span } from "../units/index.js";

export type Architecture = "x86" | "arm64" | "riscv64" | "other";

export interface HostFacts {
  /** Release as `uname -r` prints it. */
  readonly kernel?: string | undefined;
  readonly architecture?: Architecture | undefined;
  readonly commandLine?: string | undefined;
  readonly firmware?: "acpi" | "device-tree" | undefined;
  /** The kernel said that it uses an IOMMU, or that it uses none; undefined when nothing says so. */
  readonly iommuInUse?: boolean | undefined;
  /** False: the IOMMU in use cannot match requester IDs, so all its devices look alike to it. */
  readonly requesterMatching?: boolean | undefined;
  readonly dmar?: DmarTable | undefined;
  readonly ivrs?: IvrsTable | undefined;
  readonly iort?: IortTable | undefined;
  readonly viot?: ViotTable | undefined;
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
}

export interface DmarUnit {
  readonly segment: number;
  readonly includeAll: boolean;
  readonly registerBase: bigint;
  readonly scopes: readonly DeviceScope[];
  /** Capability and extended capability registers when a log shows them (`dmar0: … cap … ecap …`). */
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
  /** Extended feature register image when the table has it. */
  readonly efr?: bigint | undefined;
  /** The unit's attributes rule out host page tables (HATDis); undefined when the table does not say. */
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
}

export interface IortRootComplex {
  readonly segment: number;
  readonly ats: boolean;
  readonly pasidBits: number;
  /** Requester IDs mapped to an SMMU. */
  readonly mappings: readonly {
    readonly firstRid: number;
    readonly lastRid: number;
    readonly to: "smmu" | "smmuv3" | "its" | "other";
    /** All requester IDs map to the one output id. */
    readonly single: boolean;
    readonly outputBase: number;
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
}
