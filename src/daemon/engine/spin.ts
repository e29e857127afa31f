/**
 * How long to look for the next call before sleeping.
 *
 * A sleeping daemon costs a caller microseconds, a looking one costs a core. Looking pays only
 * while calls keep coming within the time looked, and only while nobody else wants the core. So the
 * time starts at nothing, doubles each time a call came while looking or soon after, and halves
 * each time none did.
 */

export interface SpinLimits {
  /** Longest time to look, in microseconds. */
  readonly most: number;
  /** First step up from nothing. */
  readonly least: number;
}

export const SPIN_LIMITS: SpinLimits = { most: 50, least: 4 };

export class SpinBudget {
  readonly #limits: SpinLimits;
  #microseconds = 0;

  constructor(limits: SpinLimits = SPIN_LIMITS) {
    this.#limits = limits;
  }

  /** How long to look now, in microseconds. */
  get microseconds(): number {
    return this.#microseconds;
  }

  /** A call came; `waited` microseconds after the last answer. */
  came(waited: number): void {
    const { most, least } = this.#limits;
    if (waited > most) return;
    this.#microseconds = Math.min(most, Math.max(least, this.#microseconds * 2));
  }

  /** None came within the time. */
  missed(): void {
    const half = this.#microseconds / 2;
    this.#microseconds = half < this.#limits.least ? 0 : half;
  }

  /** Somebody else wants the core. */
  stop(): void {
    this.#microseconds = 0;
  }
}
