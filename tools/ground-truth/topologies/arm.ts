/** Arm machines with an SMMUv3: described by an ACPI table, and by a device tree. */
import {
  device,
  nvme,
  pcieToPci,
  rootPort,
  rootPortWithoutAcs,
  type Topology,
} from "../topology.js";

const machine = [
  rootPort("rp1", "1"),
  device("e1000e", "rp1"),
  rootPortWithoutAcs("rp2", "2"),
  nvme("a", "rp2", "addr=0.0,multifunction=on"),
  device("e1000e", "rp2", "addr=0.1"),
  rootPort("rp3", "3"),
  pcieToPci("b1", "rp3"),
  device("e1000", "b1", "addr=1"),
];

export const armTopologies: readonly Topology[] = [
  {
    name: "smmuv3-iort",
    platform: "arm-acpi",
    kernels: ["6.12"],
    shows: "SMMUv3 described by an IORT table: groups as on a PC, made when drivers bind.",
    cmdline: [],
    qemu: machine,
    guest: { stub: true },
    shared: ["00:02.0 02:00.0 02:00.1", "03:00.0 04:01.0"],
  },
  {
    name: "smmuv3-device-tree",
    platform: "arm-devicetree",
    kernels: ["6.1", "6.12", "7.2"],
    shows:
      "SMMUv3 described by a device tree: 6.1 and 6.12 leave ACS of the first hierarchy as the " +
      "firmware left it, 7.2 switches it on.",
    cmdline: [],
    qemu: machine,
    guest: { stub: true },
    shared: ["00:01.0 01:00.0", "00:02.0 02:00.0 02:00.1", "00:03.0 03:00.0 04:01.0"],
    sharedUnder: { "7.2": ["00:02.0 02:00.0 02:00.1", "03:00.0 04:01.0"] },
  },
];
