/** IOMMU units below /sys/class/iommu. Linux drivers/iommu/intel/iommu.c, iommu-sysfs.c. */
import type { HostDriver } from "../driver/index.js";
import type { MachineUnit } from "../machine/index.js";
import { attribute, DIRECTORY, link, type Nodes, type TreeNode, text } from "./tree-node.js";

/** Offsets of registers; VT-d 5.0 § 11.4. */
const VERSION = 0x00;
const CAPABILITY = 0x08;
const EXTENDED_CAPABILITY = 0x10;

/** By absolute path. */
export function unitNodes({ name, plan, iommu }: MachineUnit, driver: HostDriver): Nodes {
  const at = `/sys/devices/virtual/iommu/${name}`;
  const out = new Map<string, TreeNode>();
  out.set(`${at}/devices`, DIRECTORY);
  out.set(`${at}/subsystem`, link("../../../../class/iommu"));
  out.set(`${at}/uevent`, attribute(0o644, { show: () => "", store: () => {} }));
  out.set(`/sys/class/iommu/${name}`, link(`../../devices/virtual/iommu/${name}`));
  if (iommu.kind !== "vtd") return out;
  const registers = `${at}/intel-iommu`;
  const cap = iommu.readRegister64(CAPABILITY);
  const version = iommu.readRegister32(VERSION);
  const domains = 1 << (4 + 2 * Number(cap & 7n));
  out.set(`${registers}/address`, text(`${plan.registerBase.toString(16)}\n`));
  out.set(`${registers}/cap`, text(`${cap.toString(16)}\n`));
  const ecap = iommu.readRegister64(EXTENDED_CAPABILITY);
  out.set(`${registers}/ecap`, text(`${ecap.toString(16)}\n`));
  out.set(`${registers}/version`, text(`${(version >>> 4) & 0xf}:${version & 0xf}\n`));
  out.set(`${registers}/domains_supported`, text(`${domains}\n`));
  const used = (): number => driver.vtd.units.find((u) => u.iommu === iommu)?.usedIds ?? 0;
  out.set(`${registers}/domains_used`, attribute(0o444, { show: () => `${used()}\n` }));
  return out;
}
