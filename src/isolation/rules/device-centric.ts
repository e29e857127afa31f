/**
 * What each rule set asks before a device may use PASIDs, ATS or an owner's address space. The
 * device-centric rules take Linux 7.2's conditions and mind hardware that Linux does not look at.
 */
import { Acs } from "../../pcie/index.js";
import type { LinuxRuleSet, RuleSet } from "../partition.js";
import { linuxRules } from "./index.js";

/**
 * The kernel that questions about Linux are put to, and whose groups device-centric groups contain.
 */
export const BASELINE: LinuxRuleSet = "linux-7.2";

export interface UseRules {
  /** ACS bits that PASID needs on the whole path; 0 = none. */
  readonly pasidPath: number;
  /** ATS of a virtual function needs its physical function to pass too. */
  readonly vfAtsNeedsPf: boolean;
  /**
   * Ports that block prefixes or translated requests fail the answer; otherwise they are a note.
   */
  readonly mindsBlockingPorts: boolean;
  /**
   * Memory blocks of the IVRS table refuse a device (Linux: since one check serves all IOMMU
   * drivers).
   */
  readonly keepsIvrsMemory: boolean;
}

const DEVICE_CENTRIC: UseRules = {
  pasidPath: Acs.RR | Acs.UF,
  vfAtsNeedsPf: false,
  mindsBlockingPorts: true,
  keepsIvrsMemory: true,
};

/** The conditions of a rule set, Linux's or device-centric. */
export function useRules(rules: RuleSet): UseRules {
  if (rules === "device-centric") return DEVICE_CENTRIC;
  const { pasidPath, vfAtsNeedsPf } = linuxRules(rules);
  const keepsIvrsMemory = rules !== "linux-6.1";
  return { pasidPath, vfAtsNeedsPf, mindsBlockingPorts: false, keepsIvrsMemory };
}

/** The Linux rules that answer questions about the kernel under a rule set. */
export function linuxRulesOf(rules: RuleSet): LinuxRuleSet {
  return rules === "device-centric" ? BASELINE : rules;
}
