/** The text of `ioasis explain-dma`: the request, each hop, where it ends, and what follows. */
import { callDevice, capital, changes, type DmaExplanation, sentences } from "../../view/index.js";
import type { AnalysisInput } from "../analysis-input.js";
import type { Output } from "../output.js";
import { drawHeading } from "./heading.js";
import { drawClaims } from "./p2p.js";
import { wrap } from "./text.js";

export function drawDma(out: Output, input: AnalysisInput, explanation: DmaExplanation): void {
  drawHeading(out, input);
  const { question, steps, outcome, remarks, pasid } = explanation;
  const prefix = question.pasid === undefined ? "without PASID" : `with PASID ${question.pasid}`;
  const type = question.addressType.replace("-", " ");
  const what = `${question.access} at 0x${question.address.toString(16)} ${prefix}, ${type}`;
  out.line(wrap(`${capital(callDevice(input.fabric, question.device))} sends a ${what}:`));
  steps.forEach((step, i) => {
    out.line(wrap(`${i + 1}. ${step}`, 5, 2));
  });
  out.line(out.paint.bold(wrap(outcome)));
  for (const remark of remarks) out.line(wrap(`- ${remark}`, 4, 2));
  drawClaims(out, input, question.device);
  if (pasid === undefined || pasid.ok === true) return;
  out.line();
  const verdict = pasid.ok === null ? "It is not known" : "By default it is refused";
  out.line(out.paint.bold(`${verdict} that this device uses PASIDs`));
  for (const text of sentences(input.analysis, pasid.because)) out.line(wrap(`- ${text}`, 4, 2));
  for (const text of changes(input.analysis, pasid.because).slice(0, 3)) {
    out.line(out.paint.dim(wrap(`→ ${text}`, 4, 2)));
  }
}
