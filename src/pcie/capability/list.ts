/** The two capability chains. PCIe 6 § 7.5.1.1.11 (standard), § 7.6.3 (extended). */
import type { ConfigSpace } from "../config-space.js";

export const CapabilityId = {
  PowerManagement: 0x01,
  Msi: 0x05,
  PciBridgeSubsystem: 0x0d,
  PciExpress: 0x10,
  MsiX: 0x11,
  AdvancedFeatures: 0x13,
  EnhancedAllocation: 0x14,
} as const;

export const ExtendedCapabilityId = {
  Aer: 0x0001,
  Serial: 0x0003,
  Vendor: 0x000b,
  Acs: 0x000d,
  Ari: 0x000e,
  Ats: 0x000f,
  SrIov: 0x0010,
  Pri: 0x0013,
  ResizableBar: 0x0015,
  Pasid: 0x001b,
  Dvsec: 0x0023,
  VfResizableBar: 0x0024,
} as const;

const STATUS = 0x06;
const STATUS_CAPABILITY_LIST = 0x10;
const EXTENDED_FIRST = 0x100;
/** A chain of 4-byte-aligned entries cannot be longer; ends loops. */
const STANDARD_LIMIT = 48;
const EXTENDED_LIMIT = 960;

/**
 * id → offset of its first instance. Chains are short and there is one pair of them per function,
 * so they are kept as a list of small numbers; a Map would cost more than all facts of a function.
 */
export class CapabilityOffsets {
  /** `id * 4096 + offset`, in chain order; the first instance of an id answers. */
  readonly #entries: readonly number[];

  constructor(entries: readonly number[]) {
    // A copy is exactly as long as it must be.
    this.#entries = entries.slice();
  }

  get(id: number): number | undefined {
    for (const entry of this.#entries) if (entry >>> 12 === id) return entry & 0xfff;
    return undefined;
  }

  has(id: number): boolean {
    return this.get(id) !== undefined;
  }

  get size(): number {
    return this.#entries.length;
  }
}

export interface CapabilityList {
  /** Undefined when the chain is not known. */
  readonly standard: CapabilityOffsets | undefined;
  readonly extended: CapabilityOffsets | undefined;
  /** A chain that loops or points outside its space was cut here. */
  readonly broken: boolean;
}

const NONE = new CapabilityOffsets([]);

/** Walks both chains as far as the extent reaches; loops end and count as broken. */
export function readCapabilities(config: ConfigSpace): CapabilityList {
  if (config.extent < 64) return { standard: undefined, extended: undefined, broken: false };
  const has = (config.u8(STATUS) & STATUS_CAPABILITY_LIST) !== 0;
  if (!has) return { standard: NONE, extended: NONE, broken: false };
  if (config.extent < 256) return { standard: undefined, extended: undefined, broken: false };
  const entries: number[] = [];
  let broken = walkStandard(config, entries);
  const standard = new CapabilityOffsets(entries);
  if (!standard.has(CapabilityId.PciExpress)) return { standard, extended: NONE, broken };
  if (config.extent < 4096) return { standard, extended: undefined, broken };
  entries.length = 0;
  broken = walkExtended(config, entries) || broken;
  const extended = entries.length === 0 ? NONE : new CapabilityOffsets(entries);
  return { standard, extended, broken };
}

/** Offset of the first instance, null when known absent, undefined when the chain is not known. */
export function findStandard(list: CapabilityList, id: number): number | null | undefined {
  return list.standard === undefined ? undefined : (list.standard.get(id) ?? null);
}

/** As {@link findStandard}, in the extended chain. */
export function findExtended(list: CapabilityList, id: number): number | null | undefined {
  return list.extended === undefined ? undefined : (list.extended.get(id) ?? null);
}

function walkStandard(config: ConfigSpace, out: number[]): boolean {
  // CardBus bridges keep the pointer elsewhere (PC Card § 5, offset 14h).
  let at = config.u8((config.u8(0x0e) & 0x7f) === 2 ? 0x14 : 0x34) & 0xfc;
  for (let n = 0; at !== 0; n++) {
    if (n >= STANDARD_LIMIT || at < 0x40) return true;
    const id = config.u8(at);
    if (id === 0xff) return true;
    out.push(id * 4096 + at);
    at = config.u8(at + 1) & 0xfc;
  }
  return false;
}

function walkExtended(config: ConfigSpace, out: number[]): boolean {
  let at = EXTENDED_FIRST;
  for (let n = 0; at !== 0; n++) {
    if (n >= EXTENDED_LIMIT || at < EXTENDED_FIRST) return true;
    const header = config.u32(at);
    if (header === 0 || header === 0xffffffff) return header !== 0;
    const id = header & 0xffff;
    // An entry with id 0 (null capability) carries only the link.
    if (id !== 0) out.push(id * 4096 + at);
    at = (header >>> 20) & 0xffc;
  }
  return false;
}
