/**
 * Booted samples as tests see them: functions and facts without any group, and the kernel's groups
 * apart.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { linesOf, parseLspci } from "../../src/host/index.js";
import type { HostFacts } from "../../src/isolation/index.js";
import { CONFIG_SIZE, ConfigSpace, type FunctionDescription } from "../../src/pcie/index.js";
import { type Bdf, formatBdf, parseBdf } from "../../src/units/index.js";
import { decodeDmar, decodeIvrs, decodeViot } from "./acpi-decode.js";
import { readDump } from "./dump.js";
import { sharedFolder } from "./shared.js";

export interface BootedSample {
  readonly name: string;
  readonly kernel: string;
  readonly functions: readonly FunctionDescription[];
  readonly facts: HostFacts;
  /** The kernel's groups; members sorted, groups by lowest member. */
  readonly recorded: readonly (readonly Bdf[])[];
}

/** Samples beside the repository; none when there is no shared folder. */
export function bootedSamples(): BootedSample[] {
  const shared = sharedFolder();
  return shared === undefined ? [] : samplesIn(join(shared, "groundtruth"));
}

/** Samples that ship with the repository. */
export function shippedSamples(): BootedSample[] {
  // dist/test/support → repository root
  return samplesIn(fileURLToPath(new URL("../../../test/fixtures/ground-truth", import.meta.url)));
}

function samplesIn(folder: string): BootedSample[] {
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, "groups.txt")))
    .sort()
    .map((name) => readSample(join(folder, name), name));
}

function readSample(folder: string, name: string): BootedSample {
  const text = (file: string) => readFileSync(join(folder, file), "utf8");
  const table = (file: string) =>
    existsSync(join(folder, file)) ? Buffer.from(text(file), "base64") : undefined;
  const devices = new Map(
    [...text("devices.txt").matchAll(/^DEV (\S+) (.*)$/gm)].map((m) => [
      m[1] as string,
      m[2] as string,
    ]),
  );
  // Shipped listings are decoded text, with bytes for some: only the product's parser reads those.
  const dump = existsSync(join(folder, "lspci.txt"))
    ? parseLspci(linesOf(text("lspci.txt"), "lspci.txt")).flatMap((part) => part.functions ?? [])
    : readDump(text("lspci-vvvxxxx.txt"));
  const functions = dump.map((fn): FunctionDescription => {
    const line = devices.get(formatBdf(fn.bdf)) ?? "";
    const value = (key: string) => new RegExp(`(?:^| )${key}=(\\S*)`).exec(line)?.[1] ?? "";
    const driver = value("driver");
    const physfn = parseBdf(value("physfn"));
    return {
      bdf: fn.bdf,
      config: whole(fn.config),
      ...("headerType" in fn ? { headerType: fn.headerType } : {}),
      driver: driver === "-" ? null : driver,
      ids: { vendor: Number(value("vendor")), device: Number(value("device")) },
      ...(physfn === undefined ? {} : { physfn }),
    };
  });
  const [dmar, ivrs, viot] = [table("dmar.b64"), table("ivrs.b64"), table("viot.b64")];
  const off = /DMAR: IOMMU disabled/.test(text("dmesg.txt"));
  return {
    name,
    kernel: text("kernel.txt").split("\n")[0] ?? "",
    functions,
    facts: {
      kernel: text("kernel.txt").split("\n")[0],
      architecture: "x86",
      commandLine: text("cmdline.txt").trim(),
      firmware: "acpi",
      ...(off ? { iommuInUse: false } : {}),
      ...(dmar === undefined ? {} : { dmar: decodeDmar(dmar) }),
      ...(ivrs === undefined ? {} : { ivrs: decodeIvrs(ivrs) }),
      ...(viot === undefined ? {} : { viot: decodeViot(viot) }),
    },
    recorded: recordedGroups(text("groups.txt")),
  };
}

/**
 * Dumps that ship with the repository leave out the zeros that end configuration space beyond 256
 * bytes.
 */
function whole(config: ConfigSpace): ConfigSpace {
  if (config.extent !== 256 || !config.isKnown(0, 256)) return config;
  const bytes = new Uint8Array(CONFIG_SIZE);
  bytes.set(config.bytes);
  return ConfigSpace.fromDump(bytes);
}

export function recordedGroups(text: string): Bdf[][] {
  const groups = new Map<string, Bdf[]>();
  for (const m of text.matchAll(/^GROUP (\d+) (\S+)$/gm)) {
    const id = m[1] as string;
    const bdf = parseBdf(m[2] as string);
    if (bdf !== undefined) groups.set(id, [...(groups.get(id) ?? []), bdf]);
  }
  const sorted = [...groups.values()].map((g) => g.sort((a, b) => a - b));
  return sorted.sort((a, b) => (a[0] as number) - (b[0] as number));
}
