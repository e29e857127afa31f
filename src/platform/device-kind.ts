/**
 * The kinds of devices in a platform file: what each is in PCI Express terms, and where it may sit.
 */
import { PortType } from "../pcie/index.js";
import type { DEVICE_KINDS } from "./platform-shape.js";

export type DeviceKind = (typeof DEVICE_KINDS)[number];

/**
 * What a bus is: directly below the host, a PCI Express link, inside a switch, or conventional PCI.
 */
export type BusKind = "root" | "link" | "switch" | "conventional";

export interface KindFacts {
  /** PCI Express port type; undefined for conventional PCI. */
  readonly type: number | undefined;
  /** The bus below, for bridges. */
  readonly below: BusKind | undefined;
  readonly on: readonly BusKind[];
  readonly classCode: number;
}

const BRIDGE = 0x060400;
const ETHERNET = 0x020000;

export const KINDS: Readonly<Record<DeviceKind, KindFacts>> = {
  "root-port": { type: PortType.RootPort, below: "link", on: ["root"], classCode: BRIDGE },
  "switch-upstream": {
    type: PortType.UpstreamPort,
    below: "switch",
    on: ["link"],
    classCode: BRIDGE,
  },
  "switch-downstream": {
    type: PortType.DownstreamPort,
    below: "link",
    on: ["switch"],
    classCode: BRIDGE,
  },
  "pcie-to-pci-bridge": {
    type: PortType.PcieToPciBridge,
    below: "conventional",
    on: ["root", "link"],
    classCode: BRIDGE,
  },
  "pci-to-pcie-bridge": {
    type: PortType.PciToPcieBridge,
    below: "link",
    on: ["root", "conventional"],
    classCode: BRIDGE,
  },
  "pci-bridge": {
    type: undefined,
    below: "conventional",
    on: ["root", "link", "conventional"],
    classCode: BRIDGE,
  },
  endpoint: {
    type: PortType.Endpoint,
    below: undefined,
    on: ["root", "link"],
    classCode: ETHERNET,
  },
  "legacy-endpoint": {
    type: PortType.LegacyEndpoint,
    below: undefined,
    on: ["root", "link"],
    classCode: ETHERNET,
  },
  "integrated-endpoint": {
    type: PortType.RcIntegratedEndpoint,
    below: undefined,
    on: ["root"],
    classCode: ETHERNET,
  },
  "event-collector": {
    type: PortType.RcEventCollector,
    below: undefined,
    on: ["root"],
    classCode: 0x080700,
  },
  // Emulated hosts put conventional devices straight behind a port.
  conventional: {
    type: undefined,
    below: undefined,
    on: ["root", "link", "conventional"],
    classCode: ETHERNET,
  },
};

export const BUS_IN_WORDS: Readonly<Record<BusKind, string>> = {
  root: "a root bus",
  link: "a PCI Express link",
  switch: "the bus inside a switch",
  conventional: "a conventional bus",
};
