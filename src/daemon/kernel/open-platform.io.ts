/** From the name of a platform to its kernel. */
import { randomFillSync } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PlatformKernel } from "../../door/index.js";
import { loadPlatform } from "../../host/io/scenario-file.io.js";
import { type Bdf, parseBdf } from "../../units/index.js";
import type { EngineKernel } from "../engine/kernel-port.js";
import type { DeviceMemories } from "../memory/device-memory.io.js";
import { DaemonError } from "../place/daemon-error.js";
import type { EngineThreadData } from "../run/engine-options.js";
import { deviceFiles } from "./device-files.js";
import { openIommufd } from "./open-iommufd.js";

/** What the engine runs, and what people are told about it. */
export interface OpenedPlatform {
  readonly kernel: EngineKernel & PlatformKernel;
  readonly name: string;
  readonly rules: string;
}

/** The package's folder. */
export function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) return at;
    if (at === dirname(at)) throw new DaemonError("the package's folder cannot be found");
  }
}

/** The default: two engines behind a switch without ACS. */
export const DEFAULT_PLATFORM = "the-e-mail";

/**
 * Path of a platform file, given as a path or as the name of one that comes with the package.
 * @throws DaemonError.
 */
export function platformPath(given: string): string {
  if (existsSync(given)) return given;
  const shipped = join(packageRoot(), "examples", "platforms", `${given}.yaml`);
  if (!given.includes("/") && existsSync(shipped)) return shipped;
  throw new DaemonError(`no platform "${given}": neither a file nor the name of one that comes along`);
}

/** @throws InputError when the file is no platform, UapiError when its IOMMUs cannot be set up. */
export async function openPlatform(
  data: EngineThreadData,
): Promise<(memories: DeviceMemories) => OpenedPlatform> {
  const { name, platform } = await loadPlatform(data.platform);
  return (memories) => {
    const made = new PlatformKernel(platform, {
      rules: data.rules,
      bind: data.bind === undefined ? undefined : boundAtStart(data.bind),
      files: (kernel) =>
        deviceFiles(kernel, {
          memory: memories,
          fillRandom: (bytes) => randomFillSync(bytes),
          openIommufd: openIommufd(kernel, memories, data.strict),
        }),
    });
    const kernel = Object.assign(made, { memory: made.system.machine.memory });
    return { kernel, name, rules: made.system.rules };
  };
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
