/** From a platform file to its kernel. */
import { randomFillSync } from "node:crypto";
import { PlatformKernel, SystemDeviceFiles } from "../../door/index.js";
import type { Call } from "../../files/index.js";
import { readPlatformFile } from "../../host/io/platform-file.io.js";
import { serveWhy } from "../../iommufd/index.js";
import { type BuiltPlatform, buildPlatform } from "../../platform/index.js";
import { type Bdf, formatBdf, InputError, parseBdf } from "../../units/index.js";
import { refusalLines } from "../../view/index.js";
import type { EngineKernel } from "../engine/kernel-port.js";
import type { DeviceMemories } from "../memory/device-memory.io.js";
import { DaemonError } from "../place/daemon-error.js";
import type { EngineThreadData } from "../run/engine-options.js";
import { trapText } from "./trap-text.js";

/** What the engine runs, and what people are told about it. */
export interface OpenedPlatform {
  readonly kernel: EngineKernel & PlatformKernel;
  readonly rules: string;
}

/**
 * Reads and builds a platform.
 * @param told of calls that Linux lets pass without a word (`strict`).
 * @throws InputError when the file is no platform, UapiError when its IOMMUs cannot be set up.
 */
export async function openPlatform(
  data: EngineThreadData,
  told: (text: string) => void,
): Promise<(memories: DeviceMemories) => OpenedPlatform> {
  const platform = await builtPlatform(data.platform);
  return (memories) => {
    const made = new PlatformKernel(platform, {
      rules: data.rules,
      bind: data.bind === undefined ? undefined : boundAtStart(data.bind),
      files: (kernel) =>
        new SystemDeviceFiles(kernel.system, {
          memory: memories,
          fillRandom: (bytes) => randomFillSync(bytes),
          iommufd: {
            memory: memories,
            sentence,
            refusals: kernel.refusals,
            strict: data.strict,
            onTrap: (trap) => told(trapText(trap)),
          },
        }),
    });
    const kernel = Object.assign(made, {
      memory: made.system.machine.memory,
      why: (call: Call, argument: bigint) =>
        serveWhy({ refusals: made.refusals, sentence }, call, argument),
    });
    return { kernel, rules: made.system.rules };
  };
}

const sentence = (evidence: object): string => refusalLines([evidence], formatBdf)[0] ?? "";

/** What reads captures is loaded only for a platform that starts from one: it is large. */
async function builtPlatform(file: string): Promise<BuiltPlatform> {
  const description = await readPlatformFile(file);
  if (description.node.from === undefined) return buildPlatform(description);
  const { loadPlatform } = await import("../../host/io/scenario-file.io.js");
  const { platform } = await loadPlatform(file);
  checkHardware(file, platform);
  return platform;
}

/**
 * A capture may show groups and no table of the units that made them, or units that have no model.
 * @throws InputError, with what the platform file may say.
 */
function checkHardware(file: string, { iommu, facts }: BuiltPlatform): void {
  if (iommu !== undefined || facts.dmar !== undefined || facts.iommuInUse === false) return;
  const other =
    (facts.ivrs && "AMD's") || (facts.iort && "Arm's SMMU") || (facts.viot && "virtio's");
  const found =
    other === undefined
      ? "the capture does not show which IOMMU the host has (no DMAR table)"
      : `the host's IOMMU is ${other}, of which there is no model`;
  const remedy =
    "iommu: { kind: intel } in this file for Intel's IOMMU in its place, or { kind: none }";
  throw new InputError(found, { file, field: "iommu" }, remedy);
}

function boundAtStart(names: readonly string[]): "unclaimed" | "all" | "none" | Bdf[] {
  const [only] = names;
  if (names.length === 1 && (only === "unclaimed" || only === "all" || only === "none")) {
    return only;
  }
  return names.map((text) => {
    const bdf = parseBdf(text);
    if (bdf !== undefined) return bdf;
    throw new DaemonError(`--bind ${text}: an address of a function, or all, none, unclaimed`);
  });
}
