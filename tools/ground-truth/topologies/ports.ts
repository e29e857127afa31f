/** Endpoints and root ports: path, slot, several root buses, buses outside the IOMMU's scope. */
import {
  allKernels,
  device,
  intelIommu,
  intelOn,
  nvme,
  rootPort,
  rootPortWithoutAcs,
  type Topology,
} from "../topology.js";

const base = { cmdline: intelOn, kernels: ["6.12"] } as const;

export const portTopologies: readonly Topology[] = [
  {
    ...base,
    name: "single-endpoint",
    shows:
      "One endpoint integrated into the root complex; the chipset's functions of slot 1f share.",
    qemu: [intelIommu, device("e1000e", "pcie.0", "addr=2")],
    lspci: "-vvv -nn -xxxx",
    shared: [],
  },
  {
    ...base,
    name: "acs-root-ports",
    kernels: allKernels,
    shows: "Three root ports with ACS, an endpoint below each: each function has its own group.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      rootPort("rp2", "2"),
      rootPort("rp3", "3"),
      device("e1000e", "rp1"),
      device("virtio-net-pci", "rp2"),
      nvme("a", "rp3"),
    ],
    lspci: "-vvv -nn -xxx",
    shared: [],
  },
  {
    ...base,
    name: "multifunction-endpoint",
    shows: "Two functions of one slot without ACS, below a port with ACS: the slot is one group.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      device("e1000e", "rp1", "addr=0.0,multifunction=on"),
      nvme("a", "rp1", "addr=0.1"),
    ],
    lspci: "-xxxx",
    shared: ["01:00.0 01:00.1"],
  },
  {
    ...base,
    name: "root-port-without-acs",
    shows: "A root port without ACS: port and endpoint share, the port next to it is not touched.",
    qemu: [
      intelIommu,
      rootPortWithoutAcs("rp1", "1"),
      rootPort("rp2", "2"),
      device("e1000e", "rp1"),
      nvme("a", "rp2"),
    ],
    lspci: "-D -vvv -nn",
    shared: ["00:01.0 01:00.0"],
  },
  {
    ...base,
    name: "root-port-slot-without-acs",
    shows: "Three root ports in one slot, none with ACS: the slot and all below it is one group.",
    qemu: [
      intelIommu,
      rootPortWithoutAcs("rp1", "1.0"),
      rootPortWithoutAcs("rp2", "1.1"),
      rootPortWithoutAcs("rp3", "1.2"),
      device("e1000e", "rp1"),
      nvme("a", "rp2"),
      device("qemu-xhci", "rp3"),
    ],
    shared: ["00:01.0 00:01.1 00:01.2 01:00.0 02:00.0 03:00.0"],
  },
  {
    ...base,
    name: "slot-with-quirked-function",
    shows:
      "An Intel 82576 (isolated by the kernel's quirk list) and a plain function in one slot: " +
      "the plain one has nobody to share with.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      // The kernel finds functions of a device with ARI by the chain of next function numbers.
      device("igb", "rp1", "addr=0.0,multifunction=on,x-pcie-ari-nextfn-1=on"),
      device("e1000e", "rp1", "addr=0.1"),
    ],
    shared: [],
  },
  {
    ...base,
    name: "graphics-and-audio",
    shows: "Display and audio as two conventional functions of one card below a port with ACS.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      device("VGA", "rp1", "addr=0.0,multifunction=on"),
      device("intel-hda", "rp1", "addr=0.1"),
      rootPort("rp2", "2"),
      nvme("a", "rp2"),
    ],
    lspci: "-vvv",
    shared: ["01:00.0 01:00.1"],
  },
  {
    ...base,
    name: "integrated-slot",
    kernels: ["6.1", "7.2"],
    shows:
      "Three functions of one slot of the root complex: the Intel one is isolated by the quirk " +
      "for integrated endpoints, the other two share.",
    qemu: [
      intelIommu,
      device("e1000e", "pcie.0", "addr=3.0,multifunction=on"),
      nvme("a", "pcie.0", "addr=3.1"),
      device("qemu-xhci", "pcie.0", "addr=3.3"),
    ],
    shared: ["00:03.1 00:03.3"],
  },
  {
    ...base,
    name: "several-root-buses",
    shows: "Root buses 00, 20 and 40; one root port of bus 20 has no ACS.",
    qemu: [
      intelIommu,
      "-device pxb-pcie,id=px1,bus=pcie.0,bus_nr=32,addr=8",
      "-device pxb-pcie,id=px2,bus=pcie.0,bus_nr=64,addr=9",
      rootPort("rp1", "0", "", "px1"),
      rootPortWithoutAcs("rp2", "1", "px1"),
      rootPort("rp3", "0", "", "px2"),
      device("e1000e", "rp1"),
      nvme("a", "rp2"),
      device("e1000e", "rp3"),
    ],
    shared: ["20:01.0 22:00.0"],
  },
  {
    ...base,
    name: "root-bus-outside-scope",
    kernels: ["6.12", "7.2"],
    shows: "Root bus 20 is in no scope of the DMAR table: its functions have no group at all.",
    qemu: [
      intelIommu,
      "-device pxb-pcie,id=px1,bus=pcie.0,bus_nr=32,addr=8,bypass_iommu=on",
      "-device pxb-pcie,id=px2,bus=pcie.0,bus_nr=64,addr=9",
      rootPort("rp1", "0", "", "px1"),
      rootPort("rp2", "0", "", "px2"),
      device("e1000e", "rp1"),
      device("e1000e", "rp2"),
    ],
    shared: [],
    ungrouped: ["20:00.0", "21:00.0"],
  },
  {
    ...base,
    name: "default-bus-outside-scope",
    shows: "Root bus 00 is in no scope of the DMAR table, bus 20 is: nearly nothing has a group.",
    qemu: [
      "-machine default-bus-bypass-iommu=on",
      intelIommu,
      rootPort("rp1", "1"),
      device("e1000e", "rp1"),
      "-device pxb-pcie,id=px1,bus=pcie.0,bus_nr=32,addr=8",
      rootPort("rp2", "0", "", "px1"),
      nvme("a", "rp2"),
    ],
    shared: [],
    ungrouped: ["00:00.0", "00:01.0", "00:08.0", "00:1f.0", "00:1f.2", "00:1f.3", "01:00.0"],
  },
];
