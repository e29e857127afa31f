/** `ioasis play FILE...` */
import { writeFile } from "node:fs/promises";
import {
  platformsOf,
  readScenarioFile,
  readScenarioInput,
  scenarioFiles,
} from "../../host/io/scenario-file.io.js";
import { PLAY_RULES, type Play, type PlayRules, play, type Scenario } from "../../play/index.js";
import { InputError } from "../../units/index.js";
import { chromeTrace, playPayload } from "../../view/index.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError, writeJson } from "../output.js";
import { drawPlays } from "../render/play.js";

/** Exit code 1 when a step gave something else than expected. */
export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  if (args.length === 0) throw new UsageError("play takes scenario files, or directories of them");
  const rules = rulesOf(options);
  const plays: Play[] = [];
  for (const argument of args) {
    for (const scenario of await scenariosOf(argument)) {
      plays.push(...(await playAll(scenario, rules)));
    }
  }
  if (plays.length === 0) {
    throw new UsageError(`--rules ${rules.join(",")}: no scenario given is for these rules`);
  }
  if (options.traceFile !== undefined) await writeTrace(options.traceFile, plays);
  if (options.json === true) writeJson(out, playPayload(plays));
  else drawPlays(out, plays, options.verbose === true || plays.length <= 2);
  return plays.every((played) => played.ok) ? 0 : 1;
}

async function scenariosOf(argument: string): Promise<Scenario[]> {
  if (argument === "-") return [readScenarioInput()];
  const out: Scenario[] = [];
  for (const file of await scenarioFiles(argument)) out.push(await readScenarioFile(file));
  return out;
}

async function playAll(scenario: Scenario, rules: readonly PlayRules[]): Promise<Play[]> {
  const out: Play[] = [];
  for (const { name, platform } of await platformsOf(scenario)) {
    for (const set of rules) {
      if (scenario.rules.includes(set)) out.push(play(scenario, platform, name, set));
    }
  }
  return out;
}

async function writeTrace(file: string, plays: readonly Play[]): Promise<void> {
  try {
    await writeFile(file, JSON.stringify(chromeTrace(plays)));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InputError(`cannot be written: ${why}`, { file });
  }
}

/** This command's `--rules` is a list. */
function rulesOf(options: CommonOptions): readonly PlayRules[] {
  const given: unknown = options.rules;
  const names = Array.isArray(given) ? (given as readonly string[]) : [];
  return [...new Set(names)].map((name) => {
    const found = PLAY_RULES.find((rules) => rules === name);
    if (found !== undefined) return found;
    throw new UsageError(`--rules ${name}: cannot be played; one of ${PLAY_RULES.join(", ")}`);
  });
}
