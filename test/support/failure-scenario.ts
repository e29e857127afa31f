/**
 * What a failing random run leaves behind: a directory with a platform file and a scenario file.
 * `ioasis play` replays it, and it breaks where the run broke: at the safety rule, or at the step
 * whose
 * outcome was not as predicted. Other steps may give anything.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Play, PlayRules } from "../../src/play/index.js";

export interface Failure {
  /** Part of the directory's name. */
  readonly name: string;
  /** Seed and problem, in words. */
  readonly why: string;
  readonly rules: PlayRules;
  /** As a platform file says it. */
  readonly platform: object;
  /** Those that expect nothing may give anything. */
  readonly steps: readonly object[];
  /** What the run did and no step can say. */
  readonly without?: readonly string[];
}

export interface FailureFile {
  readonly directory: string;
  /** Path of the scenario. */
  readonly scenario: string;
}

/** Writes both files into a new directory. */
export function keepFailure(failure: Failure): FailureFile {
  const { name, why, rules, platform, steps, without = [] } = failure;
  const directory = mkdtempSync(join(tmpdir(), `ioasis-${name}-`));
  const scenario = join(directory, "scenario.yaml");
  const left = without.length === 0 ? "" : `\nNot in the steps: ${without.join("; ")}.`;
  const about = `${why}\nPlay it with: ioasis play ${scenario} --rules ${rules}${left}`;
  const node = {
    schema: "ioasis/scenario/1",
    name: `${name}, kept`,
    about: about.slice(0, 10_000),
    platforms: ["./platform.yaml"],
    rules: [rules],
    anything: true,
    steps,
  };
  writeFileSync(join(directory, "platform.yaml"), stringify(platform));
  writeFileSync(scenario, stringify(node, { flowCollectionPadding: true }));
  return { directory, scenario };
}

/** The steps of a play that were not passed over. */
export function stepsThatPlayed(played: Play): object[] {
  return played.steps.map(({ step }) => ({ [step.action]: step.node[step.action] }));
}
