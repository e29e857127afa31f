/**
 * Intel VT-d 5.0 § 7.1 and § 11.4.14: why a request is refused, and the record of it.
 *
 * Names follow the table of fault conditions: which structure, then what is wrong with it. Codes
 * below 20h are of legacy mode (some also of both modes), 20h-2Fh of interrupt remapping, from 30h
 * on of scalable mode.
 */
import { bit, bits } from "./layout.js";

/** Fault reason encodings. */
export const VtdFault = {
  rootNotPresent: 0x01,
  contextNotPresent: 0x02,
  contextInvalid: 0x03,
  /** The address lies beyond the width that table or unit allow. */
  addressBeyondWidth: 0x04,
  writeDenied: 0x05,
  readDenied: 0x06,
  pagingAccess: 0x07,
  rootAccess: 0x08,
  contextAccess: 0x09,
  rootReserved: 0x0a,
  contextReserved: 0x0b,
  pagingReserved: 0x0c,
  /** A translation request or translated request of a device that may not send them. */
  translationTypeBlocks: 0x0d,
  /** The translated address lies in the interrupt range. */
  interruptAddress: 0x0e,

  interruptReserved: 0x20,
  interruptIndex: 0x21,
  interruptNotPresent: 0x22,
  interruptAccess: 0x23,
  interruptEntryReserved: 0x24,
  interruptCompatibilityBlocked: 0x25,
  interruptSource: 0x26,

  rootTableMode: 0x30,
  pasidInLegacyMode: 0x31,
  pageRequestInLegacyMode: 0x32,
  scalableRootAccess: 0x38,
  scalableRootNotPresent: 0x39,
  scalableRootReserved: 0x3a,
  scalableContextAccess: 0x40,
  scalableContextNotPresent: 0x41,
  scalableContextReserved: 0x42,
  scalableContextInvalid: 0x43,
  deviceTlbDisabled: 0x44,
  pasidDisabled: 0x45,
  pasidBeyondDirectory: 0x46,
  pageRequestDisabled: 0x47,
  ridPasidInvalid: 0x48,
  directoryAccess: 0x50,
  directoryNotPresent: 0x51,
  directoryReserved: 0x52,
  pasidEntryAccess: 0x58,
  pasidEntryNotPresent: 0x59,
  pasidEntryReserved: 0x5a,
  pasidEntryInvalid: 0x5b,
  executeRequestDisabled: 0x5c,
  supervisorRequestDisabled: 0x5d,
  stage1Access: 0x70,
  stage1NotPresent: 0x71,
  stage1Reserved: 0x72,
  /** The stage-1 root table cannot be read. */
  stage1RootAccess: 0x73,
  /** Nested: a stage-1 entry leads beyond what stage 2 covers. */
  stage1AddressBeyondStage2: 0x74,
  /** Nested: stage 2 does not let the unit read the stage-1 root table. */
  stage1RootReadDenied: 0x75,
  stage1TableReadDenied: 0x76,
  /** Nested: stage 2 does not let the unit set accessed or dirty bits of stage 1. */
  stage1TableWriteDenied: 0x77,
  stage2Access: 0x78,
  /** Neither read nor write: the entry is not present. */
  stage2NotPresent: 0x79,
  stage2Reserved: 0x7a,
  stage2TableInvalid: 0x7b,
  notCanonical: 0x80,
  userDenied: 0x81,
  executeDenied: 0x82,
  inputBeyondWidth: 0x83,
  stage2InputBeyondWidth: 0x84,
  scalableWriteDenied: 0x85,
  scalableReadDenied: 0x86,
  scalableInterruptAddress: 0x87,
  /** Accessed or dirty bits of a stage-1 entry cannot be written. */
  stage1UpdateFailed: 0x91,
} as const;

export type VtdFaultName = keyof typeof VtdFault;

/**
 * Not of the table, and never recorded: protected memory was asked for (§ 11.4.16). It is no code
 * of 8 bits, so that it cannot be taken for one.
 */
export const VTD_PROTECTED_MEMORY_REFUSAL = 0x100;

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(VtdFault).map(([name, code]) => [code, name]),
);

/** The name in {@link VtdFault} of a code, or `reserved-XXh`. */
export function vtdFaultName(code: number): string {
  if (code === VTD_PROTECTED_MEMORY_REFUSAL) return "protectedMemory";
  return NAMES.get(code) ?? `reserved-${code.toString(16).padStart(2, "0")}h`;
}

/** § 11.4.14, 128 bits. */
export const VTD_FAULT_RECORD = {
  /** Page frame of the faulting address; for interrupts {@link VTD_INTERRUPT_FAULT_INDEX}. */
  frame: bits(63, 12),
  sourceId: bits(79, 64),
  /** Second bit of the request's type. */
  type2: bit(92),
  privileged: bit(93),
  execute: bit(94),
  pasidPresent: bit(95),
  reason: bits(103, 96),
  pasid: bits(123, 104),
  /** {@link VtdFaultAddressType} */
  addressType: bits(125, 124),
  /**
   * First bit of the request's type. With type2 0: 0 write, 1 read; with type2 1: 0 page request,
   * 1 atomic.
   */
  type1: bit(126),
  fault: bit(127),
} as const;

/** Bits 63:48 of the record of an interrupt: the index that was asked for. */
export const VTD_INTERRUPT_FAULT_INDEX = bits(63, 48);
export const VtdFaultAddressType = {
  untranslated: 0,
  translationRequest: 1,
  translated: 2,
} as const;
export const VTD_FAULT_RECORD_WORDS = 4;
