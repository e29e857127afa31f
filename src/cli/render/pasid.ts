/** The text of `ioasis pasid`. */
import type { DeviceReport, Evidence } from "../../isolation/index.js";
import { formatBdf } from "../../units/index.js";
import { changes, describeDevice, sentences } from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { mark } from "./devices.js";
import { drawCautions, drawHeading } from "./heading.js";
import { labelled, table, wrap } from "./text.js";

/** `all` shows devices without any of the capabilities too (when they were asked for by name). */
export function drawPasid(
  out: Output,
  input: AnalysisInput,
  reports: readonly DeviceReport[],
  all: boolean,
): void {
  drawHeading(out, input);
  const shown = all ? reports : reports.filter((report) => worthShowing(input, report));
  const rows = shown.map((report) => {
    const fn = input.fabric.function(report.device);
    return [
      formatBdf(report.device),
      mark(report.pasid),
      mark(report.ats),
      mark(report.pri),
      mark(report.sva),
      fn === undefined ? "" : describeDevice(fn),
    ];
  });
  if (rows.length === 0)
    out.line("No device of this capture shows a PASID, ATS or PRI capability.");
  else {
    const titles = ["device", "PASID", "ATS", "PRI", "SVA"].map((title) => ({ title }));
    for (const line of table([...titles, { title: "what", flexible: true }], rows)) out.line(line);
  }
  for (const report of shown) drawReasons(out, input, report);
  const hidden = reports.length - shown.length;
  if (hidden > 0) {
    out.line();
    out.line(wrap(`${hidden} more devices have none of these capabilities (name one to see why).`));
  }
  drawCautions(out, input);
}

function worthShowing(input: AnalysisInput, report: DeviceReport): boolean {
  const fn = input.fabric.function(report.device);
  if (fn === undefined || fn.isBridge) return false;
  return Boolean(fn.pasid) || Boolean(fn.ats) || Boolean(fn.pri) || report.pasid.ok === true;
}

function drawReasons(out: Output, input: AnalysisInput, report: DeviceReport): void {
  const parts: readonly (readonly [string, readonly Evidence[]])[] = [
    ["PASID", report.pasid.ok === true ? [] : report.pasid.because],
    ["ATS", report.ats.ok === true ? [] : report.ats.because],
    ["PRI", report.pri.ok === true ? [] : report.pri.because],
    ["SVA", report.sva.ok === true ? [] : report.sva.because],
  ];
  if (parts.every(([, because]) => because.length === 0)) return;
  out.line();
  out.line(out.paint.bold(formatBdf(report.device)));
  const said = new Set<string>();
  for (const [title, because] of parts) {
    for (const sentence of sentences(input.analysis, because)) {
      if (said.has(sentence)) continue;
      said.add(sentence);
      out.line(labelled(`  ${title}`, 9, sentence));
    }
  }
  const advice = changes(input.analysis, report.pasid.because);
  for (const text of advice.slice(0, 3)) out.line(out.paint.dim(wrap(`→ ${text}`, 10, 8)));
}
