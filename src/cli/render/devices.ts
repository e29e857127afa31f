/** The text of `ioasis devices`: a table of all, or one device in full. */
import type { DeviceReport, Eligibility } from "../../isolation/index.js";
import { bdfFromRid, formatBdf, formatRid, formatSpan, segmentOf } from "../../units/index.js";
import { describeDevice, placeOf, sentences } from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { drawCautions, drawHeading } from "./heading.js";
import { labelled, table, wrap } from "./text.js";

const REASONS_AT = 24;

export function drawDeviceTable(
  out: Output,
  input: AnalysisInput,
  reports: readonly DeviceReport[],
): void {
  drawHeading(out, input);
  const rows = reports.map((report) => {
    const fn = input.fabric.function(report.device);
    return [
      formatBdf(report.device),
      String(report.group ?? "-"),
      String(report.isolationGroup ?? "-"),
      fn?.isBridge === true ? "-" : spaceOf(report),
      mark(report.pasid),
      mark(report.ats),
      mark(report.pri),
      report.driver ?? (report.driver === null ? "none" : "?"),
      fn === undefined ? "" : describeDevice(fn),
    ];
  });
  const columns = [
    { title: "device" },
    { title: "group", right: true },
    { title: "isolation", right: true },
    { title: "space" },
    { title: "PASID" },
    { title: "ATS" },
    { title: "PRI" },
    { title: "driver" },
    { title: "what", flexible: true },
  ];
  for (const [index, line] of table(columns, rows).entries()) {
    out.line(index === 0 ? out.paint.bold(line) : line);
  }
  out.line();
  out.line(
    wrap(
      "group: under these rules. isolation: device-centric group. space: whether the device " +
        "may have an " +
        "address space of its own. ioasis devices DEVICE says why.",
    ),
  );
  drawCautions(out, input);
}

function spaceOf({ mustShare, group }: DeviceReport): string {
  if (mustShare.value) return `with ${mustShare.with.length}`;
  return group === undefined ? "none" : "own";
}

export function mark(verdict: Eligibility): string {
  if (verdict.ok === null) return "?";
  if (!verdict.ok) return "no";
  return verdict.width === undefined ? "yes" : `${verdict.width} bit`;
}

export function drawDevice(out: Output, input: AnalysisInput, report: DeviceReport): void {
  const fn = input.fabric.function(report.device);
  const name = fn === undefined ? "" : describeDevice(fn);
  out.line(labelled(formatBdf(report.device), 14, name, out.paint.bold));
  const place = fn === undefined ? undefined : placeOf(fn);
  if (place !== undefined) field(out, "place", place);
  field(out, "driver", report.driver ?? (report.driver === null ? "none" : "not known"));
  field(out, `group (${input.analysis.rules})`, String(report.group ?? "none"));
  field(out, "isolation group", String(report.isolationGroup ?? "none"));
  field(out, "requester IDs", requesterIdList(report));
  reasons(
    out,
    input,
    report.requesterIds.ids.flatMap((id) => id.because ?? []),
  );
  drawSharing(out, input, report);
  const said = new Set<string>();
  drawVerdict(out, input, "assignable", report.viability, said);
  drawVerdict(out, input, "PASID", report.pasid, said);
  drawVerdict(out, input, "ATS", report.ats, said);
  drawVerdict(out, input, "PRI", report.pri, said);
  drawVerdict(out, input, "SVA", report.sva, said);
  drawReaches(out, report);
  drawReserved(out, input, report);
  if (report.exposure.because.length > 0) {
    field(out, "exposure", report.exposure.untrusted === true ? "untrusted" : "external-facing");
    reasons(out, input, report.exposure.because);
  }
  out.line();
}

function drawSharing(out: Output, input: AnalysisInput, report: DeviceReport): void {
  const { value, with: others, because } = report.mustShare;
  const text = value
    ? `must be shared with ${others.map(formatBdf).join(", ")}`
    : report.group === undefined
      ? "none: no IOMMU translates its requests"
      : "may be its own";
  field(out, "address space", text);
  reasons(out, input, because);
}

function drawVerdict(
  out: Output,
  input: AnalysisInput,
  title: string,
  verdict: Pick<Eligibility, "ok" | "width" | "because">,
  said: Set<string>,
): void {
  const word = verdict.ok === null ? "not known" : verdict.ok ? "yes" : "no";
  const width = verdict.width === undefined ? "" : `, ${verdict.width} bits`;
  field(out, title, `${word}${width}`);
  if (verdict.ok !== true) reasons(out, input, verdict.because, said);
}

function drawReaches(out: Output, report: DeviceReport): void {
  const { reaches } = report;
  if (reaches.length === 0) {
    field(out, "reaches", "no peer without the IOMMU");
    return;
  }
  field(out, "reaches", `${reaches.length} peers without the IOMMU`);
  // What must be routed so comes first: the list may be cut.
  const rank = ({ certainty }: (typeof reaches)[number]): number =>
    certainty === "certain" ? 0 : 1;
  for (const reach of [...reaches].sort((a, b) => rank(a) - rank(b)).slice(0, 12)) {
    const windows = reach.windows.slice(0, 2).map(formatSpan).join(", ");
    const where = windows === "" ? "addresses not known" : windows;
    const text = `${formatBdf(reach.device)} via ${reach.via}, ${reach.certainty}: ${where}`;
    out.line(wrap(text, 26, 24));
  }
  if (reaches.length > 12) out.line(`${" ".repeat(24)}… and ${reaches.length - 12} more`);
}

function drawReserved(out: Output, input: AnalysisInput, report: DeviceReport): void {
  const { regions, because } = report.reserved;
  if (regions.length === 0) return;
  const text = regions.map((r) => `${formatSpan(r.span)} ${r.kind}`).join(", ");
  field(out, "reserved memory", text);
  reasons(out, input, because);
}

function field(out: Output, title: string, text: string): void {
  out.line(labelled(`  ${title}`, REASONS_AT, text, out.paint.dim));
}

/** Requester IDs; with their segment where it is not the device's own. */
function requesterIdList(report: DeviceReport): string {
  const home = segmentOf(report.device);
  return report.requesterIds.ids
    .map((id) =>
      id.segment === home ? formatRid(id.rid) : formatBdf(bdfFromRid(id.segment, id.rid)),
    )
    .join(", ");
}

/** Facts that an earlier answer about the same device has stated are not repeated. */
function reasons(
  out: Output,
  input: AnalysisInput,
  because: Parameters<typeof sentences>[1],
  said: Set<string> = new Set(),
): void {
  const fresh = sentences(input.analysis, because).filter((sentence) => !said.has(sentence));
  for (const sentence of fresh) {
    said.add(sentence);
    out.line(out.paint.dim(wrap(`└ ${sentence}`, REASONS_AT + 2, REASONS_AT)));
  }
}
