/** PCI Express capability: PCIe 6 § 7.5.3. */
import { bitOf } from "../../units/index.js";
import type { ConfigSpace } from "../config-space.js";

/** Device/Port Type, flags word bits 7:4. */
export const PortType = {
  Endpoint: 0,
  LegacyEndpoint: 1,
  RootPort: 4,
  UpstreamPort: 5,
  DownstreamPort: 6,
  PcieToPciBridge: 7,
  PciToPcieBridge: 8,
  RcIntegratedEndpoint: 9,
  RcEventCollector: 10,
} as const;
export type PortType = (typeof PortType)[keyof typeof PortType] | number;

export interface ExpressFacts {
  readonly offset: number;
  readonly version: number | undefined;
  readonly portType: PortType;
  /** Slot implemented (ports only). */
  readonly slot: boolean | undefined;
  /** Hot-plug capable slot. */
  readonly hotPlug: boolean | undefined;
  /** Physical slot number. */
  readonly slotNumber: number | undefined;
  /** Port number of a link (ports only); names the port in egress control vectors. */
  readonly portNumber: number | undefined;
  /** Phantom functions supported: how many function-number bits the device may borrow, 0 to 3. */
  readonly phantomBits: number | undefined;
  /** Phantom functions switched on in Device Control. */
  readonly phantomEnabled: boolean | undefined;
  /** End-end TLP prefixes forwarded or accepted (Device Capabilities 2 bit 21). */
  readonly endEndPrefix: boolean | undefined;
  /** How many end-end prefixes, 1 to 4; undefined without support. */
  readonly maxEndEndPrefixes: number | undefined;
  /** Egress blocking of end-end prefixes (Device Control 2 bit 15). */
  readonly endEndPrefixBlocking: boolean | undefined;
  /** ARI forwarding supported / on (downstream ports). */
  readonly ariForwardingSupported: boolean | undefined;
  readonly ariForwarding: boolean | undefined;
  readonly flr: boolean | undefined;
}

const DEVCAP = 0x04;
const DEVCTL = 0x08;
const LNKCAP = 0x0c;
const SLTCAP = 0x14;
const DEVCAP2 = 0x24;
const DEVCTL2 = 0x28;

/** Facts of the PCI Express capability at `offset`. */
export function readExpress(config: ConfigSpace, offset: number): ExpressFacts {
  const flags = config.u16(offset + 2);
  const version = flags & 0xf;
  const slot = (flags & 0x100) !== 0;
  // Registers are read by the byte: text states some bytes of a register and not others.
  const devcap = config.knownU8(offset + DEVCAP);
  const devcap3 = config.knownU8(offset + DEVCAP + 3);
  const devctl = config.knownU16(offset + DEVCTL);
  const sltcap = slot ? config.knownU32(offset + SLTCAP) : undefined;
  const has2 = version >= 2;
  const second = (at: number): number | undefined =>
    has2 ? config.knownU8(offset + at) : version === 1 ? 0 : undefined;
  const prefixes = second(DEVCAP2 + 2);
  const endEnd = bitOf(prefixes, 5);
  return {
    offset,
    version,
    portType: (flags >>> 4) & 0xf,
    slot,
    hotPlug: slot ? bitOf(sltcap, 6) : false,
    slotNumber: sltcap === undefined ? undefined : sltcap >>> 19,
    portNumber: config.knownU8(offset + LNKCAP + 3),
    phantomBits: devcap === undefined ? undefined : (devcap >>> 3) & 3,
    phantomEnabled: bitOf(devctl, 9),
    endEndPrefix: endEnd,
    maxEndEndPrefixes: endEnd === true && prefixes !== undefined ? prefixes >>> 6 || 4 : undefined,
    endEndPrefixBlocking: bitOf(second(DEVCTL2 + 1), 7),
    ariForwardingSupported: bitOf(second(DEVCAP2), 5),
    ariForwarding: bitOf(second(DEVCTL2), 5),
    flr: bitOf(devcap3, 4),
  };
}
