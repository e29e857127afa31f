/**
 * The kernel options that change ACS: `pci=disable_acs_redir=`, `pci=config_acs=`, `pci=noats`.
 *
 * A comma ends a sub-option of `pci=`; entries inside one are separated by `;`. An entry selects
 * functions by path (`[domain:]bus:device.function[/device.function]...`) or by id
 * (`pci:vendor:device[:subvendor:subdevice]`, 0 = any). The first entry that matches a function
 * counts. Linux admin-guide/kernel-parameters, `pci=`.
 */
import { ACS_BITS, Acs, type PciFunction } from "../pcie/index.js";

export type Selector =
  | {
      readonly by: "path";
      readonly segment: number;
      readonly bus: number;
      readonly devFns: readonly number[];
    }
  | { readonly by: "id"; readonly ids: readonly [number, number, number, number] };

/**
 * Which control bits a `config_acs` entry sets and clears; all others go back to the firmware's
 * value.
 */
export interface AcsFlags {
  readonly set: number;
  readonly clear: number;
}

export interface AcsOptions {
  readonly disableRedirect: readonly Selector[];
  readonly config: readonly { readonly flags: AcsFlags | undefined; readonly selector: Selector }[];
  readonly noAts: boolean;
}

const NO_OPTIONS: AcsOptions = { disableRedirect: [], config: [], noAts: false };

/** Reads a kernel command line; of a repeated sub-option the last one counts. */
export function parseAcsOptions(commandLine: string | undefined): AcsOptions {
  if (commandLine === undefined) return NO_OPTIONS;
  let options = NO_OPTIONS;
  for (const word of commandLine.split(/\s+/)) {
    const m = /^"?pci=(.*)$/.exec(word);
    if (m === null) continue;
    for (const part of (m[1] as string).replaceAll('"', "").split(",")) {
      options = addPart(options, part);
    }
  }
  return options;
}

function addPart(options: AcsOptions, part: string): AcsOptions {
  const redirect = /^disable_acs_redir=(.*)$/.exec(part);
  if (redirect !== null) {
    return { ...options, disableRedirect: selectors((redirect[1] as string).split(";")) };
  }
  const config = /^config_acs=(.*)$/.exec(part);
  if (config !== null)
    return { ...options, config: configEntries((config[1] as string).split(";")) };
  return part === "noats" ? { ...options, noAts: true } : options;
}

/** Linux stops at the first selector it cannot read. */
function selectors(texts: readonly string[]): Selector[] {
  const out: Selector[] = [];
  for (const text of texts) {
    const selector = parseSelector(text);
    if (selector === undefined) break;
    out.push(selector);
  }
  return out;
}

function configEntries(texts: readonly string[]): AcsOptions["config"] {
  const out: { flags: AcsFlags | undefined; selector: Selector }[] = [];
  for (const text of texts) {
    const at = text.indexOf("@");
    const selector = at < 0 ? undefined : parseSelector(text.slice(at + 1));
    if (selector === undefined) break;
    out.push({ flags: parseFlags(text.slice(0, at)), selector });
  }
  return out;
}

/**
 * Rightmost character is bit 0; `x` keeps the firmware's value; undefined when Linux ignores the
 * entry.
 */
export function parseFlags(text: string): AcsFlags | undefined {
  let set = 0;
  let clear = 0;
  for (let bit = 0; bit < text.length; bit++) {
    const c = text[text.length - 1 - bit] as string;
    if (c === "x" || c === "X") continue;
    if ((c !== "0" && c !== "1") || bit >= ACS_BITS.length) return undefined;
    if (c === "1") set |= 1 << bit;
    else clear |= 1 << bit;
  }
  return { set, clear };
}

const PATH =
  /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):((?:[0-9a-f]{1,2}\.[0-7]\/)*[0-9a-f]{1,2}\.[0-7])$/i;
const ID = /^pci:([0-9a-f]{1,8}):([0-9a-f]{1,8})(?::([0-9a-f]{1,8}):([0-9a-f]{1,8}))?$/i;

/** Undefined when the text is no selector that Linux can read. */
export function parseSelector(text: string): Selector | undefined {
  const byId = ID.exec(text);
  if (byId !== null) {
    const [vendor, device, subVendor, subDevice] = byId.slice(1, 5).map(hexOrZero);
    return { by: "id", ids: [vendor ?? 0, device ?? 0, subVendor ?? 0, subDevice ?? 0] };
  }
  const byPath = PATH.exec(text);
  if (byPath === null) return undefined;
  const devFns = (byPath[3] as string).split("/").map((hop) => {
    const [device = "", fn = ""] = hop.split(".");
    return (Number.parseInt(device, 16) & 31) * 8 + Number(fn);
  });
  return { by: "path", segment: hexOrZero(byPath[1]), bus: hexOrZero(byPath[2]), devFns };
}

/** Undefined when the ids that the selector asks for are not known. */
export function selects(selector: Selector, fn: PciFunction): boolean | undefined {
  if (selector.by === "id") return selectsId(selector.ids, fn);
  const { devFns } = selector;
  let here: PciFunction | undefined = fn;
  for (let i = devFns.length - 1; i > 0; i--) {
    if (here === undefined || here.devFn !== devFns[i]) return false;
    here = here.upstreamBridge;
  }
  if (here === undefined) return false;
  return (
    here.devFn === devFns[0] && here.busNumber === selector.bus && here.segment === selector.segment
  );
}

function selectsId(wanted: readonly number[], fn: PciFunction): boolean | undefined {
  const has = [fn.ids.vendor, fn.ids.device, fn.ids.subVendor, fn.ids.subDevice];
  let known = true;
  for (let i = 0; i < 4; i++) {
    if (wanted[i] === 0) continue;
    if (has[i] === undefined) known = false;
    else if (has[i] !== wanted[i]) return false;
  }
  return known ? true : undefined;
}

/** The function is, or may be, named in an ACS option that these rules know. */
export function isNamedInOption(
  options: AcsOptions,
  fn: PciFunction,
  knowsConfigAcs: boolean,
): boolean {
  if (options.disableRedirect.some((s) => selects(s, fn) !== false)) return true;
  return knowsConfigAcs && options.config.some((c) => selects(c.selector, fn) !== false);
}

/** Bits that `disable_acs_redir` clears. */
export const REDIRECT_BITS = Acs.RR | Acs.CR | Acs.EC;

const hexOrZero = (text: string | undefined): number =>
  text === undefined ? 0 : Number.parseInt(text, 16);
