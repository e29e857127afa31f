/** The port that may refuse an allocation, so that every failure path can be walked. */
export interface AllocationPort {
  /**
   * Called before each allocation.
   * @param kind what is wanted, for the report: `frame`, `domain-id`, `object` …
   * @returns false when it must fail.
   */
  permit(kind: string): boolean;
}

export const ALLOCATE_ALWAYS: AllocationPort = { permit: () => true };

/**
 * Lets the n-th allocation fail and all others succeed. A sweep runs an operation with n = 1, 2, …
 * until {@link hasFailed} stays false: then every allocation of it has failed once.
 */
export class FailNth implements AllocationPort {
  readonly #n: number;
  #count = 0;
  #failedKind: string | undefined;

  /** @param n counts from 1; 0 never fails, and counts. */
  constructor(n: number) {
    if (!Number.isInteger(n) || n < 0) throw new RangeError(`allocation number ${n}`);
    this.#n = n;
  }

  permit(kind: string): boolean {
    this.#count++;
    if (this.#count !== this.#n) return true;
    this.#failedKind = kind;
    return false;
  }

  /** Allocations asked for so far. */
  get count(): number {
    return this.#count;
  }

  get hasFailed(): boolean {
    return this.#failedKind !== undefined;
  }

  /** What the failed allocation was for. */
  get failedKind(): string | undefined {
    return this.#failedKind;
  }
}
