/**
 * The text of `ioasis explain`: verdict, reasons, the proving transaction, what would change it.
 */
import type { Evidence } from "../../isolation/index.js";
import { type Bdf, formatBdf } from "../../units/index.js";
import {
  changes,
  describeDevice,
  type Explanation,
  membersOf,
  placeOf,
  proveJoin,
  reasonsAndReservations,
  sentences,
} from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { drawHeading } from "./heading.js";
import { labelled, wrap } from "./text.js";

const MEMBERS_SHOWN = 12;

export function drawExplanation(out: Output, input: AnalysisInput, explanation: Explanation): void {
  drawHeading(out, input);
  const { a, b, enlargedBy } = explanation;
  drawSubject(out, input, a);
  if (b !== undefined) drawSubject(out, input, b);
  out.line();
  drawVerdict(out, input, explanation);
  const { reasons, reservations } = reasonsAndReservations(explanation);
  drawList(out, `Why${reasonTitle(input, explanation)}`, sentences(input.analysis, reasons));
  drawList(out, "What may join them all the same", sentences(input.analysis, reservations));
  if (input.analysis.rules !== "device-centric" && enlargedBy.length > 0) {
    drawList(
      out,
      "Why the hardware joins them all the same",
      sentences(input.analysis, enlargedBy),
    );
  }
  drawProof(out, input, explanation);
  drawChanges(out, input, explanation);
}

function reasonTitle(input: AnalysisInput, { same, a, b }: Explanation): string {
  const isGrouped = (bdf: Bdf): boolean => input.analysis.partition.groupOf.has(bdf);
  if (b === undefined) {
    if (same) return " it has company";
    return isGrouped(a) ? " it is alone" : " it has no group";
  }
  if (same) return " they share a group";
  if (isGrouped(a) && isGrouped(b)) return " they are in different groups";
  return isGrouped(a) || isGrouped(b) ? " one of them has no group" : " they have no group";
}

function drawSubject(out: Output, input: AnalysisInput, device: Bdf): void {
  const fn = input.fabric.function(device);
  if (fn === undefined) return;
  const place = placeOf(fn);
  const driver = fn.description.driver;
  const extras = [place, typeof driver === "string" ? `driver ${driver}` : undefined];
  const tail = extras.filter((extra) => extra !== undefined).join(", ");
  const text = `${describeDevice(fn)}${tail === "" ? "" : ` (${tail})`}`;
  out.line(labelled(formatBdf(device), 14, text, out.paint.bold));
}

function drawVerdict(out: Output, input: AnalysisInput, explanation: Explanation): void {
  const { analysis } = input;
  const { a, b, same, enlargedBy } = explanation;
  const group = analysis.partition.groupOf.get(a);
  if (b === undefined) {
    drawMembers(out, input, a, same);
  } else if (same) {
    out.line(`${analysis.rules}: ${out.paint.yellow("one group")} (${group}).`);
  } else {
    out.line(
      `${analysis.rules}: ${separateVerdict(out, analysis.partition.groupOf, explanation, b)}.`,
    );
  }
  if (analysis.rules !== "device-centric" && enlargedBy.length > 0) {
    const text =
      b === undefined
        ? "device-centric: its group is larger than that. The fabric routes between members " +
          "that Linux separates."
        : "device-centric: ONE isolation group. Linux separates them, the fabric does not: see " +
          "the transaction below.";
    out.line(out.paint.red(wrap(text, 2)));
  }
  const must = mustShare(input, explanation);
  if (must !== undefined) out.line(wrap(must, 2));
}

function separateVerdict(
  out: Output,
  groupOf: ReadonlyMap<Bdf, number>,
  { a, because }: Explanation,
  b: Bdf,
): string {
  const [one, other] = [groupOf.get(a), groupOf.get(b)];
  if (one !== undefined && other !== undefined) {
    const text = `different groups (${one} and ${other})`;
    if (!isGuess(because)) return out.paint.green(text);
    return out.paint.yellow(`${text}, as far as the capture shows`);
  }
  if (one === undefined && other === undefined) return out.paint.yellow("both in no group");
  const [outside, id] = one === undefined ? [a, other] : [b, one];
  return out.paint.yellow(`${formatBdf(outside)} is in no group, the other in group ${id}`);
}

function drawMembers(out: Output, input: AnalysisInput, a: Bdf, same: boolean): void {
  const { analysis } = input;
  const id = analysis.partition.groupOf.get(a);
  if (id === undefined) {
    out.line(`${analysis.rules}: ${out.paint.yellow("in no group")}.`);
    return;
  }
  if (!same) {
    out.line(`${analysis.rules}: ${out.paint.green(`alone in group ${id}`)}.`);
    return;
  }
  const members = membersOf(analysis.partition, a);
  out.line(`${analysis.rules}: group ${id}, ${members.length} functions:`);
  for (const member of members.slice(0, MEMBERS_SHOWN)) {
    const fn = input.fabric.function(member);
    out.line(labelled(`  ${formatBdf(member)}`, 16, fn === undefined ? "" : describeDevice(fn)));
  }
  if (members.length > MEMBERS_SHOWN) out.line(`  … and ${members.length - MEMBERS_SHOWN} more`);
}

/** The bridges above one of them are not known. */
function isGuess(because: readonly Evidence[]): boolean {
  return because.some((e) => e.kind === "topology-unknown");
}

/** Alias sets decide address spaces; groups do not. */
function mustShare(input: AnalysisInput, { a, b, because }: Explanation): string | undefined {
  const { analysis } = input;
  const share = analysis.deviceReport(a)?.mustShare;
  if (share === undefined) return undefined;
  // Without an IOMMU in front there is no address space to share or to have.
  const named = b === undefined ? [a] : [a, b];
  if (named.some((bdf) => !analysis.partition.groupOf.has(bdf))) return undefined;
  if (isGuess(because) && !share.value) return undefined;
  if (b !== undefined && share.with.includes(b)) {
    return "They must use the same address space: the IOMMU cannot tell their requests apart.";
  }
  if (b === undefined && share.value) {
    const others = share.with.slice(0, 4).map(formatBdf).join(", ");
    return (
      `It must share an address space with ${others}: the IOMMU cannot tell their ` +
      "requests apart."
    );
  }
  if (b !== undefined) return "The IOMMU tells them apart: each may have its own address space.";
  return "It may have an address space of its own.";
}

function drawList(out: Output, title: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  out.line();
  out.line(out.paint.bold(title));
  for (const [index, text] of lines.entries()) out.line(wrap(`${index + 1}. ${text}`, 5, 2));
}

function drawProof(out: Output, input: AnalysisInput, explanation: Explanation): void {
  const proof = proveJoin(input.analysis, explanation.enlargingJoins, explanation.a, explanation.b);
  if (proof === undefined) return;
  out.line();
  out.line(out.paint.bold("The transaction"));
  out.line(wrap(proof.title, 2, 2));
  for (const [index, step] of proof.steps.entries()) {
    out.line(wrap(`${index + 1}. ${step}`, 5, 2));
  }
  out.line(out.paint.red(wrap(proof.outcome, 2, 2)));
}

function drawChanges(out: Output, input: AnalysisInput, explanation: Explanation): void {
  const evidence: Evidence[] = [...(explanation.same ? explanation.because : [])];
  evidence.push(...explanation.enlargedBy);
  const ungrouped = input.analysis.partition.ungrouped.some((u) => u.device === explanation.a);
  if (ungrouped) evidence.push(...explanation.because);
  else evidence.push(...explanation.because.filter((e) => e.kind === "topology-unknown"));
  const advice = changes(input.analysis, evidence);
  if (advice.length === 0) return;
  out.line();
  out.line(out.paint.bold("What would change it"));
  for (const text of advice.slice(0, 6)) out.line(wrap(`- ${text}`, 4, 2));
}
