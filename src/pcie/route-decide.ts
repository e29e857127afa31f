/**
 * The decisions of PCIe 6 § 6.12 on numbers: one function for each question, used by requests,
 * completions and the peer-to-peer graph alike.
 */
import { Acs } from "./capability/acs.js";

/**
 * What a source does with a request that a peer claims (§ 6.12.3, the interactions of redirect,
 * egress control and direct translated).
 */
export const PeerDecision = {
  Direct: 0,
  /** Direct because the peer's bit in the egress control vector is clear. */
  EgressAllowed: 1,
  /** Direct because the address is translated. */
  Translated: 2,
  Redirect: 3,
  /** An ACS violation. */
  Blocked: 4,
} as const;
export type PeerDecision = (typeof PeerDecision)[keyof typeof PeerDecision];

/** What an egress control vector says of a peer. `NotNamed`: it has no bit for that peer. */
export const Egress = { Clear: 0, Set: 1, NotNamed: 2 } as const;
export type Egress = (typeof Egress)[keyof typeof Egress];

/**
 * | DT and translated | EC on and peer named | its bit | RR  | decision  |
 * | yes               | any                  | any     | any | direct    |
 * | no                | no                   | -       | off | direct    |
 * | no                | no                   | -       | on  | redirect  |
 * | no                | yes                  | clear   | any | direct    |
 * | no                | yes                  | set     | off | violation |
 * | no                | yes                  | set     | on  | redirect  |
 */
export function decidePeer(acs: number, translated: boolean, egress: Egress): PeerDecision {
  if (translated && (acs & Acs.DT) !== 0) return PeerDecision.Translated;
  const redirect = (acs & Acs.RR) !== 0;
  if ((acs & Acs.EC) === 0 || egress === Egress.NotNamed) {
    return redirect ? PeerDecision.Redirect : PeerDecision.Direct;
  }
  if (egress === Egress.Clear) return PeerDecision.EgressAllowed;
  return redirect ? PeerDecision.Redirect : PeerDecision.Blocked;
}

/** The request goes straight to the peer. */
export function isDirect(decision: PeerDecision): boolean {
  return decision <= PeerDecision.Translated;
}

/** The ACS bits that made the decision. */
export function decidingBits(decision: PeerDecision, acs: number): number {
  switch (decision) {
    case PeerDecision.Direct:
      return 0;
    case PeerDecision.EgressAllowed:
    case PeerDecision.Blocked:
      return Acs.EC;
    case PeerDecision.Translated:
      return Acs.DT;
    default:
      return acs & (Acs.RR | Acs.EC);
  }
}

/** Source Validation fails: the requester's bus is outside secondary..subordinate. */
export function failsSourceValidation(
  acs: number,
  requester: number,
  secondary: number,
  subordinate: number,
): boolean {
  const bus = requester >>> 8;
  return (acs & Acs.SV) !== 0 && (bus < secondary || bus > subordinate);
}

/** Translation Blocking refuses every address type but the default, untranslated. */
export function failsTranslationBlocking(acs: number, untranslated: boolean): boolean {
  return (acs & Acs.TB) !== 0 && !untranslated;
}

/** Completion Redirect sends peer-to-peer completions up unless they may be reordered. */
export function redirectsCompletion(acs: number, relaxedOrdering: boolean): boolean {
  return (acs & Acs.CR) !== 0 && !relaxedOrdering;
}
