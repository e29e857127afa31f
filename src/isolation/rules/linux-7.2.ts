import { Acs } from "../../pcie/index.js";
import type { LinuxRules } from "./linux-rules.js";

export const LINUX_7_2: LinuxRules = {
  name: "linux-7.2",
  release: "7.2.13",
  disableAcsRedir: "starts-from-firmware",
  configAcs: true,
  acsEnabledAt: "configuration",
  deviceTreeMissesFirstHierarchy: false,
  groupNeedsDriverBind: false,
  pasidPath: Acs.RR | Acs.UF,
  vfAtsNeedsPf: false,
  amdNeedsPageTables: true,
};
