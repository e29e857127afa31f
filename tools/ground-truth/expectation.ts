/**
 * What the author of a topology expects of the kernel, compared with what the kernel did. This
 * keeps the sentence a topology is described with honest; the product has no part in it.
 */
import type { KernelName } from "./kernel-source.js";
import { groupSets } from "./normalize.js";
import type { Topology } from "./topology.js";

/** Functions of the PC's chipset: conventional, one slot, so together where they have a group. */
const chipset = "0000:00:1f.0 0000:00:1f.2 0000:00:1f.3";

/**
 * Differences as sentences; empty when the kernel did as expected.
 * @param groups   text of `groups.txt`
 * @param devices  text of `devices.txt`
 */
export function surprises(
  topology: Topology,
  kernel: KernelName,
  groups: string,
  devices: string,
): string[] {
  const sets = groupSets(groups);
  const found = sets.filter((one) => one.includes(" ") && one !== chipset);
  const wanted = (topology.sharedUnder?.[kernel] ?? topology.shared).map(full);
  const grouped = new Set(sets.flatMap((one) => one.split(" ")));
  const listed = [...devices.matchAll(/^DEV (\S+)/gm)].map((match) => match[1] ?? "");
  const without = listed.filter((device) => !grouped.has(device));
  const expectedWithout = (topology.ungrouped ?? []).map(full);
  return [
    ...differences("shared group", wanted, found),
    ...differences("function without a group", expectedWithout, without),
  ];
}

function full(devices: string): string {
  return devices
    .split(" ")
    .map((device) => `0000:${device}`)
    .join(" ");
}

function differences(what: string, wanted: readonly string[], found: readonly string[]): string[] {
  return [
    ...wanted.filter((one) => !found.includes(one)).map((one) => `missing ${what}: ${one}`),
    ...found.filter((one) => !wanted.includes(one)).map((one) => `unexpected ${what}: ${one}`),
  ];
}
