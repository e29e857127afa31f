/** What the fabric says about devices, as the objects of /dev/iommu ask for it. */
import type { DriverHost } from "../driver/index.js";
import type { IsolationPort, PasidPath } from "../iommufd/index.js";
import type { Analysis } from "../isolation/index.js";
import type { GroupNumbers } from "./group-numbers.js";
import { misroutedWindows } from "./misrouted-windows.js";

/** Answers from the analysis as it is at each call. */
export function isolationPort(
  rules: IsolationPort["rules"],
  groups: GroupNumbers,
  analysis: () => Analysis,
  host: DriverHost,
): IsolationPort {
  return {
    rules,
    groupOf: (device) => groups.groupOf(device),
    aliasSetOf: (device) => {
      const { aliasSets } = analysis();
      const set = aliasSets.setOf.get(device);
      return set === undefined ? [device] : (aliasSets.sets[set] ?? [device]);
    },
    aliasEvidence: (device) => analysis().deviceReport(device)?.mustShare.because ?? [],
    pasidPath: (device): PasidPath => {
      const because = analysis().deviceReport(device)?.pasid.because ?? [];
      const { ok, onlyAcs = false } = host.pasidPath(device);
      return { ok, onlyPath: onlyAcs, because };
    },
    sharesPageRequests: (device) => {
      const pf = analysis().fabric.function(device)?.physfn;
      return pf?.pri !== undefined && pf.pri !== null;
    },
    peerWindows: (device) => misroutedWindows(analysis(), device),
  };
}
