/** `ioasis why [NAME]`: the last refusals of a running platform, and the facts behind each. */
import { askDaemon, type RefusalRecord } from "../../daemon/index.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, writeJson } from "../output.js";
import { daemonOf } from "./daemon-options.io.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const { folder } = daemonOf(args[0]);
  const refusals = (await askDaemon(folder, "why")) as RefusalRecord[];
  if (options.json === true) writeJson(out, { refusals });
  else if (refusals.length === 0) out.line("nothing was refused");
  else for (const refusal of refusals) drawRefusal(out, refusal);
  return 0;
}

/** One refusal in words. */
export function drawRefusal(out: Output, refusal: RefusalRecord): void {
  const { pid, tid, call, errno, rule, sentences, cite } = refusal;
  const thread = tid === pid ? "" : `, thread ${tid}`;
  out.line(`process ${pid}${thread}: ${call}: ${errno}`);
  out.line(`  ${rule}${cite === undefined ? "" : ` (${cite})`}`);
  for (const sentence of sentences) out.line(`  - ${sentence}`);
}
