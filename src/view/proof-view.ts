/** A routed transaction as sentences: who sends what, each hop with its reason, where it ends. */
import type { Analysis, Join, TransactionProof } from "../isolation/index.js";
import { ROUTE_REASONS, type Route } from "../pcie/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import { callDevice } from "./device-name.js";
import { capital } from "./evidence-text.js";

export interface ProofText {
  readonly title: string;
  /** One sentence per hop. */
  readonly steps: readonly string[];
  readonly outcome: string;
}

/**
 * A transaction between the two devices of a question, in either direction, else one that shows the
 * first of
 * `joins` for which there is any. Undefined when nothing can be shown (unassigned BARs, no certain
 * path).
 */
export function proveJoin(
  analysis: Analysis,
  joins: readonly Join[],
  a: Bdf,
  b: Bdf | undefined,
): ProofText | undefined {
  if (b !== undefined) {
    const direct = analysis.proofBetween(a, b) ?? analysis.proofBetween(b, a);
    if (direct !== undefined) return proofText(analysis, direct);
  }
  for (const join of joins) {
    const proof = analysis.proofOf(join);
    if (proof !== undefined) return proofText(analysis, proof);
  }
  return undefined;
}

/** A routed transaction in words: what is sent, each hop with its citation, where it arrives. */
export function proofText(analysis: Analysis, proof: TransactionProof): ProofText {
  const from = callDevice(analysis.fabric, proof.from.bdf);
  const to = callDevice(analysis.fabric, proof.to.bdf);
  const address = `0x${proof.address.toString(16)}`;
  return {
    title:
      `${capital(from)} sends a request to ${address}, an address of ` +
      `${formatBdf(proof.to.bdf)}:`,
    steps: hopSentences(analysis, proof.route),
    outcome: `It arrives at ${to}. The IOMMU never sees it.`,
  };
}

/** `root port 0000:00:01.0: sends the request (PCIe 6 § 2.2.6.2)`, one per hop. */
export function hopSentences(analysis: Analysis, route: Route): string[] {
  return route.hops.map((hop) => {
    const { states } = ROUTE_REASONS[hop.reason.kind];
    const bits = hop.bits.length === 0 ? "" : ` [${hop.bits.join(" ")}]`;
    const guess = hop.unknown ? " (assumed: the capture does not show it)" : "";
    return (
      `${capital(callDevice(analysis.fabric, hop.at.bdf))}: ${states}${bits}${guess}. ` +
      `${hop.reason.cite}`
    );
  });
}
