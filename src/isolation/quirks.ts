/**
 * Look-up in the quirk tables, and the small rules about one function: ATS, PASID, external and
 * untrusted.
 *
 * The maps are built when first asked: a program that never asks pays nothing.
 * ACS rows are evaluated in quirks-acs.ts, alias rows in dma-alias.ts.
 */
import { type PciFunction, PortType } from "../pcie/index.js";
import { QUIRKS } from "./data/pci-quirks.gen.js";
import type { AcsRow, AliasRow, AtsRow } from "./data/quirk-types.js";
import type { Evidence } from "./evidence.js";
import type { LinuxRuleSet } from "./partition.js";
import { allAre, type Identity, identities, mayBe } from "./quirks-ids.js";
import { linuxRules } from "./rules/index.js";

export { QUIRKS } from "./data/pci-quirks.gen.js";

const NO_ACS: readonly AcsRow[] = [];
const NO_ALIAS: readonly AliasRow[] = [];
const NO_ATS: readonly AtsRow[] = [];

let acsByVendor: Map<number, AcsRow[]> | undefined;
let acsById: Map<Identity, readonly AcsRow[]> | undefined;
let aliasById: Map<Identity, AliasRow[]> | undefined;
let atsById: Map<Identity, AtsRow[]> | undefined;

/** ACS rows that name this id, in table order. */
export function acsRows(id: Identity): readonly AcsRow[] {
  acsByVendor ??= indexVendors();
  const ofVendor = acsByVendor.get(Math.floor(id / 65536));
  if (ofVendor === undefined) return NO_ACS;
  acsById ??= new Map();
  let rows = acsById.get(id);
  if (rows === undefined) {
    rows = ofVendor.filter((row) => row.anyOf !== undefined || row.ids.includes(id));
    acsById.set(id, rows);
  }
  return rows;
}

function indexVendors(): Map<number, AcsRow[]> {
  const out = new Map<number, AcsRow[]>();
  for (const row of QUIRKS.acs) {
    const vendors = new Set(row.ids.map((id) => Math.floor(id / 65536)));
    if (row.anyOf !== undefined) vendors.add(row.anyOf);
    for (const vendor of vendors) push(out, vendor, row);
  }
  return out;
}

/** Alias rows that name this id under these rules. */
export function aliasRows(id: Identity, rules: LinuxRuleSet): readonly AliasRow[] {
  aliasById ??= indexIds(QUIRKS.aliases);
  const rows = aliasById.get(id);
  if (rows === undefined) return NO_ALIAS;
  // Few ids have rows; only they pay for the filter.
  return rows.filter((row) => row.series === undefined || row.series.includes(rules));
}

/** Alias rows that name this id under any rules. */
export function aliasRowsOfAnyRules(id: Identity): readonly AliasRow[] {
  aliasById ??= indexIds(QUIRKS.aliases);
  return aliasById.get(id) ?? NO_ALIAS;
}

function atsRows(id: Identity, rules: LinuxRuleSet): readonly AtsRow[] {
  atsById ??= indexIds(QUIRKS.ats);
  const rows = atsById.get(id) ?? NO_ATS;
  return rows.filter((row) => row.series === undefined || row.series.includes(rules));
}

function indexIds<R extends { readonly ids: readonly number[] }>(rows: readonly R[]) {
  const out = new Map<Identity, R[]>();
  for (const row of rows) for (const id of row.ids) push(out, id, row);
  return out;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** Linux 7.2 takes Source Validation out of these switches' ACS capability. */
export function hidesSourceValidation(fn: PciFunction, rules: LinuxRuleSet): boolean {
  const { ids, series } = QUIRKS.hideSourceValidation;
  return series.includes(rules) && allAre(fn, (id) => ids.includes(id)) === true;
}

/**
 * True: Linux treats the ATS capability as absent. Undefined: ids, revision or sub-ids are not
 * known.
 */
export function atsOff(fn: PciFunction, rules: LinuxRuleSet): boolean | undefined {
  if (!mayBe(fn, (id) => atsRows(id, rules).some((row) => row.rule === "atsOff"))) {
    return identities(fn).length === 0 ? undefined : false;
  }
  let answer: boolean | undefined;
  for (const id of identities(fn)) {
    const rows = atsRows(id, rules).filter((row) => row.rule === "atsOff");
    const here = rows.length === 0 ? false : anyOf(rows.map((row) => atsConditions(row, fn)));
    if (here === undefined || (answer !== undefined && answer !== here)) return undefined;
    answer = here;
  }
  return answer;
}

function atsConditions(row: AtsRow, fn: PciFunction): boolean | undefined {
  const { revision, subVendor, subDevice } = fn.ids;
  return all([
    row.revisionBelow === undefined || less(revision, row.revisionBelow),
    row.revision === undefined || equal(revision, row.revision),
    row.subVendor === undefined || equal(subVendor, row.subVendor),
    row.subDeviceIn === undefined || oneOf(subDevice, row.subDeviceIn),
  ]);
}

/**
 * Needs ATS even for plain DMA (the id rows; a CXL cache device also does, which ids do not show).
 */
export function atsNeeded(fn: PciFunction, rules: LinuxRuleSet): boolean | undefined {
  const of = fn.isVirtual && fn.physfn !== undefined ? fn.physfn : fn;
  return allAre(of, (id) => atsRows(id, rules).some((row) => row.rule === "atsNeeded"));
}

/** Carries PASIDs without TLP prefixes. */
export function pasidWithoutPrefix(fn: PciFunction): boolean | undefined {
  const { ids, revisions } = QUIRKS.pasidWithoutPrefix;
  const named = allAre(fn, (id) => ids.includes(id));
  return named === true ? oneOf(fn.ids.revision, revisions) : named;
}

/** Root ports of integrated USB4 host interfaces: what is directly below them is tunnelled. */
export function isTunnelRootPort(fn: PciFunction): boolean | undefined {
  return allAre(fn, (id) => QUIRKS.tunnelRootPorts.includes(id));
}

/**
 * Untrusted: below an untrusted bridge, or (x86) tunnelled below an external-facing root port.
 * Undefined when the capture does not say which ports lead outside.
 */
export function isUntrusted(fn: PciFunction, x86: boolean): boolean | undefined {
  if (fn.description.untrusted !== undefined) return fn.description.untrusted;
  let known = true;
  for (let below = fn; ; ) {
    if (below.description.untrusted === true) return true;
    const parent = below.upstreamBridge;
    if (parent === undefined) return known ? false : undefined;
    const tunnelled = x86 ? isTunnelled(below, parent) : false;
    if (tunnelled === true) return true;
    if (tunnelled === undefined) known = false;
    below = parent;
  }
}

function isTunnelled(fn: PciFunction, parent: PciFunction): boolean | undefined {
  let root: PciFunction | undefined = parent;
  while (root !== undefined && root.portType !== PortType.RootPort) root = root.upstreamBridge;
  if (root === undefined || root.description.externalFacing === false) return false;
  if (root.description.externalFacing === undefined) return undefined;
  if (isTunnelRootPort(parent) === true) return true;
  return !isPartOfSwitchBelow(root, fn, parent);
}

/**
 * The discrete controller directly below the port: its switch ports and the endpoints right behind
 * them.
 */
function isPartOfSwitchBelow(root: PciFunction, fn: PciFunction, parent: PciFunction): boolean {
  if (fn.portType === PortType.UpstreamPort) return parent === root;
  if (fn.portType === PortType.DownstreamPort) {
    return parent.portType === PortType.UpstreamPort && parent.upstreamBridge === root;
  }
  if (parent.portType !== PortType.DownstreamPort) return false;
  const upstream = parent.upstreamBridge;
  return upstream?.portType === PortType.UpstreamPort && upstream.upstreamBridge === root;
}

/**
 * Linux does not use AMD-Vi at all when this graphics function is there: evidence, or undefined.
 */
export function stoneyEvidence(fn: PciFunction, rules: LinuxRuleSet): Evidence | undefined {
  const there = fn.segment === 0 && fn.busNumber === 0 && fn.fn === 0;
  if (!there || allAre(fn, (id) => id === QUIRKS.amdStoney) !== true) return undefined;
  const cite = `Linux ${linuxRules(rules).release} AMD-Vi detection`;
  return { kind: "excluded-by-driver", at: fn.bdf, quirk: "amdStoney", cite };
}

/** A display function whose presence makes Linux skip a remapping unit for display devices only. */
export function switchesOffGraphicsUnit(fn: PciFunction): boolean {
  const id = identities(fn)[0];
  if (id === undefined || identities(fn).length > 1 || isUntrusted(fn, true) === true) return false;
  if (QUIRKS.graphicsUnitAlways.includes(id)) return true;
  if (!QUIRKS.graphicsUnitWithoutShadowGtt.includes(id)) return false;
  const word = fn.config.knownU16(0x52);
  return word !== undefined && (word & 0x800) === 0;
}

const less = (a: number | undefined, b: number) => (a === undefined ? undefined : a < b);
const equal = (a: number | undefined, b: number) => (a === undefined ? undefined : a === b);
const oneOf = (a: number | undefined, list: readonly number[]) =>
  a === undefined ? undefined : list.includes(a);

function all(parts: readonly (boolean | undefined)[]): boolean | undefined {
  if (parts.includes(false)) return false;
  return parts.includes(undefined) ? undefined : true;
}

function anyOf(parts: readonly (boolean | undefined)[]): boolean | undefined {
  if (parts.includes(true)) return true;
  return parts.includes(undefined) ? undefined : false;
}
