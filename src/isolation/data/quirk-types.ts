/**
 * Shapes of the quirk tables: what Linux knows about single PCI devices.
 *
 * The tables themselves are generated (pci-quirks.gen.ts) from data/pci-quirks.json, which names
 * its sources. An id is one number, vendor * 65536 + device.
 */
import type { LinuxRuleSet } from "../partition.js";

export type AcsRuleName =
  | "amdSouthbridge"
  | "noPeerBetweenFunctions"
  | "intelRciep"
  | "qualcommRootPort"
  | "intelPchRootPort"
  | "intelSptRootPort"
  | "caviumRootPort"
  | "xgeneRootPort"
  | "broadcomPaxbRootPort"
  | "loongsonRootPort"
  | "annapurnaRootPort"
  | "nxpRootPort"
  | "zhaoxinPort"
  | "wangxunNic";

export type AliasRuleName =
  | "aliasFunction0"
  | "aliasFunction1"
  | "aliasFixedDevfns"
  | "aliasEverySlotFunctions0To4"
  | "aliasAll256"
  | "switchtecProxyIds"
  | "bridgeActsAsPcieToPci"
  | "translationRootBridge"
  | "bridgeAddsNoAlias"
  | "realDmaDevice";

/** Rows in table order: the first that does not decline decides. */
export interface AcsRow {
  readonly rule: AcsRuleName;
  readonly ids: readonly number[];
  /** Every id of this vendor. */
  readonly anyOf?: number;
  readonly chip?: string;
}

export interface AcsRule {
  readonly title: string;
  /** ACS bits that the rule vouches for. */
  readonly satisfies: number;
  /** Only these bits of a request are looked at; absent: all. */
  readonly considers?: number;
  /** Port types that the rule speaks about; others go on to the next row. */
  readonly portTypes?: readonly number[];
  /** Devices the rule speaks about (first, last); others go on to the next row. */
  readonly only?: readonly (readonly [number, number])[];
  /** Devices that the rule vouches for (first, last); it denies all others. */
  readonly accepts?: readonly (readonly [number, number])[];
}

export interface AliasRow {
  readonly rule: AliasRuleName;
  readonly ids: readonly number[];
  /**
   * When Linux applies the row: while it reads the header, at the end of enumeration, when the
   * driver binds.
   */
  readonly stage: "header" | "final" | "driver";
  /** Absent: in all rule sets. */
  readonly series?: readonly LinuxRuleSet[];
  readonly devfns?: readonly number[];
  /** Sub-vendor * 65536 + sub-device that the row demands. */
  readonly sub?: number;
  /** Base class and sub-class that the row demands. */
  readonly classTop?: number;
}

export interface AtsRow {
  readonly rule: "atsOff" | "atsNeeded";
  readonly ids: readonly number[];
  readonly series?: readonly LinuxRuleSet[];
  readonly revisionBelow?: number;
  readonly revision?: number;
  readonly subVendor?: number;
  readonly subDeviceIn?: readonly number[];
}

/** When a row came into a series that did not have it from the start. */
export interface QuirkHistory {
  readonly what: "acs" | "acsEnable" | "dmaAlias" | "ats" | "pericomStoreForward";
  readonly rule?: string;
  readonly ids?: readonly number[];
  readonly anyOf?: number;
  readonly change?: string;
  readonly arrived: Readonly<Partial<Record<LinuxRuleSet, string>>>;
  readonly reverted?: Readonly<Partial<Record<LinuxRuleSet, string>>>;
  /** The changelog does not name the ids; they follow from its words. */
  readonly inferred?: boolean;
}

export interface QuirkTables {
  readonly source: string;
  /** The point release that each rule set reproduces. */
  readonly releases: Readonly<Record<LinuxRuleSet, string>>;
  readonly acs: readonly AcsRow[];
  readonly acsRules: Readonly<Record<AcsRuleName, AcsRule>>;
  readonly pchRootPorts: readonly {
    readonly family: string;
    readonly devices: readonly number[];
  }[];
  readonly sptRootPorts: readonly (readonly [number, number])[];
  readonly aliases: readonly AliasRow[];
  readonly ats: readonly AtsRow[];
  readonly pasidWithoutPrefix: {
    readonly ids: readonly number[];
    readonly revisions: readonly number[];
  };
  readonly hideSourceValidation: {
    readonly ids: readonly number[];
    readonly series: readonly LinuxRuleSet[];
  };
  readonly amdStoney: number;
  /** Ids that switch off a display-only remapping unit, always or only without a shadow GTT. */
  readonly graphicsUnitAlways: readonly number[];
  readonly graphicsUnitWithoutShadowGtt: readonly number[];
  readonly tunnelRootPorts: readonly number[];
  readonly storeForwardSwitches: readonly number[];
  readonly history: readonly QuirkHistory[];
}
