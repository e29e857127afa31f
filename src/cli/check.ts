/** `--check`, the same for every command: the exit code says whether kernel and rules agree. */
import { agreementOf } from "../view/index.js";
import type { AnalysisInput } from "./analysis-input.js";
import type { CommonOptions } from "./options.js";
import type { ExitCode, Output } from "./output.js";

/** 1 when asked to check and the computed groups differ from the recorded ones; else 0. */
export function checkExit(out: Output, input: AnalysisInput, options: CommonOptions): ExitCode {
  if (options.check !== true) return 0;
  const { analysis, capture } = input;
  const agreement = agreementOf(analysis, analysis.partition, capture.recorded);
  return checkResult(out, options, agreement === null ? null : agreement.different.length > 0);
}

/** `differs` null: the capture has no groups to compare with, which is said. */
export function checkResult(
  out: Output,
  options: CommonOptions,
  differs: boolean | null,
): ExitCode {
  if (options.check !== true) return 0;
  if (differs === null) {
    out.note("ioasis: --check: this capture has no recorded groups; nothing was compared");
  }
  return differs === true ? 1 : 0;
}
