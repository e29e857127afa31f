/**
 * Every capability of a function, known to us or not, in chain order.
 *
 * A capability without a reader is not an error: it is an {@link UnimplementedCapability}, which
 * has a name and a place, and whose registers are read-only.
 */
import type { ConfigSpace } from "../config-space.js";
import { CapabilityId, ExtendedCapabilityId } from "./list.js";
import { EXTENDED_WITHOUT_READER, STANDARD_WITHOUT_READER } from "./names.js";

export interface CapabilityEntry {
  readonly extended: boolean;
  readonly id: number;
  readonly offset: number;
  /** Version field; extended capabilities only. */
  readonly version: number | undefined;
  readonly name: string;
  readonly implemented: boolean;
}

/** A capability that has no reader here: a name and a place. */
export class UnimplementedCapability implements CapabilityEntry {
  readonly implemented = false;
  readonly extended: boolean;
  readonly id: number;
  readonly offset: number;
  readonly version: number | undefined;

  constructor(id: number, offset: number, extended: boolean, version: number | undefined) {
    this.id = id;
    this.offset = offset;
    this.extended = extended;
    this.version = version;
  }

  get name(): string {
    const known = (this.extended ? EXTENDED_WITHOUT_READER : STANDARD_WITHOUT_READER)[this.id];
    const kind = this.extended ? "extended capability" : "capability";
    return known ?? `${kind} 0x${this.id.toString(16)}`;
  }
}

const STANDARD_NAMES = names(CapabilityId);
const EXTENDED_NAMES = names(ExtendedCapabilityId);

/** Empty when the chains are not known. Chains that loop are cut, and where they are not known. */
export function listCapabilityEntries(config: ConfigSpace): CapabilityEntry[] {
  const out: CapabilityEntry[] = [];
  if (config.extent < 256 || (config.u8(0x06) & 0x10) === 0) return out;
  let at = config.u8((config.u8(0x0e) & 0x7f) === 2 ? 0x14 : 0x34) & 0xfc;
  for (let n = 0; at >= 0x40 && n < 48 && config.u8(at) !== 0xff; n++) {
    if (!config.isKnown(at, 2)) break;
    out.push(entry(config.u8(at), at, false, undefined));
    at = config.u8(at + 1) & 0xfc;
  }
  const express = out.some((e) => e.id === CapabilityId.PciExpress);
  if (config.extent < 4096 || !express) return out;
  at = 0x100;
  for (let n = 0; at >= 0x100 && n < 960 && config.isKnown(at, 4); n++) {
    const header = config.u32(at);
    if (header === 0 || header === 0xffffffff) break;
    // Id 0 is a null capability: only a link.
    if ((header & 0xffff) !== 0) {
      out.push(entry(header & 0xffff, at, true, (header >>> 16) & 0xf));
    }
    at = (header >>> 20) & 0xffc;
  }
  return out;
}

function entry(
  id: number,
  offset: number,
  extended: boolean,
  version: number | undefined,
): CapabilityEntry {
  const name = (extended ? EXTENDED_NAMES : STANDARD_NAMES).get(id);
  if (name === undefined) return new UnimplementedCapability(id, offset, extended, version);
  return { id, offset, extended, version, name, implemented: true };
}

function names(ids: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(ids).map(([name, id]) => [id, name]));
}
