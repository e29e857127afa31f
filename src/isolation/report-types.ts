/**
 * Shape of what is said about one device, and of a whole analysis. `analyse` makes them; `view/`
 * draws them.
 *
 * Every answer carries the evidence for it. Values are `true`, `false` or `null` = the capture
 * cannot tell.
 */
import type { Fabric, FunctionIds, PciFunction, Route } from "../pcie/index.js";
import type { Bdf, Rid, Span } from "../units/index.js";
import type { Evidence, MissingFact } from "./evidence.js";
import type { HostFacts } from "./host-facts.js";
import type { LinuxGrouping } from "./linux-groups.js";
import type { Certainty, P2pGraph, TurnKind } from "./p2p-graph-types.js";
import type { Join, LinuxRuleSet, Partition, RuleSet } from "./partition.js";

/** One requester ID under which requests of a function may arrive at the translation agent. */
export interface RequesterId {
  /** The segment matters where a function sends from another one (VMD). */
  readonly segment: number;
  readonly rid: Rid;
  /** Why beyond its own number; undefined for the function's own. */
  readonly because: Evidence | undefined;
}

/** Every requester ID of one function, its own first, without duplicates. */
export interface RequesterIdSet {
  readonly device: Bdf;
  readonly ids: readonly RequesterId[];
  /** More may exist, but the capture cannot show them. */
  readonly unknown: readonly Evidence[];
}

/**
 * Functions that the IOMMU cannot tell apart. A partition of all functions; most sets have one
 * member.
 */
export interface AliasSets {
  /** Each sorted by address; ordered by lowest member. The index is the set's number. */
  readonly sets: readonly (readonly Bdf[])[];
  readonly setOf: ReadonlyMap<Bdf, number>;
  /** A spanning forest: n - 1 joins for a set of n. */
  readonly joins: readonly Join[];
}

/** A device-centric group that is larger than the Linux group of its members. */
export interface Enlargement {
  /** The device-centric group. */
  readonly group: number;
  /** Ids of the linux-7.2 groups that it merges, ascending, at least two. */
  readonly linuxGroups: readonly number[];
  /** The joins that Linux does not make, one fewer than the parts they merge. */
  readonly joins: readonly Join[];
  /** The evidence of those joins that names an edge or an alias. */
  readonly because: readonly Evidence[];
}

/**
 * A request of one function to an address of another, and its route: it never meets the translation
 * agent.
 */
export interface TransactionProof {
  readonly from: PciFunction;
  readonly to: PciFunction;
  readonly address: bigint;
  readonly route: Route;
}

/** A transaction that shows a join. */
export interface EdgeProof extends TransactionProof {
  readonly join: Join;
}

export interface MustShare {
  /** True when `with` has a member. */
  readonly value: boolean;
  /** Other functions of the alias set that can be given an address space: bridges are left out. */
  readonly with: readonly Bdf[];
  readonly because: readonly Evidence[];
}

export interface Eligibility {
  /** Every condition that is known holds / one fails / one is not known and none fails. */
  readonly ok: boolean | null;
  /**
   * PASID bits that can be used, 1 to 20; PASID and SVA only, absent when not known or not
   * eligible.
   */
  readonly width?: number | undefined;
  /** Every failed condition and where; then what is not known; when ok, what makes it so. */
  readonly because: readonly Evidence[];
}

/**
 * Whether the group can be given to a user: no function of it is bound to a kernel driver that does
 * DMA, and firmware holds no memory of it that the kernel must keep mapped.
 */
export interface Viability {
  readonly ok: boolean | null;
  /** Functions of the group whose kernel driver does DMA. */
  readonly blockedBy: readonly { readonly device: Bdf; readonly driver: string }[];
  readonly because: readonly Evidence[];
}

export type ReservedKind = "rmrr" | "unity-map" | "exclusion";

export interface ReservedRegion {
  readonly span: Span;
  readonly kind: ReservedKind;
  /** The kernel lets go of it when a user takes the device (USB and display functions). */
  readonly relaxable: boolean;
  readonly cite: string;
}

export interface Reserved {
  readonly regions: readonly ReservedRegion[];
  /** The kernel refuses to give the device to a user; null when no firmware table was captured. */
  readonly refused: boolean | null;
  readonly because: readonly Evidence[];
}

export interface Exposure {
  /** The device is a port that leads outside the case; undefined when nothing says so. */
  readonly externalFacing: boolean | undefined;
  /** Reached from outside: the kernel does not trust it. */
  readonly untrusted: boolean | undefined;
  readonly because: readonly Evidence[];
}

/** A peer that a request of the device reaches without being translated. */
export interface Reach {
  readonly device: Bdf;
  readonly via: TurnKind;
  readonly certainty: Certainty;
  readonly windows: readonly Span[];
  /** Some window is unassigned or not known. */
  readonly unknown: boolean;
}

/**
 * Everything about one function. `reaches`, `mustShare.with` and `viability` are computed when
 * read.
 */
export interface DeviceReport {
  readonly device: Bdf;
  readonly ids: FunctionIds;
  readonly name: string | undefined;
  readonly slot: string | undefined;
  readonly label: string | undefined;
  /** Bound kernel driver; null = known to have none. */
  readonly driver: string | null | undefined;
  readonly requesterIds: RequesterIdSet;
  readonly aliasSet: number;
  /** Group in the analysis' partition; undefined when it has none. */
  readonly group: number | undefined;
  /** Device-centric group; undefined when it has none. */
  readonly isolationGroup: number | undefined;
  readonly mustShare: MustShare;
  readonly viability: Viability;
  readonly pasid: Eligibility;
  readonly ats: Eligibility;
  readonly pri: Eligibility;
  readonly sva: Eligibility;
  readonly reaches: readonly Reach[];
  readonly reserved: Reserved;
  readonly exposure: Exposure;
  readonly missing: readonly MissingFact[];
}

export interface Unknown {
  readonly device: Bdf;
  readonly missing: readonly MissingFact[];
}

export interface AnalysisOptions {
  /** Default linux-7.2. */
  readonly rules?: RuleSet | undefined;
  /** Device-centric groups count implementation-defined edges too. */
  readonly strict?: boolean | undefined;
}

/** One host under one rule set. Parts are computed when first read and kept. */
export interface Analysis {
  readonly fabric: Fabric;
  readonly facts: HostFacts;
  readonly rules: RuleSet;
  readonly strict: boolean;
  /**
   * The Linux rules that answer questions about the kernel: `rules`, or linux-7.2 for
   * device-centric.
   */
  readonly linuxRules: LinuxRuleSet;
  /** Groups, verdicts and scope under `linuxRules`. */
  readonly linux: LinuxGrouping;
  /** The groups asked for. */
  readonly partition: Partition;
  readonly deviceCentric: Partition;
  /** Device-centric groups larger than their linux-7.2 groups. */
  readonly enlargements: readonly Enlargement[];
  /** By device-centric group: functions without a group that are wired to it all the same. */
  readonly outsiders: ReadonlyMap<number, readonly Bdf[]>;
  readonly aliasSets: AliasSets;
  readonly p2p: P2pGraph;
  /** What the capture does not show, by device; sorted. */
  readonly unknown: readonly Unknown[];
  /** Groups of any rule set; kept. */
  partitionUnder(rules: RuleSet): Partition;
  linuxUnder(rules: LinuxRuleSet): LinuxGrouping;
  requesterIds(device: Bdf): RequesterIdSet | undefined;
  /**
   * A transaction that shows a join of the device-centric groups; undefined where none can be
   * shown.
   */
  proofOf(join: Join): EdgeProof | undefined;
  /** The same between two functions, when a certain path leads from one to the other. */
  proofBetween(from: Bdf, to: Bdf): TransactionProof | undefined;
  /** Undefined for a function that is not in the fabric. */
  deviceReport(device: Bdf): DeviceReport | undefined;
  /** In the fabric's order. */
  deviceReports(): Iterable<DeviceReport>;
}
