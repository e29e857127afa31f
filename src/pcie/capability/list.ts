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
  /** False when the chain goes on in bytes that are not known. */
  readonly complete: boolean;

  constructor(entries: readonly number[], complete = true) {
    // A copy is exactly as long as it must be.
    this.#entries = entries.slice();
    this.complete = complete;
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
  /** Undefined when nothing of the chain is known. */
  readonly standard: CapabilityOffsets | undefined;
  readonly extended: CapabilityOffsets | undefined;
  /** A chain that loops or points outside its space was cut here. */
  readonly broken: boolean;
}

const NONE = new CapabilityOffsets([]);

/**
 * Walks both chains as far as the extent and the known bytes reach; loops end and count as broken.
 */
export function readCapabilities(config: ConfigSpace): CapabilityList {
  if (config.extent < 64) return { standard: undefined, extended: undefined, broken: false };
  const has = (config.u8(STATUS) & STATUS_CAPABILITY_LIST) !== 0;
  if (!has) return { standard: NONE, extended: NONE, broken: false };
  if (config.extent < 256) return { standard: undefined, extended: undefined, broken: false };
  const entries: number[] = [];
  const first = walkStandard(config, entries);
  const standard = new CapabilityOffsets(entries, first !== "cut");
  const broken = first === "broken";
  if (!standard.has(CapabilityId.PciExpress)) {
    return { standard, extended: standard.complete ? NONE : undefined, broken };
  }
  if (config.extent < 4096) return { standard, extended: undefined, broken };
  entries.length = 0;
  const second = walkExtended(config, entries);
  const plain = entries.length === 0 && second !== "cut";
  const extended = plain ? NONE : new CapabilityOffsets(entries, second !== "cut");
  return { standard, extended, broken: broken || second === "broken" };
}

/** Offset of the first instance, null when known absent, undefined when the chain does not say. */
export function findStandard(list: CapabilityList, id: number): number | null | undefined {
  return find(list.standard, id);
}

/** As {@link findStandard}, in the extended chain. */
export function findExtended(list: CapabilityList, id: number): number | null | undefined {
  return find(list.extended, id);
}

function find(offsets: CapabilityOffsets | undefined, id: number): number | null | undefined {
  return offsets?.get(id) ?? (offsets?.complete === true ? null : undefined);
}

/** How a chain ends: as it should, in a loop or outside its space, or in bytes not known. */
type End = "whole" | "broken" | "cut";

function walkStandard(config: ConfigSpace, out: number[]): End {
  // CardBus bridges keep the pointer elsewhere (PC Card § 5, offset 14h).
  let at = config.u8((config.u8(0x0e) & 0x7f) === 2 ? 0x14 : 0x34) & 0xfc;
  for (let n = 0; at !== 0; n++) {
    if (n >= STANDARD_LIMIT || at < 0x40) return "broken";
    if (!config.isKnown(at, 2)) return "cut";
    const id = config.u8(at);
    if (id === 0xff) return "broken";
    out.push(id * 4096 + at);
    at = config.u8(at + 1) & 0xfc;
  }
  return "whole";
}

function walkExtended(config: ConfigSpace, out: number[]): End {
  let at = EXTENDED_FIRST;
  for (let n = 0; at !== 0; n++) {
    if (n >= EXTENDED_LIMIT || at < EXTENDED_FIRST) return "broken";
    if (!config.isKnown(at, 4)) return "cut";
    const header = config.u32(at);
    if (header === 0 || header === 0xffffffff) return header === 0 ? "whole" : "broken";
    const id = header & 0xffff;
    // An entry with id 0 (null capability) carries only the link.
    if (id !== 0) out.push(id * 4096 + at);
    at = (header >>> 20) & 0xffc;
  }
  return "whole";
}
