/**
 * Intel VT-d 5.0 § 5.1 and § 9.10: interrupt requests and the table that remaps them.
 *
 * An interrupt is a write of 4 bytes, without PASID, to FEEx_xxxxh. Bit 4 of its address tells the
 * compatibility format (0), which names vector and destination itself, from the remappable format
 * (1), which names an entry of the interrupt remapping table.
 */
import { bit, bits } from "./layout.js";

/** § 5.1.2.1, the low 32 bits of the address in compatibility format. */
export const MSI_COMPATIBILITY_ADDRESS = {
  destinationMode: bit(2),
  redirectionHint: bit(3),
  interruptFormat: bit(4),
  destination: bits(19, 12),
  prefix: bits(31, 20),
} as const;

/** The data of an MSI in compatibility format. */
export const MSI_COMPATIBILITY_DATA = {
  vector: bits(7, 0),
  deliveryMode: bits(10, 8),
  level: bit(14),
  triggerMode: bit(15),
} as const;

/** § 5.1.2.2, the low 32 bits of the address in remappable format. */
export const MSI_REMAPPABLE_ADDRESS = {
  handleHigh: bit(2),
  /** The handle counts from the low 16 bits of the data. */
  subhandleValid: bit(3),
  interruptFormat: bit(4),
  handleLow: bits(19, 5),
  prefix: bits(31, 20),
} as const;

/** § 9.9, 128 bits, remapped interrupts. */
export const VTD_INTERRUPT_ENTRY = {
  present: bit(0),
  faultProcessingDisable: bit(1),
  destinationMode: bit(2),
  redirectionHint: bit(3),
  triggerMode: bit(4),
  deliveryMode: bits(7, 5),
  available: bits(11, 8),
  /** 0 remapped, 1 posted (CAP.PI). */
  mode: bit(15),
  vector: bits(23, 16),
  /** xAPIC: APIC ID in bits 47:40; x2APIC (IRTA.EIME): all 32 bits. */
  destination: bits(63, 32),
  sourceId: bits(79, 64),
  /** Which function bits of the requester ID are compared: {@link VtdSourceQualifier}. */
  sourceQualifier: bits(81, 80),
  /** {@link VtdSourceValidation} */
  sourceValidation: bits(83, 82),
} as const;

export const VtdSourceQualifier = {
  all: 0,
  ignoreBit2: 1,
  ignoreBits21: 2,
  ignoreBits210: 3,
} as const;
/** `busRange`: the bus lies from bits 15:8 to bits 7:0 of `sourceId`. */
export const VtdSourceValidation = { none: 0, requester: 1, busRange: 2 } as const;

export const VTD_INTERRUPT_ENTRY_WORDS = 4;
/** Bits 31:20 of the address of every interrupt request. */
export const INTERRUPT_ADDRESS_PREFIX = 0xfee;

/**
 * Address and data of an MSI in remappable format for one entry of the table.
 * @throws RangeError when the index is not 16 bits.
 */
export function remappableMessage(index: number): {
  readonly address: number;
  readonly data: number;
} {
  if (!Number.isInteger(index) || index < 0 || index > 0xffff) {
    throw new RangeError(`interrupt index ${index} is not 16 bits`);
  }
  const address = 0xfee0_0000 + (index & 0x7fff) * 32 + (1 << 4) + (index >>> 15) * 4;
  return { address, data: 0 };
}
