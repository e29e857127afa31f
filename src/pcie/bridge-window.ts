/** Address windows of a type 1 header: PCI-to-PCI Bridge 1.2 § 3.2.5.6 to 3.2.5.10. */
import type { Span } from "../units/index.js";
import type { ConfigSpace } from "./config-space.js";

/**
 * One window.
 * `open`     addresses `span` are forwarded downstream
 * `closed`   base above limit: nothing is forwarded
 * `absent`   all registers read zero: the optional I/O or prefetchable window is not implemented
 * `unknown`  not in the capture
 */
export type BridgeWindow =
  | { readonly state: "open"; readonly span: Span }
  | { readonly state: "closed" | "absent" | "unknown" };

export interface BridgeWindows {
  readonly io: BridgeWindow;
  readonly memory: BridgeWindow;
  readonly prefetchable: BridgeWindow;
}

const UNKNOWN: BridgeWindow = { state: "unknown" };
const CLOSED: BridgeWindow = { state: "closed" };
const ABSENT: BridgeWindow = { state: "absent" };

/** The windows of a type 1 header; the caller has checked the header type. */
export function readBridgeWindows(config: ConfigSpace): BridgeWindows {
  return { io: readIo(config), memory: readMemory(config), prefetchable: readPrefetchable(config) };
}

function readIo(config: ConfigSpace): BridgeWindow {
  if (!config.isKnown(0x1c, 2)) return UNKNOWN;
  const base = config.u8(0x1c);
  const limit = config.u8(0x1d);
  if (base === 0 && limit === 0 && config.u32(0x30) === 0) return ABSENT;
  const wide = (base & 0xf) === 1;
  const high = wide ? config.u16(0x30) << 16 : 0;
  const highLimit = wide ? config.u16(0x32) << 16 : 0;
  const first = (high | ((base & 0xf0) << 8)) >>> 0;
  const last = (highLimit | ((limit & 0xf0) << 8) | 0xfff) >>> 0;
  return first <= last ? open(BigInt(first), BigInt(last)) : CLOSED;
}

function readMemory(config: ConfigSpace): BridgeWindow {
  if (!config.isKnown(0x20, 4)) return UNKNOWN;
  const first = BigInt(config.u16(0x20) & 0xfff0) << 16n;
  const last = (BigInt(config.u16(0x22) & 0xfff0) << 16n) | 0xfffffn;
  return first <= last ? open(first, last) : CLOSED;
}

function readPrefetchable(config: ConfigSpace): BridgeWindow {
  if (!config.isKnown(0x24, 4)) return UNKNOWN;
  const base = config.u16(0x24);
  const limit = config.u16(0x26);
  if (base === 0 && limit === 0 && config.u32(0x28) === 0 && config.u32(0x2c) === 0) return ABSENT;
  const wide = (base & 0xf) === 1;
  const high = wide ? BigInt(config.u32(0x28)) << 32n : 0n;
  const highLimit = wide ? BigInt(config.u32(0x2c)) << 32n : 0n;
  const first = high | (BigInt(base & 0xfff0) << 16n);
  const last = highLimit | (BigInt(limit & 0xfff0) << 16n) | 0xfffffn;
  return first <= last ? open(first, last) : CLOSED;
}

function open(first: bigint, last: bigint): BridgeWindow {
  return { state: "open", span: { first, last } };
}
