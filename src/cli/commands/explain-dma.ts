/** `ioasis explain-dma DEVICE --iova X [--pasid N]` */
import { PASID_LIMIT } from "../../units/index.js";
import { explainDma, explainDmaPayload } from "../../view/index.js";
import { findDevice, readAnalysis } from "../analysis-input.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError, writeJson } from "../output.js";
import { drawDma } from "../render/explain-dma.js";

const ADDRESS_TYPES = ["untranslated", "translation-request", "translated"] as const;

export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name === undefined || rest.length > 0) {
    throw new UsageError("explain-dma takes one device: ioasis explain-dma 03:00.0 --iova 0x1000");
  }
  const address = addressOf(options.iova);
  const pasid = pasidOf(options.pasid);
  const addressType = ADDRESS_TYPES.find((type) => type === options.addressType);
  if (addressType === undefined) {
    throw new UsageError(`--address-type: one of ${ADDRESS_TYPES.join(", ")}`);
  }
  const { platform, from = [] } = options;
  const sources = platform === undefined ? from : [platform, ...from];
  const input = await readAnalysis(out, { ...options, from: sources });
  // Platform files name their devices.
  const named = input.fabric.functions.find((fn) => fn.description.name === name);
  const device = named?.bdf ?? findDevice(input.fabric, name);
  const access = options.write === true ? "write" : "read";
  const explanation = explainDma(input.analysis, { device, address, pasid, access, addressType });
  if (options.json === true) writeJson(out, explainDmaPayload(explanation));
  else drawDma(out, input, explanation);
  return 0;
}

function addressOf(text: string | undefined): bigint {
  if (text === undefined) throw new UsageError("explain-dma needs --iova, like --iova 0x80104000");
  if (/^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(text)) {
    const value = BigInt(text);
    if (value < 1n << 64n) return value;
  }
  throw new UsageError(`--iova ${text}: no address; 0x0 to 0xffffffffffffffff`);
}

function pasidOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = /^(0x[0-9a-f]{1,5}|[0-9]{1,7})$/i.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value < PASID_LIMIT) return value;
  throw new UsageError(`--pasid ${text}: no PASID; 0 to ${PASID_LIMIT - 1}`);
}
