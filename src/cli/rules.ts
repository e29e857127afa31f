/** Which rule set a run uses: the one asked for, or the one nearest to the capture's kernel. */
import { nearestRules, type RuleSet } from "../isolation/index.js";
import { UsageError } from "./output.js";

export const RULE_CHOICES = [
  "auto",
  "device-centric",
  "linux-6.1",
  "linux-6.12",
  "linux-7.2",
  "all",
] as const;
export type RuleChoice = (typeof RULE_CHOICES)[number];

export const RULE_SETS: readonly RuleSet[] = [
  "linux-6.1",
  "linux-6.12",
  "linux-7.2",
  "device-centric",
];

export interface ResolvedRules {
  readonly rules: RuleSet;
  /** Why this one, for the heading: "nearest to the capture's kernel 6.18.0-rc7". */
  readonly why: string | undefined;
}

export function parseRules(text: string): RuleChoice {
  const found = RULE_CHOICES.find((choice) => choice === text);
  if (found === undefined) {
    throw new UsageError(`--rules ${text}: no such rule set; one of ${RULE_CHOICES.join(", ")}`);
  }
  return found;
}

/**
 * What the user chose; else what a platform file asks for; else the nearest by count of releases
 * ({@link nearestRules}); without a kernel the newest.
 */
export function resolveRules(
  choice: RuleChoice,
  kernel: string | undefined,
  asked?: RuleSet | undefined,
): ResolvedRules {
  if (choice !== "auto" && choice !== "all") return { rules: choice, why: undefined };
  if (asked !== undefined) return { rules: asked, why: "the platform file asks for them" };
  const why =
    kernel === undefined
      ? "the newest: the capture names no kernel"
      : `nearest to the capture's kernel ${kernel}`;
  return { rules: nearestRules(kernel), why };
}
