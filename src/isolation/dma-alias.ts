/**
 * Requester IDs that a function borrows, by id, by firmware table and by the bridges above it.
 *
 * Three mechanisms, kept apart because Linux uses them at different steps:
 *   extra numbers   device.function numbers of its own bus that a function also sends with
 *   bridges         on the way up a bridge may replace the requester ID
 *   real device     all functions of a VMD domain send as the VMD function (vmd-domains.ts)
 */
import { type PciFunction, PortType } from "../pcie/index.js";
import { type DevFn, makeRid } from "../units/index.js";
import type { AliasRow } from "./data/quirk-types.js";
import type { Evidence, MissingFact } from "./evidence.js";
import type { IvrsTable } from "./host-facts.js";
import type { LinuxRuleSet } from "./partition.js";
import { aliasRows } from "./quirks.js";
import { agreed, allAre, type Identity, identities, mayBe } from "./quirks-ids.js";

export interface DmaAlias {
  /** Extra device.function numbers on its own bus, ascending, its own number not among them. */
  readonly devFns: readonly DevFn[];
  readonly because: readonly Evidence[];
  /** There may be more that the capture cannot show. */
  readonly unknown: boolean;
  readonly missing: readonly MissingFact[];
}

const NO_ALIAS: DmaAlias = { devFns: [], because: [], unknown: false, missing: [] };
const UNIDENTIFIED: DmaAlias = { devFns: [], because: [], unknown: true, missing: ["ids"] };
const CITE = "Linux PCI quirks, DMA alias rows";
const CITE_IVRS = "AMD I/O Virtualization 3.10 § 5.2.2.1 (alias entries)";

/** The extra numbers of one function by the quirk rows and, when given, the IVRS table. */
export function dmaAliasOf(fn: PciFunction, rules: LinuxRuleSet, ivrs?: IvrsTable): DmaAlias {
  const byId = aliasById(fn, rules);
  const byFirmware = ivrs === undefined ? undefined : firmwareAlias(fn, ivrs);
  if (byFirmware === undefined) return byId;
  return {
    ...byId,
    devFns: sortedSet([...byId.devFns, byFirmware], fn),
    because: [
      ...byId.because,
      {
        kind: "alias-firmware",
        at: fn.bdf,
        rid: makeRid(fn.busNumber * 256 + byFirmware),
        cite: CITE_IVRS,
      },
    ],
  };
}

function aliasById(fn: PciFunction, rules: LinuxRuleSet): DmaAlias {
  if (!mayBe(fn, (id) => aliasRows(id, rules).length > 0)) {
    return identities(fn).length === 0 ? UNIDENTIFIED : NO_ALIAS;
  }
  const result = agreed(fn, (id) => aliasOfIdentity(fn, id, rules), sameAlias);
  if (result !== "differ" && result !== "nobody") return result.answer;
  const because: Evidence[] = [{ kind: "quirk-not-tested", at: fn.bdf, cite: CITE }];
  return { devFns: [], because, unknown: true, missing: ["ids"] };
}

function sameAlias(a: DmaAlias, b: DmaAlias): boolean {
  return a.unknown === b.unknown && a.devFns.join() === b.devFns.join();
}

function aliasOfIdentity(fn: PciFunction, id: Identity, rules: LinuxRuleSet): DmaAlias {
  const devFns: number[] = [];
  const because: Evidence[] = [];
  const missing: MissingFact[] = [];
  for (const row of aliasRows(id, rules)) {
    const applies = rowApplies(row, fn);
    if (applies === false) continue;
    if (applies === undefined) {
      missing.push(row.sub === undefined ? "config" : "ids");
      because.push({ kind: "quirk-not-tested", at: fn.bdf, quirk: row.rule, cite: CITE });
    } else if (row.rule === "switchtecProxyIds") {
      missing.push("config");
      because.push({ kind: "alias-unknown", at: fn.bdf, quirk: row.rule, cite: CITE });
    } else {
      const numbers = numbersOf(row, fn).filter((n) => n !== fn.devFn);
      if (numbers.length === 0) continue;
      devFns.push(...numbers);
      const only = numbers.length === 1 ? numbers[0] : undefined;
      because.push({
        kind: "alias-quirk",
        at: fn.bdf,
        quirk: row.rule,
        ...(only === undefined ? {} : { rid: makeRid(fn.busNumber * 256 + only) }),
        cite: CITE,
      });
    }
  }
  if (devFns.length === 0 && because.length === 0) return NO_ALIAS;
  return { devFns: sortedSet(devFns, fn), because, unknown: missing.length > 0, missing };
}

function rowApplies(row: AliasRow, fn: PciFunction): boolean | undefined {
  const { subVendor, subDevice, classCode } = fn.ids;
  if (row.sub !== undefined) {
    if (subVendor === undefined || subDevice === undefined) return undefined;
    return subVendor * 65536 + subDevice === row.sub;
  }
  if (row.classTop === undefined) return true;
  return classCode === undefined ? undefined : classCode >>> 8 === row.classTop;
}

function numbersOf(row: AliasRow, fn: PciFunction): readonly number[] {
  switch (row.rule) {
    case "aliasFunction0":
      return [fn.device * 8];
    case "aliasFunction1":
      return [fn.device * 8 + 1];
    case "aliasFixedDevfns":
      return row.devfns ?? [];
    case "aliasEverySlotFunctions0To4":
      return everyNumber().filter((n) => (n & 7) <= 4);
    case "aliasAll256":
      return everyNumber();
    default:
      return [];
  }
}

const everyNumber = (): number[] => Array.from({ length: 256 }, (_, n) => n);

function sortedSet(numbers: readonly number[], fn: PciFunction): DevFn[] {
  const set = [...new Set(numbers)].filter((n) => n !== fn.devFn).sort((a, b) => a - b);
  return set as DevFn[];
}

/** The alias of an IVRS entry when it lies on the function's own bus. */
function firmwareAlias(fn: PciFunction, ivrs: IvrsTable): number | undefined {
  for (const unit of ivrs.units) {
    if (unit.segment !== fn.segment) continue;
    for (const entry of unit.aliases) {
      const inside = fn.rid >= entry.first && fn.rid <= entry.last;
      if (!inside || entry.alias === fn.rid || entry.alias >>> 8 !== fn.busNumber) continue;
      return entry.alias & 0xff;
    }
  }
  return undefined;
}

/**
 * What a bridge does to the requester ID of requests from below.
 *   pass        keeps it
 *   own         replaces it by the bridge's own ID
 *   secondary   replaces it by device 0, function 0 of its secondary bus
 *   end         the IOMMU sits below this bridge: nothing above it matters
 *   unknown     the capture does not show what kind of bridge it is
 */
export type BridgeAlias = "pass" | "own" | "secondary" | "end" | "unknown";

/** PCIe to PCI Bridge 1.0 § 2.3 and the quirk rows about bridges. */
export function bridgeAlias(bridge: PciFunction, rules: LinuxRuleSet): BridgeAlias {
  if (hasRow(bridge, rules, "translationRootBridge")) return "end";
  if (bridge.isPcie === undefined) return "unknown";
  if (bridge.isPcie) {
    if (bridge.portType === PortType.PciToPcieBridge) return "own";
    if (bridge.portType !== PortType.PcieToPciBridge) return "pass";
    return hasRow(bridge, rules, "bridgeAddsNoAlias") ? "pass" : "secondary";
  }
  return hasRow(bridge, rules, "bridgeActsAsPcieToPci") && isReallyPcie(bridge)
    ? "secondary"
    : "own";
}

/**
 * A PCIe-to-PCI bridge that hides its PCIe capability: the bridge above it is PCIe and not such a
 * bridge itself.
 */
function isReallyPcie(bridge: PciFunction): boolean {
  const above = bridge.upstreamBridge;
  if (bridge.headerType !== 1 || above === undefined) return false;
  return above.isPcie === true && above.portType !== PortType.PcieToPciBridge;
}

function hasRow(fn: PciFunction, rules: LinuxRuleSet, rule: AliasRow["rule"]): boolean {
  return allAre(fn, (id) => aliasRows(id, rules).some((row) => row.rule === rule)) === true;
}

/** Evidence that `bridge` replaces the requester IDs of `fn`. */
export function bridgeAliasEvidence(bridge: PciFunction, effect: BridgeAlias): Evidence {
  const secondary = bridge.secondaryBusNumber ?? bridge.secondaryBus?.number;
  const rid =
    effect === "secondary" && secondary !== undefined ? makeRid(secondary * 256) : bridge.rid;
  return {
    kind: "alias-bridge",
    at: bridge.bdf,
    rid,
    cite: "PCIe to PCI Bridge 1.0 § 2.3",
  };
}
