/** Compares what a step gave with what was expected. */
import { type Span, spanContains, spansOverlap } from "../units/index.js";
import type { ExpectationNode, OutcomeNode, SingleExpectation } from "./expectation-shape.js";
import type { StepOutcome } from "./outcome.js";

/** One thing that differs. */
export interface Mismatch {
  readonly field: string;
  readonly expected: string;
  readonly found: string;
}

/**
 * The expectation that holds under `rules` on `platform`: the most special one. Undefined: none was
 * written for these rules.
 */
export function expectationFor(
  node: ExpectationNode | undefined,
  rules: string,
  platform: string,
): SingleExpectation | undefined {
  if (node === undefined) return "ok";
  if (!(node instanceof Map)) return node as SingleExpectation;
  return node.get(`${rules}@${platform}`) ?? node.get(rules);
}

/** What differs; empty when the step gave what was expected. */
export function compare(expected: SingleExpectation, found: StepOutcome): readonly Mismatch[] {
  const outcome: OutcomeNode =
    expected === "ok" ? {} : typeof expected === "string" ? { errno: expected } : expected;
  const out: Mismatch[] = [];
  if ((outcome.errno ?? undefined) !== found.errno) {
    const reason = found.reason === undefined ? "" : ` (${found.reason})`;
    out.push(differs("errno", outcome.errno ?? "success", `${found.errno ?? "success"}${reason}`));
  }
  for (const [field, check] of Object.entries(CHECKS)) {
    const problem = check(outcome, found);
    if (problem !== undefined) out.push(differs(field, problem[0], problem[1]));
  }
  return out;
}

type Check = (
  expected: OutcomeNode,
  found: StepOutcome,
) => readonly [expected: unknown, found: unknown] | undefined;

const CHECKS: Readonly<Record<string, Check>> = {
  reason: ({ reason }, found) =>
    reason === undefined || found.reason?.includes(reason) === true
      ? undefined
      : [reason, found.reason],
  because: ({ because }, found) => {
    const kinds = new Set((found.evidence ?? []).map((e) => (e as { kind?: string }).kind));
    const missing = (because ?? []).filter((kind) => !kinds.has(kind));
    return missing.length === 0 ? undefined : [missing, [...kinds]];
  },
  lands: ({ lands }, found) => {
    if (lands === undefined) return undefined;
    const { page, offset } = lands;
    const at = found.lands;
    const same =
      at?.memory === lands.memory &&
      (page === undefined || page === at.page) &&
      (offset === undefined || offset === at.offset);
    return same ? undefined : [lands, at ?? whereInstead(found)];
  },
  peer: ({ peer }, found) =>
    peer === undefined || peer === found.peer ? undefined : [peer, whereInstead(found)],
  fault: ({ fault }, found) => {
    if (fault === undefined) return undefined;
    if (typeof fault === "boolean") {
      return fault === (found.fault !== undefined) ? undefined : [fault, whereInstead(found)];
    }
    return fault === found.fault ? undefined : [fault, whereInstead(found)];
  },
  lost: ({ lost }, found) =>
    lost === undefined || lost === found.lost ? undefined : [lost, whereInstead(found)],
  samePasidSpaceAs: ({ samePasidSpaceAs: other }, { pasidSpaceOf }) =>
    other === undefined || pasidSpaceOf?.includes(other) === true
      ? undefined
      : [other, pasidSpaceOf],
  ...same(
    "data",
    "reaches",
    "error",
    "waits",
    "unseen",
    "interrupt",
    "mustShare",
    "pasid",
    "pasids",
  ),
  ...same("exposed", "count", "device", "faultPasid", "unmapped"),
  ...same("viable", "containerSet"),
  ...numbers("at", "address"),
  ...sets("with", "group", "together"),
  ranges: ({ ranges }, found) => {
    if (ranges === undefined) return undefined;
    const wanted = ranges.map(spanOf);
    const same =
      wanted.length === found.ranges?.length &&
      wanted.every(
        (s, i) => s.first === found.ranges?.[i]?.first && s.last === found.ranges[i]?.last,
      );
    return same ? undefined : [wanted.map(showSpan), found.ranges?.map(showSpan)];
  },
  includes: ({ includes }, found) => {
    const missing = (includes ?? [])
      .map(spanOf)
      .filter((span) => found.ranges?.some((r) => spanContains(r, span)) !== true);
    return missing.length === 0 ? undefined : [missing.map(showSpan), found.ranges?.map(showSpan)];
  },
  excludes: ({ excludes }, found) => {
    const present = (excludes ?? [])
      .map(spanOf)
      .filter((span) => found.ranges?.some((r) => spansOverlap(r, span)) === true);
    return present.length === 0
      ? undefined
      : [`none of ${present.map(showSpan)}`, found.ranges?.map(showSpan)];
  },
};

type Plain = Exclude<keyof OutcomeNode & keyof StepOutcome, "lands" | "ranges">;

function same(...fields: readonly Plain[]): Record<string, Check> {
  return Object.fromEntries(
    fields.map((field): [string, Check] => [
      field,
      (expected, found) =>
        expected[field] === undefined || expected[field] === found[field]
          ? undefined
          : [expected[field], found[field] ?? whereInstead(found)],
    ]),
  );
}

function numbers(...fields: readonly ("at" | "address")[]): Record<string, Check> {
  return Object.fromEntries(
    fields.map((field): [string, Check] => [
      field,
      (expected, found) => {
        const wanted = expected[field];
        if (wanted === undefined || BigInt(wanted) === found[field]) return undefined;
        return [`0x${BigInt(wanted).toString(16)}`, `0x${found[field]?.toString(16) ?? "?"}`];
      },
    ]),
  );
}

function sets(...fields: readonly ("with" | "group" | "together")[]): Record<string, Check> {
  return Object.fromEntries(
    fields.map((field): [string, Check] => [
      field,
      (expected, found) => {
        const wanted = expected[field];
        if (wanted === undefined) return undefined;
        const have = new Set<unknown>(found[field] ?? []);
        const equal = wanted.length === have.size && wanted.every((name) => have.has(name));
        return equal ? undefined : [wanted, [...have]];
      },
    ]),
  );
}

/** Where a transaction ended, when it did not end where it should. */
function whereInstead(found: StepOutcome): string {
  if (found.errno !== undefined) return `${found.errno}: ${found.reason}`;
  if (found.lands !== undefined) {
    return `lands in ${found.lands.memory}, page ${found.lands.page}`;
  }
  if (found.peer !== undefined) return `reaches ${found.peer}`;
  if (found.fault !== undefined) return `fault ${found.fault}`;
  if (found.lost !== undefined) return `lost: ${found.lost}`;
  if (found.error !== undefined && found.error !== "None") return `error ${found.error}`;
  return "nothing of the kind";
}

function spanOf(pair: readonly (number | string)[]): Span {
  return { first: BigInt(pair[0] ?? 0), last: BigInt(pair[1] ?? 0) };
}

function showSpan({ first, last }: Span): string {
  return `0x${first.toString(16)}-0x${last.toString(16)}`;
}

function differs(field: string, expected: unknown, found: unknown): Mismatch {
  return { field, expected: show(expected), found: show(found) };
}

function show(value: unknown): string {
  if (typeof value === "string") return value;
  return JSON.stringify(value) ?? "nothing";
}
