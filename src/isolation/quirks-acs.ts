/**
 * ACS quirks: rows that say "isolated" or "not isolated" about a function whatever its registers
 * say.
 *
 * Rows are tried in table order and the first that does not decline decides, before any register is
 * read. Where the capture does not show what a row asks for, the likely answer is taken and the gap
 * is reported: an id that only root ports carry counts as a root port, an AMD southbridge as one
 * with an IVRS table.
 */
import { Acs, type PciFunction, PortType } from "../pcie/index.js";
import { QUIRKS } from "./data/pci-quirks.gen.js";
import type { AcsRow, AcsRule, AcsRuleName } from "./data/quirk-types.js";
import type { MissingFact } from "./evidence.js";
import { acsRows } from "./quirks.js";
import { agreed, type Identity, identities, mayBe } from "./quirks-ids.js";

export interface AcsQuirkContext {
  /** The host has an ACPI IVRS table; undefined when no table was captured. */
  readonly ivrs: boolean | undefined;
  /**
   * ACS control dword at +8 of a Sunrise Point port; undefined when not known, "default" when the
   * kernel's default may be assumed.
   */
  sunrisePointControl(fn: PciFunction): number | undefined | "default";
}

export interface AcsQuirk {
  /**
   * yes, no   a row decided
   * none      no row decided: registers decide
   * open      rows may decide, but the capture does not identify the function: registers decide for
   * now
   */
  readonly answer: "yes" | "no" | "none" | "open";
  readonly rule?: AcsRuleName | undefined;
  /** Facts that were assumed. */
  readonly missing: readonly MissingFact[];
}

const NONE: AcsQuirk = { answer: "none", missing: [] };

/**
 * What the quirk rows say about `fn` and the ACS bits of `request`. Linux
 * pci_dev_specific_acs_enabled.
 */
export function acsQuirk(fn: PciFunction, request: number, context: AcsQuirkContext): AcsQuirk {
  if (!mayBe(fn, (id) => acsRows(id).length > 0)) {
    return identities(fn).length === 0 ? { answer: "open", missing: ["ids"] } : NONE;
  }
  const result = agreed(
    fn,
    (id) => decide(fn, id, request, context),
    (a, b) => a.answer === b.answer,
  );
  return typeof result === "string" ? { answer: "open", missing: ["ids"] } : result.answer;
}

function decide(fn: PciFunction, id: Identity, request: number, ctx: AcsQuirkContext): AcsQuirk {
  const missing: MissingFact[] = [];
  for (const row of acsRows(id)) {
    const answer = evaluate(row, fn, id & 0xffff, request, ctx, missing);
    if (answer === undefined) continue;
    return { answer: answer ? "yes" : "no", rule: row.rule, missing: [...new Set(missing)] };
  }
  return missing.length === 0 ? NONE : { answer: "none", missing: [...new Set(missing)] };
}

/** Undefined: the row declines. */
function evaluate(
  row: AcsRow,
  fn: PciFunction,
  device: number,
  request: number,
  ctx: AcsQuirkContext,
  missing: MissingFact[],
): boolean | undefined {
  const rule = QUIRKS.acsRules[row.rule];
  if (rule.only !== undefined && !inRanges(device, rule.only)) return undefined;
  if (row.rule === "intelPchRootPort" && !isPchRootPort(device)) return undefined;
  if (row.rule === "intelSptRootPort" && !inRanges(device, QUIRKS.sptRootPorts)) return undefined;
  if (!hasPortType(rule, row.rule, fn, missing)) return undefined;
  if (row.rule === "amdSouthbridge") {
    if (!southbridgeApplies(fn, ctx, missing)) return undefined;
  } else if (row.rule === "intelPchRootPort") {
    if (pchPeerDecodeOff(fn) === false) return request === 0;
  } else if (row.rule === "intelSptRootPort") return sunrisePoint(fn, request, ctx, missing);
  if (rule.accepts !== undefined && !inRanges(device, rule.accepts)) return false;
  const asked = rule.considers === undefined ? request : request & rule.considers;
  return (asked & ~rule.satisfies) === 0;
}

function hasPortType(
  rule: AcsRule,
  name: AcsRuleName,
  fn: PciFunction,
  missing: MissingFact[],
): boolean {
  if (rule.portTypes === undefined) return true;
  if (fn.isPcie === false) return false;
  if (fn.portType !== undefined) return rule.portTypes.includes(fn.portType);
  missing.push("config");
  // Ids that only ports carry tell the type; a whole vendor's ids do not.
  return name !== "intelRciep" && fn.headerType === 1;
}

function southbridgeApplies(
  fn: PciFunction,
  ctx: AcsQuirkContext,
  missing: MissingFact[],
): boolean {
  if (fn.multifunction !== true || !fn.bus.isRoot || ctx.ivrs === false) return false;
  if (ctx.ivrs === undefined) missing.push("acs");
  return true;
}

/** The dwords at +4 (capability) and +8 (control) take the place of the two words. */
function sunrisePoint(
  fn: PciFunction,
  request: number,
  ctx: AcsQuirkContext,
  missing: MissingFact[],
): boolean | undefined {
  if (fn.acs === null) return undefined;
  if (fn.acs === undefined) missing.push("acs");
  const capability = fn.acs?.capability ?? DEFAULT_BITS;
  const asked = request & (capability | Acs.EC);
  const control = ctx.sunrisePointControl(fn);
  if (control === undefined) missing.push("acs");
  const word = typeof control === "number" ? control : control === "default" ? DEFAULT_BITS : 0;
  return (asked & ~word) === 0;
}

const DEFAULT_BITS = Acs.SV | Acs.RR | Acs.CR | Acs.UF;

let pchDevices: Set<number> | undefined;

/** An Intel device id of a root port older than the 100 series, which has no ACS registers. */
export function isPchRootPort(device: number): boolean {
  pchDevices ??= new Set(QUIRKS.pchRootPorts.flatMap((family) => family.devices));
  return pchDevices.has(device);
}

/** A root port whose ACS registers are dwords; false when its ids are not known. */
export function isSunrisePointRootPort(fn: PciFunction): boolean {
  const all = identities(fn);
  if (all.length === 0 || fn.portType !== PortType.RootPort) return false;
  return all.every((id) => id >>> 16 === 0x8086 && inRanges(id & 0xffff, QUIRKS.sptRootPorts));
}

const LPC = 0x1f * 8;

/**
 * Whether Linux could stop this PCH port from decoding peer requests: false when the chipset's
 * register block is off (bit 0 of dword f0h of device 1f.0), undefined when the capture does not
 * show it.
 */
export function pchPeerDecodeOff(port: PciFunction): boolean | undefined {
  const block = port.bus.at(LPC)?.config.knownU32(0xf0);
  if (block !== undefined) return (block & 1) !== 0;
  const decode = port.config.knownU32(0xd8);
  return decode !== undefined && (decode & (1 << 26)) !== 0 ? true : undefined;
}

function inRanges(value: number, ranges: readonly (readonly [number, number])[]): boolean {
  for (const [first, last] of ranges) if (value >= first && value <= last) return true;
  return false;
}
