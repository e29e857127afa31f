/** The calls of /dev/iommu on a platform for the kernel's own tests. */
import { IOMMUFD_IOCTLS } from "../../abi/index.js";
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
  return [...IOMMUFD_ROWS.filter(({ command }) => known.has(command)), testCommandRow(system)];
}

/** Releases as numbers that compare: `6.12` is after `6.8`. */
function order(release: string): number {
  const [major = 0, minor = 0] = release.split(".").map(Number);
  return major * 1000 + minor;
}
