/** SR-IOV: virtual functions never count as functions of a slot, but share a broken path. */
import {
  device,
  downstream,
  intelIommu,
  intelOn,
  rootPort,
  rootPortWithoutAcs,
  type Topology,
  upstream,
} from "../topology.js";

const base = { cmdline: intelOn, kernels: ["6.12"] } as const;
const fourVfs = { modules: ["igb"], sriov: ["0000:01:00.0=4"] } as const;

export const sriovTopologies: readonly Topology[] = [
  {
    ...base,
    name: "sriov-behind-acs-port",
    kernels: ["6.1", "6.12"],
    shows: "Intel 82576 with four virtual functions below a port with ACS: all alone.",
    qemu: [intelIommu, rootPort("rp1", "1"), device("igb", "rp1")],
    guest: fourVfs,
    lspci: "-vvv -nn -xxx",
    shared: [],
  },
  {
    ...base,
    name: "sriov-behind-port-without-acs",
    kernels: ["7.2"],
    shows: "The same below a port without ACS: port, physical and virtual functions are one group.",
    qemu: [intelIommu, rootPortWithoutAcs("rp1", "1"), device("igb", "rp1")],
    guest: fourVfs,
    lspci: "-vvvxxx",
    shared: ["00:01.0 01:00.0 01:10.0 01:10.2 01:10.4 01:10.6"],
  },
  {
    ...base,
    name: "sriov-without-quirk",
    shows: "NVMe with four virtual functions in the slot of the physical one, no ACS: all alone.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      "-device nvme-subsys,id=s0",
      device(
        "nvme,serial=a,subsys=s0",
        "rp1",
        "sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=18,msix_qsize=9",
      ),
    ],
    guest: { modules: ["nvme"], sriov: ["0000:01:00.0=4"] },
    shared: [],
  },
  {
    ...base,
    name: "sriov-behind-switch",
    shows: "Virtual functions below a switch without ACS join the group of their downstream port.",
    qemu: [
      intelIommu,
      rootPort("rp1", "1"),
      upstream("up1", "rp1"),
      downstream("d0", "up1", 0),
      downstream("d1", "up1", 1),
      device("igb", "d0"),
      device("e1000e", "d1"),
    ],
    guest: { modules: ["igb"], sriov: ["0000:03:00.0=2"] },
    shared: ["02:00.0 03:00.0 03:10.0 03:10.2", "02:01.0 04:00.0"],
  },
];
