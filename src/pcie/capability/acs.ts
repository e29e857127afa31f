/** Access Control Services: PCIe 6 § 6.12, § 7.7.11. */
import type { ConfigSpace } from "../config-space.js";

/** Control and capability bits, low to high, under the names the field uses. */
export const Acs = {
  SV: 0x01,
  TB: 0x02,
  RR: 0x04,
  CR: 0x08,
  UF: 0x10,
  EC: 0x20,
  DT: 0x40,
} as const;
export type AcsBit = keyof typeof Acs;
export const ACS_BITS = Object.keys(Acs) as readonly AcsBit[];

export const ACS_LONG_NAME: Readonly<Record<AcsBit, string>> = {
  SV: "Source Validation",
  TB: "Translation Blocking",
  RR: "P2P Request Redirect",
  CR: "P2P Completion Redirect",
  UF: "Upstream Forwarding",
  EC: "P2P Egress Control",
  DT: "Direct Translated P2P",
};

/** Enhanced capability and control bits (capability bit 7, control bits 7 to 12). */
export const ACS_ENHANCED_CAPABLE = 0x80;

export interface AcsFacts {
  readonly offset: number;
  /** Capability word (+4); undefined when only the capability's presence is known. */
  readonly capability: number | undefined;
  /** Control word (+6). */
  readonly control: number | undefined;
  /**
   * Dword at +8: first egress control vector dword, or the control dword of Sunrise Point ports.
   */
  readonly dword8: number | undefined;
  /**
   * Egress control vector size in bits (capability bits 15:8; 0 means 256) when EC is implemented.
   */
  readonly egressVectorBits: number | undefined;
}

/** Facts of the ACS capability at `offset`. */
export function readAcs(config: ConfigSpace, offset: number): AcsFacts {
  const capability = config.knownU16(offset + 4);
  const egress = capability !== undefined && (capability & Acs.EC) !== 0;
  return {
    offset,
    capability,
    control: config.knownU16(offset + 6),
    dword8: config.knownU32(offset + 8),
    egressVectorBits: egress ? (capability >>> 8) & 0xff || 256 : undefined,
  };
}

/** The names of the bits in a word, in register order. */
export function acsBitNames(word: number): AcsBit[] {
  return ACS_BITS.filter((name) => (word & Acs[name]) !== 0);
}

/** The word with the named bits set. */
export function acsWord(names: Iterable<AcsBit>): number {
  let word = 0;
  for (const name of names) word |= Acs[name];
  return word;
}
