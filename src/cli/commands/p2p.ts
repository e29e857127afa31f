/** `ioasis p2p [DEVICE…]` */
import { eachPair, p2pPayload } from "../../view/index.js";
import { findDevices, readAnalysis } from "../analysis-input.js";
import { checkExit } from "../check.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, writeJsonList } from "../output.js";
import { drawMatrix, drawReach } from "../render/p2p.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const input = await readAnalysis(out, options);
  const only = args.length === 0 ? undefined : findDevices(input.fabric, args);
  if (options.json === true) {
    const head = { schema: "ioasis/p2p/1", edges: input.analysis.p2p.edges };
    writeJsonList(out, head, "pairs", eachPair(input.analysis, only));
  } else if (only === undefined || only.length === 1) drawReach(out, input, only);
  else drawMatrix(out, input, p2pPayload(input.analysis, only), only);
  return checkExit(out, input, options);
}
