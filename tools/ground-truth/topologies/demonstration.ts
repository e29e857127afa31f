/** The machine that ships as an example: one of each thing that makes devices share a group. */
import {
  device,
  downstream,
  intelIommu,
  intelOn,
  nvme,
  pcieToPci,
  rootPort,
  rootPortWithoutAcs,
  type Topology,
  upstream,
} from "../topology.js";

export const demonstrationTopology: Topology = {
  name: "captured-machine",
  kernels: ["6.12"],
  shows:
    "Debian's kernel in QEMU: a switch without ACS with three endpoints, conventional cards " +
    "behind a PCIe-to-PCI bridge, a display card with an audio function, a network card with " +
    "virtual functions, and a disk below a port without ACS.",
  cmdline: intelOn,
  qemu: [
    intelIommu,
    rootPort("rp1", "1"),
    upstream("up1", "rp1"),
    downstream("d0", "up1", 0),
    downstream("d1", "up1", 1),
    downstream("d2", "up1", 2),
    device("e1000e", "d0"),
    nvme("a", "d1"),
    device("qemu-xhci", "d2"),
    rootPort("rp2", "2"),
    pcieToPci("b1", "rp2"),
    device("e1000", "b1", "addr=1"),
    device("rtl8139", "b1", "addr=2"),
    rootPort("rp3", "3"),
    device("VGA", "rp3", "addr=0.0,multifunction=on"),
    device("intel-hda", "rp3", "addr=0.1"),
    rootPort("rp4", "4"),
    device("igb", "rp4"),
    rootPortWithoutAcs("rp5", "5"),
    nvme("b", "rp5"),
  ],
  guest: {
    modules: ["e1000e", "e1000", "8139cp", "nvme", "xhci_pci", "igb"],
    sriov: ["0000:09:00.0=3"],
  },
  lspci: "-D -vvv -nn",
  shared: [
    "00:05.0 0a:00.0",
    "02:00.0 03:00.0",
    "02:01.0 04:00.0",
    "02:02.0 05:00.0",
    "06:00.0 07:01.0 07:02.0",
    "08:00.0 08:00.1",
  ],
};
