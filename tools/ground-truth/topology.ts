/**
 * Topology: one virtual machine whose PCI hierarchy the real kernel is asked to group.
 *
 * Vocabulary: `rp` root port, `up` upstream port, `dp` downstream port of a switch. The helpers
 * below spell QEMU's `-device` arguments; they exist so that a topology reads as a hierarchy.
 */
import type { KernelName } from "./kernel-source.js";
import { type Platform, type PlatformName, platforms } from "./platform.js";

/** What the guest does between boot and capture. Devices are written `dddd:bb:dd.f`. */
export interface GuestActions {
  /** Kernel modules loaded before anything else, by name. Dependencies follow by themselves. */
  readonly modules?: readonly string[];
  /** `device=count`: virtual functions switched on through sysfs. */
  readonly sriov?: readonly string[];
  /** Bind pci-stub to each function that has no driver. */
  readonly stub?: boolean;
  /** In order: `remove:DEVICE` or `rescan`, the sysfs hot-plug interface. */
  readonly hotplug?: readonly string[];
}

export interface Topology {
  /** Folder name: lower case, digits, hyphens. */
  readonly name: string;
  /** One sentence: what the machine is and what its groups show. */
  readonly shows: string;
  /** Kind of machine; default "pc". */
  readonly platform?: PlatformName;
  /** Kernels to boot it under. */
  readonly kernels: readonly KernelName[];
  /** Kernel options that select the IOMMU; console and speed options are added. */
  readonly cmdline: readonly string[];
  /** QEMU arguments, each group one line of `topology.txt`. */
  readonly qemu: readonly string[];
  readonly guest?: GuestActions;
  /**
   * The groups with more than one member that the kernel is expected to make, as `bb:dd.f` joined
   * by blanks; the chipset's slot 00:1f of a PC goes without saying.
   */
  readonly shared: readonly string[];
  /** Kernels that are expected to make other ones. */
  readonly sharedUnder?: Readonly<Partial<Record<KernelName, readonly string[]>>>;
  /** Functions expected to be in no group. */
  readonly ungrouped?: readonly string[];
  /** Options of the guest's lspci; default {@link defaultLspci}. */
  readonly lspci?: string;
}

export const defaultLspci = "-vvv -nn";

/** The platform of a topology. */
export function platformOf(topology: Topology): Platform {
  return platforms[topology.platform ?? "pc"];
}

export const intelIommu = "-device intel-iommu";
export const intelOn: readonly string[] = ["intel_iommu=on"];
export const allKernels: readonly KernelName[] = ["6.1", "6.12", "7.2"];

/** A PCI Express root port with ACS at slot `addr` ("1" or "1.0") of the root bus `bus`. */
export function rootPort(id: string, addr: string, more = "", bus = "pcie.0"): string {
  const multi = /\.0$/.test(addr) ? ",multifunction=on" : "";
  const slot = slotOf(id);
  const place = `bus=${bus},chassis=${slot},slot=${slot},addr=${addr}`;
  return `-device pcie-root-port,id=${id},${place}${multi}${more}`;
}

/** A root port whose ACS capability is switched off. */
export function rootPortWithoutAcs(id: string, addr: string, bus = "pcie.0"): string {
  return rootPort(id, addr, ",disable-acs=on", bus);
}

/** The upstream port of a switch; TI XIO3130, which has no ACS. */
export function upstream(id: string, bus: string): string {
  return `-device x3130-upstream,id=${id},bus=${bus}`;
}

/** A downstream port of a switch at device number `device`; TI XIO3130, which has no ACS. */
export function downstream(id: string, bus: string, device: number): string {
  const slot = slotOf(id);
  const place = `bus=${bus},chassis=${slot},slot=${slot},addr=${device.toString(16)}`;
  return `-device xio3130-downstream,id=${id},${place}`;
}

/** Any endpoint or bridge: `model` with its own options, on `bus`. */
export function device(model: string, bus: string, more = ""): string {
  return `-device ${model},bus=${bus}${more === "" ? "" : `,${more}`}`;
}

export function nvme(serial: string, bus: string, more = ""): string {
  return device(`nvme,serial=${serial}`, bus, more);
}

export function pcieToPci(id: string, bus: string, more = ""): string {
  return device(`pcie-pci-bridge,id=${id}`, bus, more);
}

export function pciBridge(id: string, bus: string, addr: number): string {
  return device(`pci-bridge,id=${id}`, bus, `addr=${addr.toString(16)},chassis_nr=${slotOf(id)}`);
}

/** A slot number from the letters and digits of an id, unique for the ids used here. */
function slotOf(id: string): number {
  let sum = 0;
  for (const char of id) sum = (sum * 37 + char.charCodeAt(0)) % 251;
  return sum + 1;
}
