/**
 * Plays as a trace file for Chrome's tracing page and Perfetto (the Trace Event format, JSON).
 *
 * There is no clock: every record takes one microsecond, so that order and nesting show. A play is
 * a process; steps are on its first thread, each device has one, and each IOMMU unit.
 */
import type { Play } from "../play/index.js";
import { namesOf, outcomeText, stepText } from "./play-view.js";
import { traceLine } from "./trace-text.js";

export interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, string>>;
}

/** The content of a trace file. */
export function chromeTrace(plays: readonly Play[]): { readonly traceEvents: TraceEvent[] } {
  const events: TraceEvent[] = [];
  plays.forEach((play, i) => {
    tracePlay(play, i + 1, events);
  });
  return { traceEvents: events };
}

function tracePlay(play: Play, pid: number, events: TraceEvent[]): void {
  const names = namesOf(play);
  const threads = new Map<string, number>();
  const thread = (name: string): number => {
    const found = threads.get(name);
    if (found !== undefined) return found;
    const tid = threads.size + 1;
    threads.set(name, tid);
    events.push({ name: "thread_name", ph: "M", pid, tid, ts: 0, args: { name } });
    return tid;
  };
  const title = `${play.scenario.name} (${play.platform}, ${play.rules})`;
  events.push({ name: "process_name", ph: "M", pid, tid: 0, ts: 0, args: { name: title } });
  const steps = thread("steps");
  let now = 0;
  for (const played of play.steps) {
    const start = now;
    let device = "software";
    let began = now;
    for (const record of played.trace) {
      if (record.kind === "request") {
        device = names.device(record.from);
        began = now;
      }
      const onUnit = record.kind === "entry" || record.kind === "translated";
      const tid = thread(onUnit ? record.unit : device);
      events.push({ name: traceLine(record, names).text, ph: "X", pid, tid, ts: now++, dur: 1 });
      if (record.kind !== "delivered") continue;
      const name = traceLine(record, names).text;
      events.push({ name, ph: "X", pid, tid: thread(device), ts: began, dur: now - began });
    }
    now++;
    const args = { outcome: outcomeText(played.outcome) };
    const name = stepText(played);
    events.push({ name, ph: "X", pid, tid: steps, ts: start, dur: now - start, args });
  }
}
