/** The three rule sets by name, and the one nearest to a kernel release. */
import type { LinuxRuleSet } from "../partition.js";
import { LINUX_6_1 } from "./linux-6.1.js";
import { LINUX_6_12 } from "./linux-6.12.js";
import { LINUX_7_2 } from "./linux-7.2.js";
import type { LinuxRules } from "./linux-rules.js";

export type { LinuxRules } from "./linux-rules.js";

export const LINUX_RULE_SETS: readonly LinuxRuleSet[] = ["linux-6.1", "linux-6.12", "linux-7.2"];

const RULES: Readonly<Record<LinuxRuleSet, LinuxRules>> = {
  "linux-6.1": LINUX_6_1,
  "linux-6.12": LINUX_6_12,
  "linux-7.2": LINUX_7_2,
};

/** What is particular to one rule set. */
export function linuxRules(name: LinuxRuleSet): LinuxRules {
  return RULES[name];
}

/** Releases in a row: series 4, 5 and 6 ended with .20, .19 and .19. */
const SERIES_START: Readonly<Record<number, number>> = { 3: -41, 4: -21, 5: 0, 6: 20, 7: 40 };

/**
 * The rule set whose release is nearest to `release` (as `uname -r` prints it), counted in kernel
 * releases; the older one when two are equally near; linux-7.2 when the text is not a release.
 */
export function nearestRules(release: string | undefined): LinuxRuleSet {
  const at = ordinal(release);
  if (at === undefined) return "linux-7.2";
  let best: LinuxRuleSet = "linux-7.2";
  let distance = Number.POSITIVE_INFINITY;
  for (const name of LINUX_RULE_SETS) {
    const away = Math.abs((ordinal(name.slice("linux-".length)) ?? 0) - at);
    if (away < distance) {
      best = name;
      distance = away;
    }
  }
  return best;
}

function ordinal(release: string | undefined): number | undefined {
  const m = /^(\d{1,3})\.(\d{1,3})/.exec(release ?? "");
  if (m === null) return undefined;
  const major = Number(m[1]);
  const start = SERIES_START[major] ?? (major > 7 ? 40 + (major - 7) * 20 : -100);
  return start + Number(m[2]);
}
