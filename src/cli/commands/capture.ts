/**
 * `ioasis capture`: this host, or another capture, as one file that holds everything the analysis
 * uses.
 */
import { writeCaptureFile } from "../../host/index.js";
import { loadCapture } from "../../host/io/index.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError } from "../output.js";
import { VERSION } from "../version.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  if (args.length > 0) throw new UsageError(`capture takes no operand: ${args.join(" ")}`);
  const sources = options.from ?? [];
  const whole = await loadCapture(sources);
  out.line(writeCaptureFile(whole, { toolVersion: VERSION, redacted: false }).trimEnd());
  for (const note of whole.notes) {
    if (note.severity !== "info") out.note(`ioasis: ${note.severity}: ${note.text}`);
  }
  return 0;
}
