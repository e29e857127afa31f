/** `ioasis groups --rules all`: how each rule set partitions the host, and where they differ. */
import type { Analysis, RuleSet } from "../../isolation/index.js";
import { type Bdf, formatBdf } from "../../units/index.js";
import { type Agreement, describeDevice } from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { drawCautions, drawHeading } from "./heading.js";
import { table } from "./text.js";

export interface RuleSetResult {
  readonly analysis: Analysis;
  readonly agreement: Agreement | null;
}

export function drawRuleSets(
  out: Output,
  input: AnalysisInput,
  results: readonly RuleSetResult[],
): void {
  drawHeading(out, input);
  const rows = results.map(({ analysis, agreement }) => [
    analysis.rules,
    String(analysis.partition.groups.length),
    String(analysis.partition.groups.filter((g) => g.length > 1).length),
    String(analysis.partition.ungrouped.length),
    agreement === null ? "-" : `${agreement.same} of ${agreement.compared}`,
  ]);
  const titles = ["rules", "groups", "shared", "in no group", "agree with recorded"];
  for (const line of table(
    titles.map((title) => ({ title })),
    rows,
  ))
    out.line(line);
  drawMoves(out, input, results);
  drawCautions(out, input);
}

/** Devices whose company is not the same under all rule sets. */
function drawMoves(out: Output, input: AnalysisInput, results: readonly RuleSetResult[]): void {
  const rows: string[][] = [];
  for (const fn of [...input.fabric.functions].sort((a, b) => a.bdf - b.bdf)) {
    const company = results.map((r) => companyOf(r.analysis, fn.bdf));
    if (company.every((text) => text === company[0])) continue;
    const ids = results.map((r) => idOf(r.analysis, fn.bdf));
    rows.push([formatBdf(fn.bdf), ...ids, describeDevice(fn)]);
  }
  out.line();
  if (rows.length === 0) {
    out.line("Every rule set makes the same groups.");
    return;
  }
  out.line(
    `${rows.length} devices whose company depends on the rules (group numbers per rule set):`,
  );
  const titles = results.map((r) => ({ title: shortName(r.analysis.rules) }));
  const columns = [{ title: "device" }, ...titles, { title: "what", flexible: true }];
  for (const line of table(columns, rows)) out.line(line);
}

function companyOf(analysis: Analysis, device: Bdf): string {
  const id = analysis.partition.groupOf.get(device);
  return id === undefined ? "none" : (analysis.partition.groups[id] ?? []).join();
}

function idOf(analysis: Analysis, device: Bdf): string {
  return String(analysis.partition.groupOf.get(device) ?? "none");
}

function shortName(rules: RuleSet): string {
  return rules === "device-centric" ? "device" : rules.replace("linux-", "");
}
