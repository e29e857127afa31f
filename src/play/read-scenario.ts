/** Reads a parsed scenario file: its shape, and what a shape cannot say. */
import { type InputPath, type LineMap, noLines, Problems } from "../platform/index.js";
import { InputError, type InputPlace } from "../units/index.js";
import {
  ACTIONS,
  type ActionArguments,
  type ActionName,
  PLAY_RULES,
  type PlayRules,
  type ScenarioNode,
  type StepNode,
  scenarioShape,
} from "./scenario-shape.js";

/** One step: which action, with what, expecting what. */
export interface Step {
  readonly action: ActionName;
  readonly node: StepNode;
  /** Line in the file; undefined when not known. */
  readonly line: number | undefined;
  readonly index: number;
}

export interface Scenario {
  readonly file: string;
  readonly name: string;
  readonly about: string | undefined;
  readonly platforms: readonly string[];
  /** Where the file names each of them. */
  readonly platformPlaces: readonly InputPlace[];
  readonly rules: readonly PlayRules[];
  /**
   * Steps that expect nothing may give anything, and those that ask for what is not there are
   * passed over: what ends the play is a broken safety rule.
   */
  readonly anything: boolean;
  readonly steps: readonly Step[];
  readonly node: ScenarioNode;
}

const NAMES = Object.keys(ACTIONS) as readonly ActionName[];

/** @throws PlatformError (an InputError) that names file, line and field of every problem. */
export function readScenario(value: unknown, lines: LineMap = noLines("scenario")): Scenario {
  const problems = new Problems(lines);
  const node = scenarioShape.read(value, [], problems);
  problems.throwIfAny();
  if (node === undefined) throw new Error("a shape reported nothing and read nothing");
  const steps = node.steps.map((step, index): Step => {
    const path: InputPath = ["steps", index];
    const given = NAMES.filter((action) => step[action] !== undefined);
    if (given.length !== 1) {
      const problem = given.length === 0 ? "has no action" : `has ${given.join(" and ")}`;
      problems.add(path, problem, `one of ${NAMES.join(", ")}`);
    }
    return { action: given[0] ?? "show", node: step, line: lines.lineOf(path), index };
  });
  problems.throwIfAny();
  const { name, about, platforms, rules = PLAY_RULES } = node;
  const platformPlaces = platforms.map(
    (_, i): InputPlace => ({
      file: lines.file,
      line: lines.lineOf(["platforms", i]),
      field: `platforms[${i}]`,
    }),
  );
  const anything = node.anything === true;
  const { file } = lines;
  return { file, name, about, platforms, platformPlaces, rules, anything, steps, node };
}

/** The arguments of a step, which is of that action. */
export function argumentsOf<A extends ActionName>(step: Step, action: A): ActionArguments<A> {
  const found = step.node[action];
  if (found === undefined) throw new InputError(`is no ${action}`, { file: "step" });
  return found as ActionArguments<A>;
}
