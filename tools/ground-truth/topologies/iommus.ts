/** Other IOMMUs and other modes: AMD-Vi, virtio-iommu, scalable mode, device IOTLB, none. */
import {
  device,
  downstream,
  intelIommu,
  intelOn,
  nvme,
  pciBridge,
  pcieToPci,
  rootPort,
  rootPortWithoutAcs,
  type Topology,
  upstream,
} from "../topology.js";

const virtioMachine = [
  "-device virtio-iommu-pci,addr=1e.0",
  rootPort("rp1", "1"),
  device("e1000e", "rp1"),
  rootPortWithoutAcs("rp2", "2"),
  nvme("a", "rp2", "addr=0.0,multifunction=on"),
  device("e1000e", "rp2", "addr=0.1"),
];

export const iommuTopologies: readonly Topology[] = [
  {
    name: "amd-iommu-bridges",
    kernels: ["6.1", "6.12"],
    shows: "AMD-Vi with a bridge chain, a switch without ACS and a multi-function slot.",
    cmdline: ["noapic"],
    qemu: [
      "-device amd-iommu",
      rootPort("rp1", "5"),
      pcieToPci("b1", "rp1"),
      device("e1000", "b1", "addr=1"),
      pciBridge("b2", "b1", 2),
      device("rtl8139", "b2", "addr=1"),
      rootPort("rp2", "6"),
      upstream("up1", "rp2"),
      downstream("d0", "up1", 0),
      downstream("d1", "up1", 1),
      device("e1000e", "d0"),
      nvme("a", "d1"),
      rootPort("rp3", "7"),
      device("e1000e", "rp3", "addr=0.0,multifunction=on"),
      nvme("b", "rp3", "addr=0.1"),
    ],
  },
  {
    name: "virtio-iommu",
    kernels: ["6.12", "7.2"],
    shows:
      "virtio-iommu loaded as a module (VIOT table), pci-stub on each function without a driver. " +
      "The IOMMU's own function has no group.",
    cmdline: [],
    qemu: virtioMachine,
    guest: { modules: ["virtio_pci", "virtio-iommu"], stub: true },
  },
  {
    name: "virtio-iommu-unbound",
    kernels: ["6.12"],
    shows:
      "The same without pci-stub: this kernel groups a function only when a driver binds to it.",
    cmdline: [],
    qemu: virtioMachine,
    guest: { modules: ["virtio_pci", "virtio-iommu"] },
  },
  {
    name: "scalable-mode-ats",
    kernels: ["6.12", "7.2"],
    shows: "VT-d scalable mode with device IOTLB; a device with ATS; a path without ACS.",
    cmdline: ["intel_iommu=on,sm_on"],
    qemu: [
      "-device intel-iommu,intremap=on,device-iotlb=on,x-scalable-mode=on",
      rootPort("rp1", "1"),
      "-device virtio-net-pci,bus=rp1,disable-legacy=on,iommu_platform=on,ats=on",
      rootPortWithoutAcs("rp2", "2"),
      nvme("a", "rp2", "addr=0.0,multifunction=on"),
      device("e1000e", "rp2", "addr=0.1"),
      pcieToPci("b1", "pcie.0", "addr=4"),
      device("e1000", "b1", "addr=1"),
    ],
  },
  {
    name: "iommu-off",
    kernels: ["6.12"],
    shows: "The DMAR table is there, the kernel option is not: no groups exist.",
    cmdline: ["intel_iommu=off"],
    qemu: [intelIommu, rootPort("rp1", "1"), device("e1000e", "rp1")],
  },
  {
    name: "passthrough-mode",
    kernels: ["6.12"],
    shows: "iommu=pt changes the kind of default domain, never the groups.",
    cmdline: [...intelOn, "iommu=pt"],
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      device("e1000e", "rp1", "addr=0.0,multifunction=on"),
      nvme("a", "rp1", "addr=0.1"),
      rootPortWithoutAcs("rp2", "2"),
      device("e1000e", "rp2"),
    ],
  },
];
