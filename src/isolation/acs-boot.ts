/**
 * What the kernel switches on in ACS at boot: predicts control words for a host whose capture shows
 * the firmware's, because no IOMMU was in use when it was taken.
 *
 * Order: default bits (or the special registers of two Intel port families), then
 * `disable_acs_redir`, then `config_acs`. Without the firmware's word an option's result may not be
 * known.
 */
import { Acs, type PciFunction, PortType } from "../pcie/index.js";
import { type AcsOptions, parseAcsOptions, REDIRECT_BITS, selects } from "./acs-options.js";
import type { HostFacts } from "./host-facts.js";
import { hidesSourceValidation, isUntrusted } from "./quirks.js";
import { isPchRootPort, isSunrisePointRootPort } from "./quirks-acs.js";
import { identities } from "./quirks-ids.js";
import type { LinuxRules } from "./rules/index.js";

export interface BootAcs {
  /** The word after boot; undefined when it cannot be told. */
  readonly control: number | undefined;
  /**
   * Where it is: the control word at +6, the dword at +8 (Sunrise Point), or nowhere (older PCH
   * ports).
   */
  readonly register: "control" | "dword8" | "none";
  /** What made it so. */
  readonly by: "default" | "disable_acs_redir" | "config_acs" | "not-touched";
}

export const DEFAULT_ACS = Acs.SV | Acs.RR | Acs.CR | Acs.UF;

const NOT_TOUCHED: BootAcs = { control: undefined, register: "none", by: "not-touched" };

/**
 * @param firmware  the word before the kernel ran; undefined when not known
 * @param options   parsed once by the caller when it asks for many functions
 */
export function bootAcs(
  fn: PciFunction,
  facts: HostFacts,
  rules: LinuxRules,
  firmware: number | undefined,
  options: AcsOptions = parseAcsOptions(facts.commandLine),
): BootAcs {
  if (isOldPchRootPort(fn)) return NOT_TOUCHED;
  const { acs } = fn;
  if (acs === null || acs === undefined) return NOT_TOUCHED;
  if (missesDefault(fn, facts, rules)) {
    return { control: firmware, register: "control", by: "not-touched" };
  }
  const spt = isSunrisePointRootPort(fn);
  const register = spt ? "dword8" : "control";
  const capability = acs.capability;
  const wanted = defaultBits(fn, facts, rules, options);
  const added = capability === undefined ? undefined : capability & wanted;
  const normal = firmware === undefined || added === undefined ? undefined : firmware | added;
  const redirect = options.disableRedirect.some((s) => selects(s, fn) === true);
  const config = rules.configAcs
    ? options.config.find((c) => selects(c.selector, fn) === true)
    : undefined;
  if (spt && (redirect || config !== undefined)) {
    const by = redirect ? "disable_acs_redir" : "config_acs";
    return { control: clear(normal, REDIRECT_BITS), register, by };
  }
  if (config?.flags !== undefined) {
    const control = configured(firmware, config.flags.set, config.flags.clear);
    return { control, register, by: "config_acs" };
  }
  if (redirect) {
    const from = rules.disableAcsRedir === "keeps-kernel-bits" ? normal : firmware;
    return { control: clear(from, REDIRECT_BITS), register, by: "disable_acs_redir" };
  }
  return { control: normal, register, by: "default" };
}

/**
 * Device-tree hosts ask for ACS with the first device that is configured. Kernels that set it at
 * enumeration are then done with the first hierarchy, which is the one of segment 0.
 */
function missesDefault(fn: PciFunction, facts: HostFacts, rules: LinuxRules): boolean {
  const late = facts.firmware === "device-tree" && rules.deviceTreeMissesFirstHierarchy;
  return late && fn.segment === 0;
}

function defaultBits(
  fn: PciFunction,
  facts: HostFacts,
  rules: LinuxRules,
  options: AcsOptions,
): number {
  const outside =
    fn.description.externalFacing === true ||
    isUntrusted(fn, facts.architecture === "x86") === true;
  const bits = options.noAts || outside ? DEFAULT_ACS | Acs.TB : DEFAULT_ACS;
  return hidesSourceValidation(fn, rules.name) ? bits & ~Acs.SV : bits;
}

/** With every bit named the firmware's value does not matter. */
function configured(firmware: number | undefined, set: number, cleared: number) {
  if (firmware !== undefined) return (firmware & ~cleared) | set;
  return (set | cleared) === 0x7f ? set : undefined;
}

function clear(word: number | undefined, bits: number): number | undefined {
  return word === undefined ? undefined : word & ~bits;
}

function isOldPchRootPort(fn: PciFunction): boolean {
  if (fn.portType !== PortType.RootPort) return false;
  const all = identities(fn);
  return all.length > 0 && all.every((id) => id >>> 16 === 0x8086 && isPchRootPort(id & 0xffff));
}
