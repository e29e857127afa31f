/** The calls of /dev/iommu on a platform for the kernel's own tests. */
import {
  decodeIommuHwptInvalidate,
  IOMMU_HWPT_INVALIDATE,
  IOMMUFD_IOCTLS,
  isRefusal,
  UapiError,
} from "../../abi/index.js";
import type { IoctlRow } from "../ioctl-row.js";
import { IOMMUFD_ROWS } from "../ioctl-table.js";
import type { SelftestSystem } from "./selftest-system.js";
import { testCommandRow } from "./test-command.js";

/** Calls that the kernel has whose tests are to run, and the test command. */
export function selftestRows(system: SelftestSystem): readonly IoctlRow[] {
  const known = new Set(
    Object.values(IOMMUFD_IOCTLS)
      .filter(({ since }) => order(since) <= order(system.kernel))
      .map(({ command }) => command as number),
  );
  const rows = IOMMUFD_ROWS.filter(({ command }) => known.has(command));
  const own = system.kernel === "6.12" ? rows.map(asOf612) : rows;
  return [...own, testCommandRow(system)];
}

/**
 * Linux 6.12 knows invalidations of nested page tables only, and finds nothing else: ENOENT where
 * later kernels say EINVAL.
 */
function asOf612(row: IoctlRow): IoctlRow {
  if (row.command !== IOMMU_HWPT_INVALIDATE) return row;
  const run: IoctlRow["run"] = (context, call, argument) => {
    const given = decodeIommuHwptInvalidate(argument.view);
    const hasEntries = given.data_uptr !== 0n && given.entry_len !== 0;
    try {
      return row.run(context, call, argument);
    } catch (error) {
      const found = context.iommufd.state.objects.find(given.hwpt_id);
      const isOther = found !== undefined && found.kind !== "hwpt-nested";
      const isLookUp = isRefusal(error, "EINVAL") && (given.entry_num === 0 || hasEntries);
      if (!isOther || !isLookUp) throw error;
      throw new UapiError("ENOENT", "the object is no nested page table", {
        cite: "Linux 6.12 iommufd_hwpt_invalidate()",
      });
    }
  };
  return { ...row, run };
}

/** Releases as numbers that compare: `6.12` is after `6.8`. */
function order(release: string): number {
  const [major = 0, minor = 0] = release.split(".").map(Number);
  return major * 1000 + minor;
}
