/** Conventional PCI: bridges that stand in for the devices behind them. */
import {
  allKernels,
  device,
  intelIommu,
  intelOn,
  pciBridge,
  pcieToPci,
  rootPort,
  type Topology,
} from "../topology.js";

const base = { cmdline: intelOn, kernels: ["6.12"] } as const;

export const bridgeTopologies: readonly Topology[] = [
  {
    ...base,
    name: "pcie-to-pci-bridge",
    kernels: allKernels,
    shows: "Three conventional cards behind a PCIe-to-PCI bridge: bridge and cards are one group.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      pcieToPci("b1", "rp1"),
      device("e1000", "b1", "addr=1"),
      device("rtl8139", "b1", "addr=2"),
      device("pcnet", "b1", "addr=3"),
      rootPort("rp2", "2"),
      device("e1000e", "rp2"),
    ],
    lspci: "-vvvxxx",
    shared: ["01:00.0 02:01.0 02:02.0 02:03.0"],
  },
  {
    ...base,
    name: "conventional-bridge-chain",
    shows: "Two conventional bridges below a PCIe-to-PCI bridge: every level shares.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      pcieToPci("b1", "rp1"),
      device("e1000", "b1", "addr=1"),
      pciBridge("b2", "b1", 2),
      device("rtl8139", "b2", "addr=1"),
      pciBridge("b3", "b2", 2),
      device("pcnet", "b3", "addr=1"),
    ],
    shared: ["01:00.0 02:01.0 02:02.0 03:01.0 03:02.0 04:01.0"],
  },
  {
    ...base,
    name: "conventional-bridge-on-root-bus",
    shows: "An 82801 bridge and a further conventional bridge on the root bus itself.",
    qemu: [
      intelIommu,
      "-device i82801b11-bridge,id=b1,bus=pcie.0,addr=1e.0",
      device("e1000", "b1", "addr=1"),
      pciBridge("b2", "b1", 2),
      device("rtl8139", "b2", "addr=1"),
      device("pcnet", "b2", "addr=2"),
    ],
    shared: ["00:1e.0 01:01.0 01:02.0 02:01.0 02:02.0"],
  },
  {
    ...base,
    name: "bridge-in-multifunction-slot",
    shows:
      "A PCIe-to-PCI bridge shares its slot with an endpoint: both, and all behind, are one group.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      `${pcieToPci("b1", "rp1")},addr=0.0,multifunction=on`,
      device("e1000e", "rp1", "addr=0.1"),
      device("rtl8139", "b1", "addr=1"),
    ],
    shared: ["01:00.0 01:00.1 02:01.0"],
  },
  {
    ...base,
    name: "rescan-bridge",
    shows: "The subtree of a bridge removed and rescanned: the groups come back as they were.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      pcieToPci("b1", "rp1"),
      device("e1000", "b1", "addr=1"),
      device("rtl8139", "b1", "addr=2"),
      rootPort("rp2", "2"),
      device("e1000e", "rp2"),
    ],
    guest: { hotplug: ["remove:0000:01:00.0", "rescan"] },
    shared: ["01:00.0 02:01.0 02:02.0"],
  },
];
