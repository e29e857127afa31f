/**
 * The texts of a function that never change: ids, place, link. Formats as Linux
 * drivers/pci/pci-sysfs.c prints them.
 */
import { listCapabilityEntries, type PciFunction } from "../pcie/index.js";
import { formatBdf } from "../units/index.js";
import { hex, upper } from "./bytes.js";
import { type TreeNode, text } from "./tree-node.js";

type Put = (name: string, node: TreeNode) => void;

/** Link speeds by their code (PCIe 6 § 7.5.3.6). */
const SPEEDS = ["Unknown", "2.5", "5.0", "8.0", "16.0", "32.0", "64.0"].map((s) =>
  s === "Unknown" ? s : `${s} GT/s PCIe`,
);

/** What the kernel shows where it knows nothing better. */
const ALL_CPUS = "1\n";
const ALL_CPU_LIST = "0\n";

/** Ids and places of a function. */
export function putTexts(fn: PciFunction, put: Put): void {
  const { vendor, device, subVendor, subDevice, revision, classCode } = fn.ids;
  put("vendor", text(`${hex(vendor ?? 0, 4)}\n`));
  put("device", text(`${hex(device ?? 0, 4)}\n`));
  put("subsystem_vendor", text(`${hex(subVendor ?? 0, 4)}\n`));
  put("subsystem_device", text(`${hex(subDevice ?? 0, 4)}\n`));
  put("class", text(`${hex(classCode ?? 0, 6)}\n`));
  put("revision", text(`${hex(revision ?? 0, 2)}\n`));
  put("modalias", text(`${modalias(fn)}\n`));
  put("numa_node", text("-1\n", 0o644));
  put("local_cpus", text(ALL_CPUS));
  put("local_cpulist", text(ALL_CPU_LIST));
  put("dma_mask_bits", text("32\n"));
  put("consistent_dma_mask_bits", text("32\n"));
  put("ari_enabled", text(`${fn.upstreamBridge?.express?.ariForwarding === true ? 1 : 0}\n`));
  const { label } = fn.description;
  if (label !== undefined) put("label", text(`${label}\n`));
  if ((classCode ?? 0) >>> 16 === 0x03) put("boot_vga", text("0\n"));
  if (fn.isBridge) {
    put("secondary_bus_number", text(`${fn.secondaryBusNumber ?? 0}\n`));
    put("subordinate_bus_number", text(`${fn.subordinateBusNumber ?? 0}\n`));
  }
  const express = fn.express ? fn.express.offset : undefined;
  if (express !== undefined) putLink(fn, express, put);
}

function putLink(fn: PciFunction, express: number, put: Put): void {
  const able = fn.config.u32(express + 0x0c);
  const now = fn.config.u16(express + 0x12);
  const speed = (code: number): string => SPEEDS[code & 0xf] ?? "Unknown";
  put("max_link_speed", text(`${speed(able)}\n`));
  put("max_link_width", text(`${(able >>> 4) & 0x3f}\n`));
  put("current_link_speed", text(`${speed(now)}\n`));
  put("current_link_width", text(`${(now >>> 4) & 0x3f}\n`));
}

function modalias(fn: PciFunction): string {
  const { vendor = 0, device = 0, subVendor = 0, subDevice = 0, classCode = 0 } = fn.ids;
  const ids = `v${upper(vendor, 8)}d${upper(device, 8)}`;
  const sub = `sv${upper(subVendor, 8)}sd${upper(subDevice, 8)}`;
  const base = upper((classCode >>> 16) & 0xff, 2);
  const low = `sc${upper((classCode >>> 8) & 0xff, 2)}i${upper(classCode & 0xff, 2)}`;
  return `pci:${ids}${sub}bc${base}${low}`;
}

/** The text of `uevent`. */
export function ueventOf(fn: PciFunction, driver: string | undefined): string {
  const { vendor = 0, device = 0, subVendor = 0, subDevice = 0, classCode = 0 } = fn.ids;
  const lines = [
    ...(driver === undefined ? [] : [`DRIVER=${driver}`]),
    `PCI_CLASS=${upper(classCode, 4)}`,
    `PCI_ID=${upper(vendor, 4)}:${upper(device, 4)}`,
    `PCI_SUBSYS_ID=${upper(subVendor, 4)}:${upper(subDevice, 4)}`,
    `PCI_SLOT_NAME=${formatBdf(fn.bdf)}`,
    `MODALIAS=${modalias(fn)}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** Offset of a standard capability. */
export function standardCapability(fn: PciFunction, id: number): number | undefined {
  return listCapabilityEntries(fn.config).find((e) => !e.extended && e.id === id)?.offset;
}
