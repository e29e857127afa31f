/** `ioasis devices [DEVICE…]` */
import { eachDevice, reportsOf } from "../../view/index.js";
import { findDevices, readAnalysis } from "../analysis-input.js";
import { checkExit } from "../check.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, writeJsonList } from "../output.js";
import { drawDevice, drawDeviceTable } from "../render/devices.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const input = await readAnalysis(out, options);
  const only = args.length === 0 ? undefined : findDevices(input.fabric, args);
  if (options.json === true) {
    const devices = eachDevice(input.analysis, only);
    writeJsonList(out, { schema: "ioasis/devices/1" }, "devices", devices);
  } else if (only === undefined) drawDeviceTable(out, input, reportsOf(input.analysis));
  else for (const report of reportsOf(input.analysis, only)) drawDevice(out, input, report);
  return checkExit(out, input, options);
}
