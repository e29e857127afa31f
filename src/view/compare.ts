/**
 * Computed groups against the groups a kernel made: memberships, never numbers.
 *
 * Only devices that have both a computed and a recorded place are compared; both partitions are cut
 * down to them first, so a listing of half a host can still agree.
 */

import type { RecordedGroups } from "../host/index.js";
import { distinctEvidence, type Evidence, joinPath, type Partition } from "../isolation/index.js";
import type { Bdf } from "../units/index.js";

export interface Difference {
  readonly computed: readonly Bdf[];
  readonly recorded: readonly Bdf[];
  readonly because: readonly Evidence[];
}

export interface Agreement {
  /** Devices compared. */
  readonly compared: number;
  /** Of them, devices whose computed group equals their recorded one. */
  readonly same: number;
  readonly different: readonly Difference[];
}

/**
 * Gives the reasons a device stands alone, for groups that the rules make smaller than the record.
 */
export type SeparationEvidence = (a: Bdf, b: Bdf) => readonly Evidence[];

/**
 * Compares memberships, never numbers: a device counts as the same when its two groups, cut down to
 * the devices that both sides know, have the same members.
 */
export function compareGroups(
  partition: Partition,
  recorded: RecordedGroups,
  separation: SeparationEvidence,
): Agreement {
  const recordedOf = new Map<Bdf, number>();
  recorded.groups.forEach((group, index) => {
    for (const device of group.devices) recordedOf.set(device, index);
  });
  const ungrouped = new Map(partition.ungrouped.map((u) => [u.device, u.because]));
  const both = (device: Bdf): boolean =>
    recordedOf.has(device) && (partition.groupOf.has(device) || ungrouped.has(device));
  const recordedCut = recorded.groups.map((g) => sortBdfs(g.devices.filter(both)));
  const computedCut = partition.groups.map((g) => g.filter((device) => recordedOf.has(device)));
  let compared = 0;
  let same = 0;
  const different = new Map<string, Difference>();
  for (const [device, index] of recordedOf) {
    if (!both(device)) continue;
    compared++;
    const wanted = recordedCut[index] ?? [];
    const id = partition.groupOf.get(device);
    const got = id === undefined ? [] : (computedCut[id] ?? []);
    if (sameMembers(got, wanted)) same++;
    else {
      const because = ungrouped.get(device) ?? whyDifferent(partition, got, wanted, separation);
      different.set(`${got.join()}|${wanted.join()}`, { computed: got, recorded: wanted, because });
    }
  }
  return { compared, same, different: [...different.values()].sort(byFirstMember) };
}

/** A pair that one side joins and the other does not shows the reason. */
function whyDifferent(
  partition: Partition,
  computed: readonly Bdf[],
  recorded: readonly Bdf[],
  separation: SeparationEvidence,
): Evidence[] {
  const extra = computed.find((device) => !recorded.includes(device));
  const kept = computed.find((device) => recorded.includes(device));
  if (extra !== undefined && kept !== undefined) {
    return distinctEvidence((joinPath(partition, kept, extra) ?? []).flatMap((j) => j.because));
  }
  const missing = recorded.find((device) => !computed.includes(device));
  return kept === undefined || missing === undefined ? [] : [...separation(kept, missing)];
}

function sameMembers(a: readonly Bdf[], b: readonly Bdf[]): boolean {
  return a.length === b.length && a.every((device, i) => device === b[i]);
}

function sortBdfs(list: readonly Bdf[]): Bdf[] {
  return [...list].sort((a, b) => a - b);
}

function byFirstMember(a: Difference, b: Difference): number {
  return (a.computed[0] ?? a.recorded[0] ?? 0) - (b.computed[0] ?? b.recorded[0] ?? 0);
}
