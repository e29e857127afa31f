/** How a device is called in sentences and tables: its role in the fabric, its class, its name. */
import { type Fabric, type PciFunction, PortType } from "../pcie/index.js";
import { type Bdf, formatBdf, hex } from "../units/index.js";
import { className } from "./class-name.js";

/** Where the function stands in the fabric, as a noun without article. */
export function roleOf(fn: PciFunction): string {
  switch (fn.portType) {
    case PortType.RootPort:
      return "root port";
    case PortType.UpstreamPort:
      return "switch upstream port";
    case PortType.DownstreamPort:
      return "switch downstream port";
    case PortType.PcieToPciBridge:
      return "PCIe-to-PCI bridge";
    case PortType.PciToPcieBridge:
      return "PCI-to-PCIe bridge";
    case PortType.RcEventCollector:
      return "root complex event collector";
    default:
      return ordinaryRole(fn);
  }
}

function ordinaryRole(fn: PciFunction): string {
  if (fn.isBridge) return fn.isPcie === false ? "conventional PCI bridge" : "bridge";
  if (fn.isVirtual) return "virtual function";
  return className(fn.ids.classCode) ?? "function";
}

/** `8086:10d3`, or undefined when the ids are not known. */
export function idText(fn: PciFunction): string | undefined {
  const { vendor, device } = fn.ids;
  if (vendor === undefined || device === undefined) return undefined;
  return `${hex(vendor, 4)}:${hex(device, 4)}`;
}

/** The name the capture gives, else class and ids: never empty. */
export function describeDevice(fn: PciFunction): string {
  const name = fn.description.name?.trim();
  const ids = idText(fn);
  if (name !== undefined && name !== "" && name !== "Device") {
    // What lspci prints of a device that its data does not know: the number tells more.
    return ids !== undefined && name.endsWith(" Device") ? `${name} ${ids.slice(5)}` : name;
  }
  const kind = roleOf(fn);
  return ids === undefined ? kind : `${kind} ${ids}`;
}

/** `root port 0000:00:01.0`; a device outside the capture is "device". */
export function callDevice(fabric: Fabric, bdf: Bdf): string {
  const fn = fabric.function(bdf);
  return `${fn === undefined ? "device" : roleOf(fn)} ${formatBdf(bdf)}`;
}

/** Physical slot or board label when the capture has one. */
export function placeOf(fn: PciFunction): string | undefined {
  const { slot, label } = fn.description;
  if (label !== undefined && label !== "") return label;
  return slot === undefined || slot === "" ? undefined : `slot ${slot}`;
}
