/**
 * Plan: a tree of functions before they have bus numbers and addresses.
 *
 * Platform descriptions and generators of test topologies make plans; `layout.ts` numbers them.
 * Everywhere in a plan `undefined` leaves the choice to the layout, `null` says "not assigned".
 */
import type { BarKind, FunctionSpec } from "../pcie/index.js";
import type { Span } from "../units/index.js";
import type { InputPath } from "./line-map.js";

export interface PlannedBar {
  /** 0 to 5; for an SR-IOV PF's VF BARs counted in their own block. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable?: boolean | undefined;
  /** Bytes, a power of two, at least 16 (memory) or 4 (I/O). VF BARs: of one VF. */
  readonly size: bigint;
  readonly base?: bigint | null | undefined;
}

export interface PlannedWindows {
  readonly io?: Span | null | undefined;
  readonly memory?: Span | null | undefined;
  readonly prefetchable?: Span | null | undefined;
}

/**
 * What the VFs of a PF are like; numbers as in SR-IOV's registers.
 */
export interface PlannedSrIov {
  readonly total: number;
  readonly enabled: number;
  readonly offset: number;
  readonly stride: number;
  readonly vfDevice?: number | undefined;
  readonly vfBars?: readonly PlannedBar[] | undefined;
  /** Facts every VF has: ACS, ATS, PASID, driver … */
  readonly vf?: Omit<FunctionSpec, "bdf" | "bars" | "physfn" | "sriov"> | undefined;
  /** Every VF has a DMA test engine. */
  readonly vfEngine?: boolean | undefined;
}

/** A device that the driver of another one makes: a slice of it, or software. */
export interface PlannedMediated {
  readonly name: string;
  readonly kind: "hardware" | "software";
  readonly pasid?: number | undefined;
}

type Numbered =
  | "bdf"
  | "bars"
  | "buses"
  | "ioWindow"
  | "memoryWindow"
  | "prefetchableWindow"
  | "physfn"
  | "sriov";

export interface PlannedFunction extends Omit<FunctionSpec, Numbered> {
  /** Device and function on its bus, 8 bits. */
  readonly devFn: number;
  readonly bars?: readonly PlannedBar[] | undefined;
  readonly windows?: PlannedWindows | undefined;
  readonly sriov?: PlannedSrIov | undefined;
  /** It has a DMA test engine. */
  readonly engine?: boolean | undefined;
  readonly mediated?: readonly PlannedMediated[] | undefined;
  /** A bridge's secondary bus number, and the least subordinate number. */
  readonly secondary?: number | undefined;
  readonly subordinate?: number | undefined;
  /** Functions on the bus below. Present, even if empty, exactly for bridges. */
  readonly below?: readonly PlannedFunction[] | undefined;
  /** What other parts of a user's file call it. */
  readonly handle?: string | undefined;
  /** Where in a user's file it stands. */
  readonly origin?: InputPath | undefined;
}

export interface PlannedRoot {
  readonly segment: number;
  /** Bus number; automatic: the next free one of the segment. */
  readonly bus?: number | undefined;
  /** Handle of the VMD function whose domain this is. */
  readonly vmd?: string | undefined;
  readonly functions: readonly PlannedFunction[];
  readonly origin?: InputPath | undefined;
}
