/** What a step gave, in the words of expectations. */
import { UapiError } from "../abi/index.js";
import type { Span } from "../units/index.js";

export interface Lands {
  readonly memory: string;
  readonly page: number;
  readonly offset: number;
}

/** Every field that an expectation may name; absent: the step has nothing to say of it. */
export interface StepOutcome {
  readonly errno?: string | undefined;
  readonly reason?: string | undefined;
  /** Evidence of a refusal, or of a report. */
  readonly evidence?: readonly object[] | undefined;
  readonly lands?: Lands | undefined;
  readonly peer?: string | undefined;
  /** Name of the unit's fault. */
  readonly fault?: string | undefined;
  /** It got to memory, to a peer, or to the processors. */
  readonly reaches?: boolean | undefined;
  readonly lost?: string | undefined;
  readonly data?: string | undefined;
  readonly error?: string | undefined;
  readonly waits?: boolean | undefined;
  readonly unseen?: boolean | undefined;
  readonly interrupt?: boolean | undefined;
  readonly at?: bigint | undefined;
  readonly ranges?: readonly Span[] | undefined;
  readonly mustShare?: boolean | undefined;
  readonly with?: readonly string[] | undefined;
  readonly group?: readonly string[] | undefined;
  readonly pasid?: boolean | undefined;
  readonly pasids?: number | undefined;
  /** Devices whose PASIDs come from the same space. */
  readonly pasidSpaceOf?: readonly string[] | undefined;
  readonly exposed?: boolean | undefined;
  readonly together?: readonly string[] | undefined;
  readonly count?: number | undefined;
  readonly device?: string | undefined;
  readonly faultPasid?: number | undefined;
  readonly address?: bigint | undefined;
  readonly viable?: boolean | undefined;
  readonly containerSet?: boolean | undefined;
  readonly unmapped?: number | undefined;
}

/** A refusal as an outcome. */
export function refusalOf(error: UapiError): StepOutcome {
  return { errno: error.code, reason: error.rule, evidence: error.evidence };
}

/** Runs a call; its refusal is an outcome too. */
export function attempt(call: () => StepOutcome): StepOutcome {
  try {
    return call();
  } catch (error) {
    if (UapiError.is(error)) return refusalOf(error);
    throw error;
  }
}
