/** Why a call of the object layer was refused: a line for each piece of evidence. */
import type { Evidence } from "../isolation/index.js";
import { type Bdf, formatSpan, type Span } from "../units/index.js";
import { evidenceWords, isEvidence } from "./evidence-text.js";

/** Fields that hold devices. */
const DEVICES: ReadonlySet<string> = new Set(["at", "with"]);

/**
 * Sentences where the evidence is of the analysis; the others show their fields by name.
 * @param nameOf what the reader calls a device.
 */
export function refusalLines(
  evidence: readonly object[],
  nameOf: (bdf: Bdf) => string,
): readonly string[] {
  return evidence.map((e) => (isSentence(e) ? evidenceWords(e, nameOf) : fieldsText(e, nameOf)));
}

function isSentence(e: object): e is Evidence {
  if (!isEvidence(e)) return false;
  return typeof e.at === "number" && !Array.isArray(e.with);
}

function fieldsText(e: object, nameOf: (bdf: Bdf) => string): string {
  const { kind, cite, ...rest } = e as { kind?: string; cite?: string };
  const facts = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key} ${fieldText(key, value, nameOf)}`)
    .join(", ");
  return `${kind ?? "because"}${facts === "" ? "" : `: ${facts}`}${cite ? ` (${cite})` : ""}`;
}

function fieldText(key: string, value: unknown, nameOf: (bdf: Bdf) => string): string {
  if (Array.isArray(value)) return value.map((v) => fieldText(key, v, nameOf)).join(", ");
  if (DEVICES.has(key) && typeof value === "number") return nameOf(value as Bdf);
  if (typeof value === "string") return value;
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
