/** Kernel options that set ACS control bits by hand. */
import { device, intelIommu, intelOn, nvme, rootPort, type Topology } from "../topology.js";

const machine = [
  intelIommu,
  rootPort("rp1", "1"),
  rootPort("rp2", "2"),
  rootPort("rp3", "3.0"),
  rootPort("rp4", "3.1"),
  device("e1000e", "rp1", "addr=0.0,multifunction=on"),
  nvme("a", "rp1", "addr=0.1"),
  device("e1000e", "rp2"),
  device("e1000e", "rp3"),
  nvme("b", "rp4"),
];

export const acsOptionTopologies: readonly Topology[] = [
  {
    name: "disable-acs-redir",
    kernels: ["6.1", "7.2"],
    shows: "pci=disable_acs_redir= on 03.0: request and completion redirect are off at that port.",
    cmdline: [...intelOn, "pci=disable_acs_redir=0000:00:03.0"],
    qemu: machine,
    shared: ["00:03.0 03:00.0", "01:00.0 01:00.1"],
  },
  {
    name: "config-acs",
    kernels: ["6.12", "7.2"],
    shows: "pci=config_acs= leaves 03.1 without redirect and 01.0 without upstream forwarding.",
    cmdline: [...intelOn, "pci=config_acs=0010001@0000:00:03.1;00x1101@0000:00:01.0"],
    qemu: machine,
    shared: ["00:01.0 01:00.0 01:00.1", "00:03.1 04:00.0"],
  },
];
