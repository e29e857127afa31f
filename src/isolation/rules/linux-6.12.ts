import { Acs } from "../../pcie/index.js";
import type { LinuxRules } from "./linux-rules.js";

export const LINUX_6_12: LinuxRules = {
  name: "linux-6.12",
  release: "6.12.117",
  disableAcsRedir: "starts-from-firmware",
  configAcs: true,
  acsEnabledAt: "enumeration",
  deviceTreeMissesFirstHierarchy: true,
  groupNeedsDriverBind: true,
  pasidPath: Acs.RR | Acs.UF,
  vfAtsNeedsPf: true,
  amdNeedsPageTables: false,
};
