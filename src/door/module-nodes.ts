/** Modules below /sys/module: those that programs look for, and one for each driver. */
import type { HostSystem } from "../system/index.js";
import { storedSwitch } from "./stored-number.js";
import { attribute, DIRECTORY, type Nodes, type TreeNode, text } from "./tree-node.js";

/** A module and its parameters, by absolute path. */
function moduleNodes(name: string, parameters: Readonly<Record<string, TreeNode>> = {}): Nodes {
  const at = `/sys/module/${name}`;
  const out = new Map<string, TreeNode>();
  out.set(at, DIRECTORY);
  out.set(`${at}/initstate`, text("live\n"));
  out.set(`${at}/refcnt`, text("0\n"));
  out.set(`${at}/holders`, DIRECTORY);
  for (const [parameter, node] of Object.entries(parameters)) {
    out.set(`${at}/parameters/${parameter}`, node);
  }
  return out;
}

const off = (): TreeNode => text("N\n");

/** @param drivers names of modules of drivers. */
export function allModules(system: HostSystem, drivers: Iterable<string>): Nodes[] {
  const unsafe = attribute(0o644, {
    show: () => (system.allowUnsafeInterrupts ? "Y\n" : "N\n"),
    store: (written) => {
      system.allowUnsafeInterrupts = storedSwitch(written);
    },
  });
  const sriov = attribute(0o644, {
    show: () => (system.drivers.enableSriov ? "Y\n" : "N\n"),
    store: (written) => {
      system.drivers.enableSriov = storedSwitch(written);
    },
  });
  const own = new Map<string, Nodes>([
    ["vfio", moduleNodes("vfio", { enable_unsafe_noiommu_mode: off() })],
    [
      "vfio_iommu_type1",
      moduleNodes("vfio_iommu_type1", {
        allow_unsafe_interrupts: unsafe,
        disable_hugepages: off(),
        dma_entry_limit: text("65535\n"),
      }),
    ],
    ["vfio_pci_core", moduleNodes("vfio_pci_core")],
    [
      "vfio_pci",
      moduleNodes("vfio_pci", {
        disable_denylist: off(),
        disable_idle_d3: off(),
        disable_vga: off(),
        enable_sriov: sriov,
        ids: text("\n"),
        nointxmask: off(),
      }),
    ],
    ["iommufd", moduleNodes("iommufd", { allow_unsafe_interrupts: unsafe })],
    ["pci_stub", moduleNodes("pci_stub")],
  ]);
  for (const name of drivers) if (!own.has(name)) own.set(name, moduleNodes(name));
  return [...own.values()];
}
