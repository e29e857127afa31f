/**
 * Which recorded groups count when several sources have them.
 *
 * lspci's own lines come from the moment of the capture, sysfs from the same files, a list may be
 * older, and a log tells of boot time only. A later source in this order is taken instead of an
 * earlier one when it agrees with it and covers more devices; a log never is.
 */
import { type Bdf, formatBdf } from "../units/index.js";
import type { CapturePart, Note, RecordedGroup, RecordedGroups } from "./capture.js";
import { groupsFrom } from "./parse/groups-list.js";

const ORDER: readonly RecordedGroups["from"][] = [
  "ioasis-capture",
  "lspci",
  "sysfs",
  "group-list",
  "dmesg",
];

export function chooseRecorded(
  parts: readonly CapturePart[],
  notes: Note[],
): RecordedGroups | null {
  const sources = ORDER.flatMap((from) => joined(parts, from));
  const [first, ...rest] = sources;
  if (first === undefined) return null;
  let chosen = first;
  for (const other of rest) {
    const differing = firstDifference(chosen.groups, other.groups);
    if (differing === undefined) {
      const more = count(other) > count(chosen) && other.from !== "dmesg";
      if (more && chosen.groups.length > 0) chosen = other;
      continue;
    }
    const [a, b] = [name(other), name(chosen)];
    const text = `${a} groups ${formatBdf(differing)} differently from ${b}; ${b} counts`;
    notes.push({ severity: "conflict", text, place: other.place });
  }
  return withDetails(chosen, parts);
}

const name = (r: RecordedGroups): string => `${r.from} (${r.place.file})`;

const count = (r: RecordedGroups): number => r.groups.reduce((sum, g) => sum + g.devices.length, 0);

/** All groups of one kind of source; files of one kind agree, or the merge was refused. */
function joined(parts: readonly CapturePart[], from: RecordedGroups["from"]): RecordedGroups[] {
  const list = parts.flatMap((p) => (p.recorded?.from === from ? [p.recorded] : []));
  const [first, ...rest] = [...list].sort((a, b) => count(b) - count(a));
  if (first === undefined) return [];
  if (rest.length === 0 || first.groups.length === 0) return [first];
  // The largest list numbers the groups; another may add devices to groups that both know.
  const idOf = new Map<Bdf, number>();
  for (const g of first.groups) for (const d of g.devices) idOf.set(d, g.id);
  const used = new Set(first.groups.map((g) => g.id));
  let next = first.groups.reduce((top, g) => Math.max(top, g.id), -1) + 1;
  for (const other of rest) {
    for (const g of other.groups) {
      const shared = g.devices.map((d) => idOf.get(d)).find((id) => id !== undefined);
      const id = shared ?? (used.has(g.id) ? next++ : g.id);
      used.add(id);
      next = Math.max(next, id + 1);
      for (const d of g.devices) if (!idOf.has(d)) idOf.set(d, id);
    }
  }
  const details = new Map(first.groups.map((g) => [g.id, g]));
  const groups = groupsFrom([...idOf].map(([d, id]) => [id, d] as const));
  return [{ ...first, groups: groups.map((g) => ({ ...details.get(g.id), ...g })) }];
}

/** Equal on the devices that both have, whatever the numbers are. */
export function samePartition(a: readonly RecordedGroup[], b: readonly RecordedGroup[]): boolean {
  return firstDifference(a, b) === undefined;
}

/** A device of both whose company differs. An empty list differs from one that has groups. */
function firstDifference(
  a: readonly RecordedGroup[],
  b: readonly RecordedGroup[],
): Bdf | undefined {
  if ((a.length === 0) !== (b.length === 0)) return (a[0] ?? b[0])?.devices[0];
  const idInA = new Map<Bdf, number>();
  for (const g of a) for (const d of g.devices) idInA.set(d, g.id);
  const there = new Map<number, number>();
  for (const g of b) {
    let back: number | undefined;
    for (const d of g.devices) {
      const x = idInA.get(d);
      if (x === undefined) continue;
      back ??= x;
      if (back !== x || (there.get(x) ?? g.id) !== g.id) return d;
      there.set(x, g.id);
    }
  }
  return undefined;
}

function withDetails(chosen: RecordedGroups, parts: readonly CapturePart[]): RecordedGroups {
  const details = new Map<number, Omit<RecordedGroup, "devices">>();
  for (const part of parts) for (const d of part.groupDetails ?? []) details.set(d.id, d);
  if (details.size === 0) return chosen;
  return { ...chosen, groups: chosen.groups.map((g) => ({ ...details.get(g.id), ...g })) };
}
