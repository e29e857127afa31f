/** `ioasis pasid [DEVICE…]` */
import { pasidPayload, reportsOf } from "../../view/index.js";
import { findDevices, readAnalysis } from "../analysis-input.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, writeJson } from "../output.js";
import { drawPasid } from "../render/pasid.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const input = await readAnalysis(out, options);
  const only = args.length === 0 ? undefined : findDevices(input.fabric, args);
  if (options.json === true) writeJson(out, pasidPayload(input.analysis, only));
  else drawPasid(out, input, reportsOf(input.analysis, only), only !== undefined);
  return 0;
}
