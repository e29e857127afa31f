/** `ioasis pasid [DEVICE…]` */
import { eachPasid, reportsOf } from "../../view/index.js";
import { findDevices, readAnalysis } from "../analysis-input.js";
import { checkExit } from "../check.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, writeJsonList } from "../output.js";
import { drawPasid } from "../render/pasid.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const input = await readAnalysis(out, options);
  const only = args.length === 0 ? undefined : findDevices(input.fabric, args);
  if (options.json === true) {
    const head = { schema: "ioasis/pasid/1", rules: input.analysis.rules };
    writeJsonList(out, head, "devices", eachPasid(input.analysis, only));
  } else drawPasid(out, input, reportsOf(input.analysis, only), only !== undefined);
  return checkExit(out, input, options);
}
