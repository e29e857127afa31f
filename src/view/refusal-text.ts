/** Why a call of the object layer was refused: a line for each piece of evidence. */
import type { Evidence } from "../isolation/index.js";
import { type Bdf, formatSpan, type Span } from "../units/index.js";
import { evidenceWords, isEvidence } from "./evidence-text.js";
import { refusalSentence } from "./refusal-sentences.js";

/** Fields that many kinds have. */
interface Fields {
  readonly kind?: string;
  readonly cite?: string;
  readonly at?: Bdf;
  readonly with?: Bdf | readonly Bdf[];
}

/**
 * A sentence for each kind that is known; others show their fields by name.
 * @param nameOf what the reader calls a device.
 */
export function refusalLines(
  evidence: readonly object[],
  nameOf: (bdf: Bdf) => string,
): readonly string[] {
  return evidence.map((e) => lineOf(e, nameOf));
}

function lineOf(e: object, nameOf: (bdf: Bdf) => string): string {
  if (isSentence(e)) return evidenceWords(e, nameOf);
  const sentence = refusalSentence(e, nameOf);
  if (sentence === undefined) return fieldsText(e, nameOf);
  const { cite } = e as Fields;
  return cite === undefined ? sentence : `${sentence} (${cite})`;
}

function isSentence(e: object): e is Evidence {
  if (!isEvidence(e)) return false;
  return typeof e.at === "number" && !Array.isArray(e.with);
}

function fieldsText(e: object, nameOf: (bdf: Bdf) => string): string {
  const { kind, cite, at, with: others, ...rest } = e as Fields;
  const parts: string[] = [];
  if (at !== undefined) parts.push(`at ${nameOf(at)}`);
  if (others !== undefined) parts.push(`with ${[others].flat().map(nameOf).join(", ")}`);
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined) parts.push(`${key} ${fieldText(value)}`);
  }
  const facts = parts.length === 0 ? "" : `: ${parts.join(", ")}`;
  return `${kind ?? "because"}${facts}${cite === undefined ? "" : ` (${cite})`}`;
}

function fieldText(value: unknown): string {
  if (Array.isArray(value)) return value.map(fieldText).join(", ");
  if (typeof value === "string") return value;
  if (typeof value === "bigint") return `0x${value.toString(16)}`;
  if (isSpan(value)) return formatSpan(value);
  return JSON.stringify(value, (_key, v: unknown) =>
    typeof v === "bigint" ? `0x${v.toString(16)}` : v,
  );
}

function isSpan(value: unknown): value is Span {
  if (typeof value !== "object" || value === null) return false;
  const { first, last } = value as Partial<Span>;
  return typeof first === "bigint" && typeof last === "bigint";
}
