/**
 * Part of a sysfs tree in memory: files, symbolic links and directories by path, from the live
 * host, a copied directory, a tar, or `ls -l` listings. Paths use "/"; what comes before the part
 * of interest does not matter.
 */
export class SysfsFiles {
  readonly files = new Map<string, Uint8Array>();
  /** Link → target as stored. */
  readonly links = new Map<string, string>();
  /** Directories that were seen; only those whose emptiness means something need to be here. */
  readonly directories = new Set<string>();

  get isEmpty(): boolean {
    return this.files.size === 0 && this.links.size === 0 && this.directories.size === 0;
  }
}

const BDF_DIRECTORY =
  /(?:^|\/)[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\/(?:config|vendor|device|class|revision|subsystem_vendor|subsystem_device|resource|numa_node|reset_method|label|acpi_index|index|removable|untrusted|sriov_totalvfs|sriov_numvfs|ari_enabled|driver|iommu_group|iommu|physfn|virtfn\d+)$/i;
const OF_INTEREST = [
  /(?:^|\/)(?:bus\/pci|class\/pci_bus|iommu_groups\/\d+)\/devices\/[0-9a-f:.]+$/i,
  /(?:^|\/)iommu_groups(?:\/\d+(?:\/(?:type|name|reserved_regions|devices))?)?$/,
  /(?:^|\/)iommu\/[^/]+(?:\/devices\/[0-9a-f:.]+|\/(?:intel-iommu|amd-iommu)\/[a-z]+)?$/i,
  /(?:^|\/)class\/iommu(?:\/[^/]+)?$/,
  /(?:^|\/)pci\/slots\/[^/]+\/address$/,
  /(?:^|\/)acpi\/tables\/[A-Z][A-Z0-9]{3}\d?$/,
  /(?:^|\/)proc\/(?:cmdline|version|sys\/kernel\/osrelease|device-tree)$/,
  /(?:^|\/)firmware\/devicetree(?:\/base)?$/,
];

/**
 * Whether an entry of an archive or directory belongs to a sysfs or procfs tree that a capture
 * needs.
 */
export function isSysfsPath(path: string): boolean {
  if (!path.includes("/")) return false;
  return BDF_DIRECTORY.test(path) || OF_INTEREST.some((pattern) => pattern.test(path));
}

const SYSFS = "sys/(?:block|bus|class|dev|devices|firmware|fs|kernel|module)";
const INSIDE = new RegExp(`(?:^|/)(?:${SYSFS}|proc/[^/]+)(?:/|$)`);

/**
 * Whether a path lies inside a sysfs or procfs tree; what is not of interest there is nothing else
 * either.
 */
export function isInsideSysfs(path: string): boolean {
  return INSIDE.test(path);
}
