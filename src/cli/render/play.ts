/** The text of `ioasis play`: every step with its trace, or a line for each play. */
import type { Play, PlayedStep } from "../../play/index.js";
import {
  differences,
  namesOf,
  outcomeText,
  refusalLines,
  stepText,
  traceLine,
} from "../../view/index.js";
import type { Output } from "../output.js";
import { wrap } from "./text.js";

/** `full`: steps and traces of every play; else only of those that went wrong. */
export function drawPlays(out: Output, plays: readonly Play[], full: boolean): void {
  let steps = 0;
  for (const play of plays) {
    steps += play.steps.length;
    if (full || !play.ok) drawPlay(out, play);
    else drawLine(out, play);
  }
  drawDifferences(out, plays);
  const wrong = plays.filter((play) => !play.ok).length;
  out.line();
  const scenarios = new Set(plays.map((play) => play.scenario.file)).size;
  const counted = [
    quantity(scenarios, "scenario"),
    quantity(plays.length, "play"),
    quantity(steps, "step"),
  ].join(", ");
  const verdict = wrong === 0 ? "all as expected" : `${quantity(wrong, "play")} not as expected`;
  out.line(out.paint.bold(`${counted}: ${verdict}`));
}

function drawLine(out: Output, play: Play): void {
  const mark = out.paint.green("ok");
  const { scenario, platform, rules, steps } = play;
  out.line(
    `${mark}  ${rules.padEnd(14)}  ${platform.padEnd(4)}  ${scenario.name} (${steps.length})`,
  );
}

function drawPlay(out: Output, play: Play): void {
  const { scenario, platform, rules, steps } = play;
  out.line();
  out.line(out.paint.bold(scenario.name));
  out.line(`platform ${platform}, rules ${rules}, ${scenario.file}`);
  if (scenario.about !== undefined) out.line(out.paint.dim(wrap(scenario.about.trim(), 2, 2)));
  for (const played of steps) drawStep(out, play, played);
}

function drawStep(out: Output, play: Play, played: PlayedStep): void {
  const { step, outcome, mismatches, broken, trace } = played;
  const number = String(step.index + 1).padStart(3);
  out.line();
  out.line(`${number}  ${out.paint.cyan(stepText(played))}`);
  const names = namesOf(play);
  for (const record of trace) {
    const { depth, text } = traceLine(record, names);
    const indent = 5 + 2 * depth;
    out.line(out.paint.dim(wrap(text, indent + 2, indent)));
  }
  const wrong = mismatches.length > 0 || broken.length > 0;
  const paint = wrong
    ? out.paint.red
    : outcome.errno === undefined
      ? out.paint.green
      : out.paint.yellow;
  out.line(`     ${paint(wrap(outcomeText(outcome), 5))}`);
  const evidence = outcome.errno === undefined ? [] : (outcome.evidence ?? []);
  for (const line of refusalLines(evidence, names.device))
    out.line(out.paint.dim(wrap(line, 9, 7)));
  if (step.node.note !== undefined) out.line(out.paint.dim(wrap(`# ${step.node.note}`, 7, 5)));
  for (const { field, expected, found } of mismatches) {
    out.line(out.paint.red(wrap(`NOT AS EXPECTED: ${field}: ${expected}; found ${found}`, 7, 5)));
  }
  for (const { rule, text } of broken) {
    out.line(out.paint.red(wrap(`SAFETY RULE ${rule} IS BROKEN: ${text}`, 7, 5)));
  }
  if (wrong && step.line !== undefined) out.line(`     ${play.scenario.file}:${step.line}`);
}

function drawDifferences(out: Output, plays: readonly Play[]): void {
  const list = differences(plays);
  if (list.length === 0) return;
  out.line();
  out.line(out.paint.bold("Where the rule sets differ"));
  let last = "";
  for (const { scenario, platform, step, outcomes } of list) {
    const title = `${scenario}, on ${platform}`;
    if (title !== last) out.line(`\n  ${title}`);
    last = title;
    out.line(`    ${out.paint.cyan(step)}`);
    for (const [rules, text] of Object.entries(outcomes)) {
      out.line(wrap(`${rules.padEnd(14)}  ${text}`, 24, 6));
    }
  }
}

function quantity(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
