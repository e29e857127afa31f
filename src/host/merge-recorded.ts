/**
 * Which recorded groups count when several sources have them.
 *
 * lspci's own lines come from the moment of the capture, sysfs from the same files, a list may be
 * older (a mail quotes listings of other boots), and a log tells of boot time only. The first
 * source of this order that has any group counts, alone; a later one is compared with it and adds
 * no device, however many it lists. A source that shows that the kernel made no groups gives way to
 * one that lists some, but not to a log.
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
  const chosen =
    sources.find((s) => s.groups.length > 0 && s.from !== "dmesg") ?? sources[0] ?? null;
  if (chosen === null) return null;
  for (const other of sources) if (other !== chosen) notes.push(...comparison(chosen, other));
  return withDetails(chosen, sources, parts);
}

/** What the user must hear of a source that does not count. */
function comparison(chosen: RecordedGroups, other: RecordedGroups): Note[] {
  const [a, b] = [name(other), name(chosen)];
  const { place } = other;
  const differing = firstDifference(chosen.groups, other.groups);
  if (differing !== undefined) {
    const text = `${a} groups ${formatBdf(differing)} differently from ${b}; ${b} counts`;
    return [{ severity: "conflict", text, place }];
  }
  const listed = new Set(chosen.groups.flatMap((g) => g.devices));
  const more = other.groups.flatMap((g) => g.devices).filter((d) => !listed.has(d)).length;
  if (more === 0 || other.from === "dmesg") return [];
  const text = `${a} groups ${more} devices that ${b} does not; ${b} counts`;
  return [{ severity: "info", text, place }];
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

/**
 * Types and reserved regions, which lspci does not show: by group number, and by number and members
 * from sources that do not count.
 */
function withDetails(
  chosen: RecordedGroups,
  sources: readonly RecordedGroups[],
  parts: readonly CapturePart[],
): RecordedGroups {
  const details = new Map<number, Omit<RecordedGroup, "devices">>();
  for (const part of parts) for (const d of part.groupDetails ?? []) details.set(d.id, d);
  const own = new Map(chosen.groups.map((g) => [g.id, new Set(g.devices)]));
  for (const other of sources) {
    if (other === chosen) continue;
    for (const { devices, ...detail } of other.groups) {
      const member = devices.some((d) => own.get(detail.id)?.has(d));
      if (member) details.set(detail.id, { ...details.get(detail.id), ...detail });
    }
  }
  if (details.size === 0) return chosen;
  return { ...chosen, groups: chosen.groups.map((g) => ({ ...details.get(g.id), ...g })) };
}
