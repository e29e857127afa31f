/**
 * `ioasis capture`: this host, or another capture, as one file that holds everything the analysis
 * uses.
 */
import { redactCapture, SHELL_CAPTURE, writeCaptureFile } from "../../host/index.js";
import { hostName } from "../../host/io/collect.io.js";
import { loadCapture } from "../../host/io/load.io.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError } from "../output.js";
import { VERSION } from "../version.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  if (args.length > 0) throw new UsageError(`capture takes no operand: ${args.join(" ")}`);
  if (options.shell === true) {
    out.line(SHELL_CAPTURE);
    return 0;
  }
  const sources = options.from ?? [];
  const loaded = await loadCapture(sources);
  const redacted = options.redact === true;
  const secrets = sources.length === 0 ? [hostName()] : [];
  const whole = redacted ? redactCapture(loaded, { secrets }) : loaded;
  out.line(writeCaptureFile(whole, { toolVersion: VERSION, redacted }).trimEnd());
  for (const note of whole.notes) {
    if (note.severity !== "info") out.note(`ioasis: ${note.severity}: ${note.text}`);
  }
  return 0;
}
