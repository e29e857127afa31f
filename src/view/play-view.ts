/**
 * Plays as data and words: contract `ioasis/play/1`, what each step did, where rule sets differ.
 */
import type { TraceRecord } from "../machine/index.js";
import type { Play, PlayedStep, StepOutcome } from "../play/index.js";
import { formatBdf, formatRid } from "../units/index.js";
import { type TraceNames, traceLine } from "./trace-text.js";

export interface PlayPayload {
  readonly schema: "ioasis/play/1";
  readonly plays: readonly PlayJson[];
  readonly differences: readonly PlayDifference[];
}

export interface PlayJson {
  readonly file: string;
  readonly scenario: string;
  readonly platform: string;
  readonly rules: string;
  readonly ok: boolean;
  readonly steps: readonly StepJson[];
}

export interface StepJson {
  readonly line: number | null;
  readonly action: string;
  readonly text: string;
  readonly outcome: string;
  readonly ok: boolean;
  readonly mismatches: PlayedStep["mismatches"];
  readonly broken: PlayedStep["broken"];
  readonly trace: readonly object[];
}

/** A step that gives different things under different rule sets. */
export interface PlayDifference {
  readonly scenario: string;
  readonly platform: string;
  readonly step: string;
  /** Rule set → what it gives. */
  readonly outcomes: Readonly<Record<string, string>>;
}

/** What a play calls its devices and memory. */
export function namesOf(play: Play): TraceNames {
  const { session } = play;
  return {
    device: (bdf) => session.nameOf(bdf),
    memory: (address) => {
      const place = session.world.process.placeOf(Number(address >> 12n));
      if (place === undefined) return undefined;
      return `${place.buffer.name}, page ${place.page}`;
    },
  };
}

/** `attach: device a, to two, pasid 5` */
export function stepText(played: PlayedStep): string {
  const { action, node } = played.step;
  return `${action}: ${argumentText(node[action])}`;
}

function argumentText(value: unknown): string {
  if (Array.isArray(value)) return value.map(argumentText).join(" ");
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([key, v]) => (v === true ? key : `${key} ${quoted(v, key)}`))
      .join(", ");
  }
  return String(value);
}

const ADDRESSES: ReadonlySet<string> = new Set(["at", "to", "first", "last", "offset", "parent"]);

function quoted(value: unknown, key: string): string {
  if (typeof value === "number" && ADDRESSES.has(key)) return `0x${value.toString(16)}`;
  if (key === "write") return JSON.stringify(value);
  return argumentText(value);
}

/** What a step gave, in one line. */
export function outcomeText(outcome: StepOutcome): string {
  if (outcome.errno !== undefined) return `${outcome.errno}: ${outcome.reason}`;
  const parts: string[] = [];
  const say = (text: string | undefined) => text !== undefined && parts.push(text);
  if (outcome.lands !== undefined) {
    const { memory, page, offset } = outcome.lands;
    say(`lands in ${memory}, page ${page}${offset > 0 ? ` + ${offset}` : ""}`);
  }
  say(outcome.peer && `reaches ${outcome.peer}; no map of its owner was asked`);
  say(outcome.fault && `fault: ${outcome.fault}`);
  say(outcome.lost && `lost: ${outcome.lost}`);
  say(outcome.interrupt === true ? "interrupt delivered" : undefined);
  say(outcome.waits === true ? "waits for a page" : undefined);
  say(outcome.data === undefined ? undefined : `reads ${JSON.stringify(outcome.data)}`);
  say(outcome.at === undefined ? undefined : `at 0x${outcome.at.toString(16)}`);
  say(reportText(outcome));
  say(outcome.together && `${outcome.together.join(", ")} in one group`);
  say(outcome.ranges && outcome.mustShare === undefined ? rangesText(outcome) : undefined);
  say(faultText(outcome));
  say(legacyText(outcome));
  return parts.length === 0 ? "ok" : parts.join("; ");
}

function reportText(outcome: StepOutcome): string | undefined {
  if (outcome.mustShare === undefined) return undefined;
  const share = outcome.mustShare
    ? `must share with ${outcome.with?.join(", ")}`
    : "need not share";
  const group = `group ${outcome.group?.join(", ")}`;
  const pasid = outcome.pasid === true ? "PASIDs" : "no PASIDs without a policy";
  return `${share}; ${group}; ${pasid}${outcome.exposed === true ? "; exposed to peers" : ""}`;
}

function rangesText(outcome: StepOutcome): string {
  const shown = (outcome.ranges ?? []).slice(0, 4);
  return shown.map((r) => `0x${r.first.toString(16)}-0x${r.last.toString(16)}`).join(", ");
}

function faultText(outcome: StepOutcome): string | undefined {
  if (outcome.device === undefined || outcome.address === undefined) return undefined;
  const pasid = outcome.faultPasid === undefined ? "" : `, PASID ${outcome.faultPasid}`;
  return `${outcome.device} wants 0x${outcome.address.toString(16)}${pasid}`;
}

function legacyText({ viable, containerSet }: StepOutcome): string | undefined {
  if (viable === undefined) return undefined;
  const where = containerSet === true ? ", in a container" : "";
  return `${viable ? "viable" : "not viable"}${where}`;
}

/** Everything as JSON. */
export function playPayload(plays: readonly Play[]): PlayPayload {
  return {
    schema: "ioasis/play/1",
    plays: plays.map((play) => ({
      file: play.scenario.file,
      scenario: play.scenario.name,
      platform: play.platform,
      rules: play.rules,
      ok: play.ok,
      steps: play.steps.map((played) => stepJson(play, played)),
    })),
    differences: differences(plays),
  };
}

function stepJson(play: Play, played: PlayedStep): StepJson {
  const names = namesOf(play);
  return {
    line: played.step.line ?? null,
    action: played.step.action,
    text: stepText(played),
    outcome: outcomeText(played.outcome),
    ok: played.mismatches.length === 0 && played.broken.length === 0,
    mismatches: played.mismatches,
    broken: played.broken,
    trace: played.trace.map((record) => ({
      ...recordJson(record),
      text: traceLine(record, names).text,
    })),
  };
}

/** Addresses become hex strings, functions their addresses. */
function recordJson(record: TraceRecord): object {
  if (record.kind === "hop") {
    const { at, decision, reason, bits } = record.hop;
    return { kind: "hop", at: formatBdf(at.bdf), decision, reason: reason.kind, bits };
  }
  return plain(record) as object;
}

const BDFS: ReadonlySet<string> = new Set(["from", "device", "at"]);

function plain(value: unknown, key = ""): unknown {
  if (typeof value === "bigint") return `0x${value.toString(16)}`;
  if (typeof value === "number" && BDFS.has(key)) return formatBdf(value as never);
  if (typeof value === "number" && key === "requester") return formatRid(value as never);
  if (Array.isArray(value)) return value.map((v) => plain(v));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v, k)]));
}

/** Steps of one scenario on one platform that give different things under different rules. */
export function differences(plays: readonly Play[]): readonly PlayDifference[] {
  const byPlatform = new Map<string, Play[]>();
  for (const play of plays) {
    const key = `${play.scenario.file} ${play.platform}`;
    const list = byPlatform.get(key);
    if (list === undefined) byPlatform.set(key, [play]);
    else list.push(play);
  }
  const out: PlayDifference[] = [];
  for (const group of byPlatform.values()) if (group.length > 1) collect(group, out);
  return out;
}

function collect(group: readonly Play[], out: PlayDifference[]): void {
  const [first] = group;
  if (first === undefined) return;
  for (const step of first.scenario.steps) {
    const found = group.map(
      (play) => [play.rules, play.steps.find((s) => s.step.index === step.index)] as const,
    );
    const present = found.flatMap(([rules, played]) =>
      played === undefined ? [] : [[rules, outcomeText(played.outcome)] as const],
    );
    if (present.length < 2 || new Set(present.map(([, text]) => text)).size === 1) continue;
    const sample = found.find(([, played]) => played !== undefined)?.[1];
    if (sample === undefined) continue;
    out.push({
      scenario: first.scenario.name,
      platform: first.platform,
      step: stepText(sample),
      outcomes: Object.fromEntries(present),
    });
  }
}
