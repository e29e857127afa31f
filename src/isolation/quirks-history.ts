/** When a quirk row came into a kernel series that did not have it from its first release. */
import { QUIRKS } from "./data/pci-quirks.gen.js";
import type { QuirkHistory } from "./data/quirk-types.js";
import type { LinuxRuleSet } from "./partition.js";
import type { Identity } from "./quirks-ids.js";

/**
 * The point release of the rule set's series that brought a row for `id`, when `kernel` (as `uname
 * -r` prints it) is an older release of the same series; undefined when the kernel has the row, as
 * far as changelogs say. A rule set reproduces one point release, so this explains what an older
 * one does differently.
 */
export function arrivedAfter(
  kernel: string | undefined,
  rules: LinuxRuleSet,
  what: QuirkHistory["what"],
  id: Identity,
): string | undefined {
  const running = point(kernel, rules);
  if (running === undefined) return undefined;
  let last: string | undefined;
  for (const entry of QUIRKS.history) {
    if (entry.what !== what || !names(entry, id)) continue;
    const arrived = entry.arrived[rules];
    if (arrived === undefined || (point(arrived, rules) ?? 0) <= running) continue;
    if (last === undefined || (point(arrived, rules) ?? 0) > (point(last, rules) ?? 0)) {
      last = arrived;
    }
  }
  return last;
}

function names(entry: QuirkHistory, id: Identity): boolean {
  return entry.ids?.includes(id) === true || entry.anyOf === Math.floor(id / 65536);
}

/** The third number of a release of the rule set's series. */
function point(release: string | undefined, rules: LinuxRuleSet): number | undefined {
  const series = rules.slice("linux-".length);
  if (release?.startsWith(`${series}.`) !== true) return undefined;
  const third = /^\d+/.exec(release.slice(series.length + 1));
  return third === null ? undefined : Number(third[0]);
}
