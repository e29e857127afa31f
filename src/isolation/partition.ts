/**
 * A partition of functions into groups, with the joins that made it, so that any pair can be
 * explained.
 */
import type { Fabric } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { DeviceNumbers } from "./device-numbers.js";
import type { Evidence } from "./evidence.js";

export type LinuxRuleSet = "linux-6.1" | "linux-6.12" | "linux-7.2";
export type RuleSet = LinuxRuleSet | "device-centric";

/**
 * Two functions that a rule put together, and why. Joins form the edges along which a pair is
 * explained.
 */
export interface Join {
  readonly a: Bdf;
  readonly b: Bdf;
  readonly because: readonly Evidence[];
}

export interface Ungrouped {
  readonly device: Bdf;
  readonly because: readonly Evidence[];
}

export interface Partition {
  readonly rules: RuleSet;
  /** Each sorted by address; ordered by lowest member. The index is the group's id. */
  readonly groups: readonly (readonly Bdf[])[];
  readonly groupOf: ReadonlyMap<Bdf, number>;
  readonly joins: readonly Join[];
  readonly ungrouped: readonly Ungrouped[];
}

/** Sorts members and groups and indexes them. */
export function makePartition(
  rules: RuleSet,
  groups: Iterable<readonly Bdf[]>,
  joins: readonly Join[],
  ungrouped: readonly Ungrouped[],
): Partition {
  const sorted = [...groups].map((g) => [...g].sort((a, b) => a - b));
  sorted.sort((a, b) => (a[0] as number) - (b[0] as number));
  const groupOf = new Map<Bdf, number>();
  sorted.forEach((group, id) => {
    for (const member of group) groupOf.set(member, id);
  });
  return { rules, groups: sorted, groupOf, joins, ungrouped };
}

/**
 * The same from numbers: functions of a fabric with equal numbers are one group, -1 is none.
 * `numberOf` is by the function's index and is changed into the groups' ids. Linear.
 */
export function partitionOf(
  rules: RuleSet,
  fabric: Fabric,
  numberOf: Int32Array,
  joins: readonly Join[],
  ungrouped: readonly Ungrouped[],
): Partition {
  const { sets: groups, setOf: groupOf } = setsByNumber(fabric, numberOf);
  return { rules, groups, groupOf, joins, ungrouped };
}

/** Sets ordered by lowest member, each by address; `numberOf` becomes the sets' numbers. */
export function setsByNumber(
  fabric: Fabric,
  numberOf: Int32Array,
): { readonly sets: readonly (readonly Bdf[])[]; readonly setOf: ReadonlyMap<Bdf, number> } {
  const highest = numberOf.reduce((a, b) => (a > b ? a : b), -1);
  const size = new Int32Array(highest + 1);
  for (const number of numberOf) if (number >= 0) size[number] = (size[number] as number) + 1;
  const idOf = new Int32Array(highest + 1).fill(-1);
  const sets: Bdf[][] = [];
  for (const { index, bdf } of fabric.byAddress) {
    const number = numberOf[index] as number;
    if (number < 0) continue;
    let id = idOf[number] as number;
    if (id < 0) {
      id = sets.length;
      idOf[number] = id;
      // Arrays that grow keep room that is never used.
      const count = size[number] as number;
      sets.push(count === 1 ? [bdf] : new Array<Bdf>(count));
      size[number] = 0;
    }
    const used = size[number] as number;
    (sets[id] as Bdf[])[used] = bdf;
    size[number] = used + 1;
    numberOf[index] = id;
  }
  return { sets, setOf: new DeviceNumbers(fabric, numberOf, sets) };
}

/** The shortest chain of joins from `a` to `b`, or undefined when they are in different groups. */
export function joinPath(partition: Partition, a: Bdf, b: Bdf): readonly Join[] | undefined {
  const group = partition.groupOf.get(a);
  if (group === undefined || group !== partition.groupOf.get(b)) return undefined;
  if (a === b) return [];
  const at = new Map<Bdf, Join[]>();
  const note = (device: Bdf, join: Join): void => {
    const list = at.get(device);
    if (list === undefined) at.set(device, [join]);
    else list.push(join);
  };
  // A path may pass over functions without a group (ports that no table covers), never another
  // group.
  const isInOther = (device: Bdf): boolean => (partition.groupOf.get(device) ?? group) !== group;
  for (const join of partition.joins) {
    if (isInOther(join.a) || isInOther(join.b)) continue;
    note(join.a, join);
    note(join.b, join);
  }
  const cameBy = new Map<Bdf, Join | undefined>([[a, undefined]]);
  const queue = [a];
  for (let i = 0; i < queue.length; i++) {
    const here = queue[i] as Bdf;
    if (here === b) return unwind(cameBy, b);
    for (const join of at.get(here) ?? []) {
      const next = join.a === here ? join.b : join.a;
      if (cameBy.has(next)) continue;
      cameBy.set(next, join);
      queue.push(next);
    }
  }
  return undefined;
}

function unwind(cameBy: ReadonlyMap<Bdf, Join | undefined>, end: Bdf): Join[] {
  const path: Join[] = [];
  let here = end;
  for (let join = cameBy.get(here); join !== undefined; join = cameBy.get(here)) {
    path.unshift(join);
    here = join.a === here ? join.b : join.a;
  }
  return path;
}
