/** `ioasis groups` */
import type { RuleSet } from "../../isolation/index.js";
import { agreementOf, groupsPayload } from "../../view/index.js";
import { type AnalysisInput, readAnalysis } from "../analysis-input.js";
import { checkResult } from "../check.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError, writeJson } from "../output.js";
import { drawGroups } from "../render/groups.js";
import { drawRuleSets } from "../render/rule-sets.js";
import { RULE_SETS } from "../rules.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  if (args.length > 0) throw new UsageError(`groups takes no operand: ${args.join(" ")}`);
  const input = await readAnalysis(out, options);
  const differs =
    options.rules === "all" ? showAll(out, input, options) : showOne(out, input, options);
  return checkResult(out, options, input.capture.recorded === null ? null : differs);
}

function showOne(out: Output, input: AnalysisInput, options: CommonOptions): boolean {
  const { analysis, capture } = input;
  const agreement = agreementOf(analysis, analysis.partition, capture.recorded);
  if (options.json === true) writeJson(out, groupsPayload(analysis, capture.recorded, agreement));
  else drawGroups(out, input, agreement);
  return agreement !== null && agreement.different.length > 0;
}

/** Every rule set side by side; differs when the one nearest to the capture's kernel does. */
function showAll(out: Output, input: AnalysisInput, options: CommonOptions): boolean {
  const { capture } = input;
  const results = RULE_SETS.map((rules: RuleSet) => {
    const analysis = input.under(rules);
    return { analysis, agreement: agreementOf(analysis, analysis.partition, capture.recorded) };
  });
  if (options.json === true) {
    writeJson(out, {
      schema: "ioasis/groups-all/1",
      results: results.map((r) => groupsPayload(r.analysis, capture.recorded, r.agreement)),
    });
  } else drawRuleSets(out, input, results);
  const nearest = results.find((r) => r.analysis.rules === input.resolved.rules);
  return (nearest?.agreement?.different.length ?? 0) > 0;
}
