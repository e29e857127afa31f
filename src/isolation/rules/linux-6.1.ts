import type { LinuxRules } from "./linux-rules.js";

export const LINUX_6_1: LinuxRules = {
  name: "linux-6.1",
  release: "6.1.192",
  disableAcsRedir: "keeps-kernel-bits",
  configAcs: false,
  acsEnabledAt: "enumeration",
  deviceTreeMissesFirstHierarchy: true,
  groupNeedsDriverBind: true,
  pasidPath: 0,
  vfAtsNeedsPf: false,
  amdNeedsPageTables: false,
};
