/**
 * Capture: all that was observed of one host, whatever files it came in.
 *
 * Parsers each make a {@link CapturePart} from one file; `merge.ts` makes one Capture of them.
 * Nothing here computes groups, and recorded groups never reach the calculation: they are kept
 * apart for comparison.
 */
import type { HostFacts, RuleSet } from "../isolation/index.js";
import type { FunctionDescription } from "../pcie/index.js";
import type { Bdf, InputPlace, Span } from "../units/index.js";

export type PartKind =
  | "lspci-text"
  | "lspci-hex"
  | "lspci-tree"
  | "dmesg"
  | "group-list"
  | "dmar"
  | "ivrs"
  | "iort"
  | "viot"
  | "sysfs"
  | "device-list"
  | "command-line"
  | "kernel-release"
  | "ioasis-capture"
  | "platform"
  | "pci-ids"
  | "other";

export interface CapturedFunction extends FunctionDescription {
  readonly place: InputPlace;
  /** Whether ids are numeric, found by name, or open because a name fits several ids. */
  readonly idsFrom: "numeric" | "hex" | "name" | "ambiguous-name" | "none";
  /** Bits of `config.bytes` that decoded text states, one byte per byte; absent for a dump. */
  readonly decided?: Uint8Array | undefined;
  /** Interrupts, resets, links … kept as shown, for display only. */
  readonly shown?: Readonly<Record<string, string>> | undefined;
}

export interface RecordedGroup {
  /** The kernel's number. Compare memberships, never numbers. */
  readonly id: number;
  readonly devices: readonly Bdf[];
  /** Default domain type: `DMA`, `DMA-FQ`, `identity` … */
  readonly type?: string | undefined;
  /** Address ranges that the kernel keeps out of the group's address spaces. For display. */
  readonly reserved?: readonly ReservedRegion[] | undefined;
}

export interface ReservedRegion {
  readonly span: Span;
  /** `direct`, `direct-relaxable`, `reserved`, `msi`. */
  readonly kind: string;
}

/** Recorded groups of one source; a capture may hold several that disagree. */
export interface RecordedGroups {
  readonly from: "lspci" | "group-list" | "sysfs" | "dmesg" | "ioasis-capture";
  readonly place: InputPlace;
  readonly groups: readonly RecordedGroup[];
}

/** A fact of `lspci -t` or a sysfs path: this bus hangs under that bridge, or is a root bus. */
export interface TreeFact {
  readonly segment: number;
  readonly bus: number;
  /** The bridge above; null for a root bus. */
  readonly bridge: Bdf | null;
}

export interface Note {
  readonly severity: "conflict" | "warning" | "info";
  readonly text: string;
  readonly place?: InputPlace | undefined;
}

export interface CapturePart {
  readonly kind: PartKind;
  readonly place: InputPlace;
  readonly functions?: readonly CapturedFunction[] | undefined;
  readonly recorded?: RecordedGroups | undefined;
  readonly tree?: readonly TreeFact[] | undefined;
  readonly facts?: HostFacts | undefined;
  /** The rule set that a platform file asks for. */
  readonly rules?: RuleSet | undefined;
  readonly notes?: readonly Note[] | undefined;
  /** The file holds observations that exclude each other (two listings of groups that differ). */
  readonly contradictsItself?: boolean | undefined;
  /**
   * What the kernel keeps reserved, by group number; joined to recorded groups of the same host.
   */
  readonly groupDetails?: readonly Omit<RecordedGroup, "devices">[] | undefined;
}

export interface Capture {
  readonly parts: readonly { readonly kind: PartKind; readonly place: InputPlace }[];
  readonly functions: readonly CapturedFunction[];
  readonly facts: HostFacts;
  /** The rule set that a platform file asks for; a choice of the user goes before it. */
  readonly rules?: RuleSet | undefined;
  /** The groups the kernel made; null when no source has them. */
  readonly recorded: RecordedGroups | null;
  readonly notes: readonly Note[];
}
