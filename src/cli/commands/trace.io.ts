/** `ioasis trace [NAME]`: what happens on a running platform, live, or into a file. */
import { followDaemon, type TraceRecord } from "../../daemon/index.js";
import type { CommonOptions } from "../options.js";
import type { ExitCode, Output } from "../output.js";
import { daemonOf, traceFile } from "./daemon-options.io.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const { folder } = daemonOf(args[0]);
  const file = options.perfetto === undefined ? undefined : traceFile(options.perfetto);
  const following = new AbortController();
  const stop = (): void => following.abort();
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.once(signal, stop);
  await followDaemon(
    folder,
    "trace",
    (value) => {
      const record = value as TraceRecord;
      if (file !== undefined) file.add([record]);
      else out.line(lineOf(record));
    },
    following.signal,
  );
  for (const signal of signals) process.off(signal, stop);
  file?.end();
  return 0;
}

/** A record as a line. */
export function lineOf({ at, took, kind, pid, tid, text, result, rule }: TraceRecord): string {
  const time = (at / 1000).toFixed(6);
  if (kind !== "call") return `${time} ${"  ".repeat(tid)}${text}`;
  const end = result === undefined ? "" : ` = ${result}`;
  const why = rule === undefined ? "" : ` (${rule})`;
  return `${time} [${pid}/${tid}] ${text}${end}${why}, ${(took * 1000).toFixed(1)} us`;
}
