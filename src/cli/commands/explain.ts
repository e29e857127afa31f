/** `ioasis explain DEVICE [OTHER]` */
import { explainOne, explainPair, explainPayload } from "../../view/index.js";
import { findDevice, readAnalysis } from "../analysis-input.js";
import { checkExit } from "../check.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError, writeJson } from "../output.js";
import { drawExplanation } from "../render/explain.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const [first, second, ...rest] = args;
  if (first === undefined || rest.length > 0) {
    throw new UsageError("explain takes one device or two, like: ioasis explain 03:00.0 04:00.0");
  }
  const input = await readAnalysis(out, options);
  const { analysis, fabric } = input;
  const a = findDevice(fabric, first);
  const b = second === undefined ? undefined : findDevice(fabric, second);
  if (a === b) throw new UsageError(`explain: ${first} and ${second} are the same device`);
  const explanation = b === undefined ? explainOne(analysis, a) : explainPair(analysis, a, b);
  if (options.json === true) writeJson(out, explainPayload(explanation));
  else drawExplanation(out, input, explanation);
  return checkExit(out, input, options);
}
