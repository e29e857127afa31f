/** The payload of `ioasis groups`, contract `ioasis/groups/1`. */
import type { RecordedGroups } from "../host/index.js";
import { type Analysis, type Partition, separationEvidence } from "../isolation/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { type Agreement, compareGroups } from "./compare.js";
import { type EvidenceJson, evidenceJson } from "./evidence-json.js";
import { RESERVATIONS } from "./explain-view.js";

export interface GroupJson {
  readonly id: number;
  readonly devices: readonly string[];
}

export interface GroupsPayload {
  readonly schema: "ioasis/groups/1";
  readonly rules: string;
  readonly groups: readonly GroupJson[];
  readonly ungrouped: readonly { readonly device: string; readonly because: EvidenceJson[] }[];
  readonly recorded: readonly GroupJson[] | null;
  readonly agreement: {
    readonly compared: number;
    readonly same: number;
    readonly different: readonly {
      readonly computed: readonly string[];
      readonly recorded: readonly string[];
      readonly because: readonly EvidenceJson[];
    }[];
  } | null;
  readonly edges: { readonly certain: number; readonly implementationDefined: number };
  readonly unknown: readonly { readonly device: string; readonly missing: readonly string[] }[];
}

/** Comparison of the analysis' partition with what the kernel recorded; null without a record. */
export function agreementOf(
  analysis: Analysis,
  partition: Partition,
  recorded: RecordedGroups | null,
): Agreement | null {
  if (recorded === null) return null;
  return compareGroups(partition, recorded, (a, b) =>
    separationEvidence(analysis, a, b).filter((e) => !RESERVATIONS.has(e.kind)),
  );
}

/** `ioasis/groups/1`. */
export function groupsPayload(
  analysis: Analysis,
  recorded: RecordedGroups | null,
  agreement: Agreement | null,
): GroupsPayload {
  const { partition } = analysis;
  return {
    schema: "ioasis/groups/1",
    rules: partition.rules,
    groups: partition.groups.map((devices, id) => ({ id, devices: devices.map(formatBdf) })),
    ungrouped: partition.ungrouped.map((u) => ({
      device: formatBdf(u.device),
      because: u.because.map(evidenceJson),
    })),
    recorded:
      recorded === null ? null : recorded.groups.map(recordedJson).sort((a, b) => a.id - b.id),
    agreement:
      agreement === null
        ? null
        : {
            compared: agreement.compared,
            same: agreement.same,
            different: agreement.different.map((d) => ({
              computed: d.computed.map(formatBdf),
              recorded: d.recorded.map(formatBdf),
              because: d.because.map(evidenceJson),
            })),
          },
    edges: analysis.p2p.edges,
    unknown: analysis.unknown
      .map((u) => ({
        device: formatBdf(u.device),
        missing: u.missing.filter((fact) => fact !== "scope"),
      }))
      .filter((u) => u.missing.length > 0),
  };
}

function recordedJson(group: { readonly id: number; readonly devices: readonly Bdf[] }): GroupJson {
  return { id: group.id, devices: [...group.devices].sort((a, b) => a - b).map(formatBdf) };
}
