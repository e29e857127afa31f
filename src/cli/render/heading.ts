/**
 * The first and last lines of every answer: what was read, under which rules, what to bear in mind.
 */
import type { Note } from "../../host/index.js";
import { iommuChecklist } from "../../isolation/index.js";
import { formatBdf } from "../../units/index.js";
import { checkText } from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { wrap } from "./text.js";

const SHOWN_NOTES = 8;
const SHOWN_DEVICES = 6;

export function drawHeading(out: Output, input: AnalysisInput): void {
  const { capture, analysis, resolved } = input;
  const { kernel, architecture, iommuInUse } = capture.facts;
  const facts = [
    `${capture.functions.length} functions`,
    kernel === undefined ? undefined : `Linux ${kernel}`,
    architecture,
    iommuInUse === undefined ? undefined : `IOMMU ${iommuInUse ? "in use" : "not in use"}`,
  ].filter((fact) => fact !== undefined);
  out.line(wrap(`${out.paint.bold(input.source)}: ${facts.join(", ")}`, 2));
  const strict = analysis.strict ? ", strict" : "";
  const why = resolved.why === undefined ? "" : ` (${resolved.why})`;
  out.line(wrap(`rules ${analysis.rules}${strict}${why}`, 2));
  if (capture.functions.length === 0) {
    const text =
      "! This capture describes no PCI function. lspci -t, command lines and tables only add to " +
      "one that does: sudo lspci -vvvnnxxxx, or sudo ioasis capture.";
    out.line(out.paint.yellow(wrap(text, 2)));
  }
  const bare = capture.functions.filter((fn) => fn.config.extent === 0).length;
  if (bare * 2 > capture.functions.length) {
    const text =
      "! This capture names devices but shows no configuration space: bridges and ACS are not " +
      "known, so the " +
      "groups below are guesses by slot. sudo lspci -vvvnnxxxx shows what is needed.";
    out.line(out.paint.yellow(wrap(text, 2)));
  }
  out.line();
}

/**
 * Conflicts and warnings of the readers, then what the capture does not show, then a missing IOMMU.
 */
export function drawCautions(out: Output, input: AnalysisInput): void {
  drawNotes(out, input.capture.notes);
  drawProblems(out, input);
  drawUnknown(out, input);
  drawChecklist(out, input);
}

function drawNotes(out: Output, notes: readonly Note[]): void {
  const worth = notes.filter((note) => note.severity !== "info");
  if (worth.length === 0) return;
  out.line();
  out.line(out.paint.bold("About this capture"));
  for (const note of worth.slice(0, SHOWN_NOTES)) {
    const at = note.place === undefined ? "" : placeText(note);
    out.line(wrap(`- ${note.severity}: ${note.text}${at}`, 4, 2));
  }
  if (worth.length > SHOWN_NOTES) out.line(`  … and ${worth.length - SHOWN_NOTES} more`);
}

function placeText(note: Note): string {
  const { place } = note;
  if (place === undefined) return "";
  return ` (${place.file}${place.line === undefined ? "" : `:${place.line}`})`;
}

function drawProblems(out: Output, input: AnalysisInput): void {
  const { problems } = input.fabric;
  if (problems.length === 0) return;
  out.line();
  out.line(out.paint.bold("Topology"));
  for (const problem of problems.slice(0, SHOWN_NOTES)) out.line(wrap(`- ${problem.text}`, 4, 2));
  if (problems.length > SHOWN_NOTES) out.line(`  … and ${problems.length - SHOWN_NOTES} more`);
}

const MISSING_TEXT: Readonly<Record<string, string>> = {
  acs: "ACS capability or bits",
  config: "configuration space",
  windows: "bridge windows or BARs (counted as reachable)",
  topology: "the bridge above",
  ids: "numeric ids (quirks not tested)",
  scope: "whether an IOMMU covers them",
};

function drawUnknown(out: Output, input: AnalysisInput): void {
  const byFact = new Map<string, string[]>();
  for (const { device, missing } of input.analysis.unknown) {
    for (const fact of missing) byFact.set(fact, [...(byFact.get(fact) ?? []), formatBdf(device)]);
  }
  const scoped =
    input.analysis.linux.scope.table !== undefined || input.capture.facts.iommuInUse === false;
  if ((byFact.size === 0 && scoped) || input.fabric.functions.length === 0) return;
  out.line();
  out.line(out.paint.bold("Not in this capture"));
  if (!scoped) {
    const text =
      "- the firmware's table of IOMMUs (DMAR, IVRS, IORT, VIOT): every device is grouped as " +
      "if one " +
      "covered it";
    out.line(wrap(text, 4, 2));
  }
  for (const [fact, devices] of byFact) {
    const shown = devices.slice(0, SHOWN_DEVICES).join(", ");
    const more =
      devices.length > SHOWN_DEVICES ? ` and ${devices.length - SHOWN_DEVICES} more` : "";
    out.line(wrap(`- ${MISSING_TEXT[fact] ?? fact}: ${shown}${more}`, 4, 2));
  }
  if (byFact.has("acs") || byFact.has("config") || byFact.has("ids")) {
    out.line(
      wrap("A capture with everything: sudo lspci -vvvnnxxxx, or sudo ioasis capture.", 2, 2),
    );
  }
}

const CHECK_MARK = { good: "ok", bad: "NO", unknown: "? " } as const;

function drawChecklist(out: Output, input: AnalysisInput): void {
  const { analysis, fabric, capture } = input;
  const { groups } = analysis.partition;
  if (capture.facts.iommuInUse !== false && (groups.length > 0 || fabric.functions.length === 0)) {
    return;
  }
  out.line();
  out.line(out.paint.bold("No IOMMU is in use here. Where to look"));
  for (const check of iommuChecklist(fabric, capture.facts, analysis.linuxRules)) {
    out.line(wrap(`[${CHECK_MARK[check.state]}] ${checkText(check)}`, 7, 2));
  }
}
