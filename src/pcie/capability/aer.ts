/** Advanced Error Reporting: PCIe 6 § 7.8.4. */
import type { ConfigSpace } from "../config-space.js";

/** Bits of the uncorrectable status, mask and severity registers. */
export const Uncorrectable = {
  DataLinkProtocol: 1 << 4,
  SurpriseDown: 1 << 5,
  PoisonedTlp: 1 << 12,
  FlowControlProtocol: 1 << 13,
  CompletionTimeout: 1 << 14,
  CompleterAbort: 1 << 15,
  UnexpectedCompletion: 1 << 16,
  ReceiverOverflow: 1 << 17,
  MalformedTlp: 1 << 18,
  Ecrc: 1 << 19,
  UnsupportedRequest: 1 << 20,
  AcsViolation: 1 << 21,
  Internal: 1 << 22,
  McBlockedTlp: 1 << 23,
  AtomicOpEgressBlocked: 1 << 24,
  TlpPrefixBlocked: 1 << 25,
  PoisonedTlpEgressBlocked: 1 << 26,
} as const;
export type UncorrectableError = keyof typeof Uncorrectable;

/** All bits above. */
export const UNCORRECTABLE_MASK = 0x07ff_f030;
/**
 * Receiver error, bad TLP, bad DLLP, replay rollover and timeout, advisory, internal, log overflow.
 */
export const CORRECTABLE_MASK = 0xf1c1;

export interface AerFacts {
  readonly offset: number;
  readonly uncorrectableStatus: number | undefined;
  readonly uncorrectableMask: number | undefined;
  readonly uncorrectableSeverity: number | undefined;
  readonly correctableStatus: number | undefined;
  readonly correctableMask: number | undefined;
}

/** Facts of the AER capability at `offset`. */
export function readAer(config: ConfigSpace, offset: number): AerFacts {
  return {
    offset,
    uncorrectableStatus: config.knownU32(offset + 0x04),
    uncorrectableMask: config.knownU32(offset + 0x08),
    uncorrectableSeverity: config.knownU32(offset + 0x0c),
    correctableStatus: config.knownU32(offset + 0x10),
    correctableMask: config.knownU32(offset + 0x14),
  };
}

/** The names of the bits set in an uncorrectable register, low to high. */
export function uncorrectableNames(word: number): UncorrectableError[] {
  const names = Object.keys(Uncorrectable) as UncorrectableError[];
  return names.filter((name) => (word & Uncorrectable[name]) !== 0);
}
