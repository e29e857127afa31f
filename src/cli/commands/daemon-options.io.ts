/** What the commands about running platforms have in common. */
import { closeSync, openSync, writeSync } from "node:fs";
import {
  baseFolder,
  DEFAULT_PLATFORM,
  type FoundDaemon,
  type Grant,
  livingDaemons,
  platformPath,
  type RunningDaemon,
  type TraceRecord,
} from "../../daemon/index.js";
import { InputError } from "../../units/index.js";
import type { CommonOptions } from "../options.js";
import { UsageError } from "../output.js";

/** What `run` and `serve` start an engine with. @throws UsageError for a rule set or capability. */
export function engineOptions(options: CommonOptions): EngineOptions {
  return {
    platform: platformPath(options.platform ?? DEFAULT_PLATFORM),
    rules: engineRules(options),
    bind: options.bind,
    strict: options.strict === true,
    grants: grantsOf(options),
    trace: options.trace !== undefined,
  };
}

type EngineOptions = Omit<Parameters<typeof RunningDaemon.start>[0], "name" | "program">;

/** @throws UsageError for rules that an engine does not have. */
function engineRules(options: CommonOptions): "device-centric" | "linux-7.2" | undefined {
  const { rules } = options;
  if (rules === undefined || rules === "auto") return undefined;
  if (rules === "device-centric" || rules === "linux-7.2") return rules;
  throw new UsageError(`--rules ${rules}: a platform runs device-centric or linux-7.2`);
}

const GRANTS: readonly Grant[] = ["ipc_lock", "sys_rawio", "sys_resource"];

/** @throws UsageError for a capability that platforms do not look at. */
function grantsOf(options: CommonOptions): Grant[] {
  return (options.grant ?? []).map((text) => {
    const found = GRANTS.find((grant) => grant === text);
    if (found !== undefined) return found;
    throw new UsageError(`--grant ${text}: one of ${GRANTS.join(", ")}`);
  });
}

/** The daemon of a name; without one the only one that runs. @throws UsageError. */
export function daemonOf(name: string | undefined): FoundDaemon {
  const all = livingDaemons(baseFolder());
  if (name !== undefined) {
    const found = all.find(({ facts }) => facts.name === name);
    if (found === undefined) throw new UsageError(`no platform named "${name}" runs: ioasis ps`);
    return found;
  }
  const [only, second] = all;
  if (only === undefined) throw new UsageError("no platform runs");
  if (second !== undefined) throw new UsageError("several platforms run: name one (ioasis ps)");
  return only;
}

/** One event of a trace file for Perfetto and Chrome. */
export function traceEvent(record: TraceRecord): object {
  const { at, took, pid, tid, text, kind, result, rule } = record;
  const ts = Math.round(at * 1000);
  const dur = Math.max(1, Math.round(took * 1000));
  const isMachine = kind === "machine";
  const args = {
    ...(result === undefined ? {} : { result }),
    ...(rule === undefined ? {} : { rule }),
  };
  return { name: text, ph: "X", ts, dur, pid: isMachine ? 0 : pid, tid: isMachine ? 0 : tid, args };
}

/** Writes the events of a trace file. @returns ends it. @throws InputError. */
export function traceFile(path: string): {
  readonly add: (records: readonly TraceRecord[]) => void;
  readonly end: () => void;
} {
  let fd: number;
  try {
    fd = openSync(path, "w");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InputError(`cannot be written: ${why}`, { file: path });
  }
  const name = { name: "process_name", ph: "M", pid: 0, tid: 0, args: { name: "machine" } };
  writeSync(fd, `{"traceEvents":[\n${JSON.stringify(name)}`);
  return {
    add: (records) => {
      writeSync(fd, records.map((record) => `,\n${JSON.stringify(traceEvent(record))}`).join(""));
    },
    end: () => {
      writeSync(fd, "\n]}\n");
      closeSync(fd);
    },
  };
}

/** All that happens from now on. @returns ends the file. */
export function traceToFile(daemon: RunningDaemon, path: string): () => void {
  const file = traceFile(path);
  daemon.watch(file.add);
  return file.end;
}
