/**
 * What differs between the kernels whose group rules are reproduced.
 *
 * The steps that form groups are the same in all three. A rule set is the point release named here;
 * earlier point releases of a series lack some quirk rows (see the history in the quirk tables).
 */
import type { LinuxRuleSet } from "../partition.js";

export interface LinuxRules {
  readonly name: LinuxRuleSet;
  /** The point release reproduced. */
  readonly release: string;
  /**
   * `pci=disable_acs_redir=` keeps what the kernel had switched on, or starts from the firmware's
   * word.
   */
  readonly disableAcsRedir: "keeps-kernel-bits" | "starts-from-firmware";
  /** Knows `pci=config_acs=`. */
  readonly configAcs: boolean;
  /**
   * When default ACS bits are set: at enumeration (before a device tree can ask for them), or per
   * device.
   */
  readonly acsEnabledAt: "enumeration" | "configuration";
  /** The first hierarchy of a device-tree host keeps the firmware's ACS settings. */
  readonly deviceTreeMissesFirstHierarchy: boolean;
  /** IOMMUs described by VIOT give a group only once a driver binds. */
  readonly groupNeedsDriverBind: boolean;
  /** ACS bits that PASID needs on the whole path; 0 = none. */
  readonly pasidPath: number;
  /** ATS of a virtual function needs its physical function to pass too. */
  readonly vfAtsNeedsPf: boolean;
  /** AMD-Vi without usable page tables gives no groups. */
  readonly amdNeedsPageTables: boolean;
}
