/** `ioasis devices [DEVICE…]` */
import { devicesPayload, reportsOf } from "../../view/index.js";
import { findDevices, readAnalysis } from "../analysis-input.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, writeJson } from "../output.js";
import { drawDevice, drawDeviceTable } from "../render/devices.js";

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const input = await readAnalysis(out, options);
  const only = args.length === 0 ? undefined : findDevices(input.fabric, args);
  if (options.json === true) writeJson(out, devicesPayload(input.analysis, only));
  else if (only === undefined) drawDeviceTable(out, input, reportsOf(input.analysis));
  else for (const report of reportsOf(input.analysis, only)) drawDevice(out, input, report);
  return 0;
}
