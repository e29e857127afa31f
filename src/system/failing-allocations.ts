/** The port through which a test lets one allocation of a running system fail. */
import type { AllocationPort } from "../memory/index.js";

/** Lets the n-th allocation from now on fail, once. */
export class FailingAllocations implements AllocationPort {
  #left = 0;
  /** It has failed since {@link failNth}. */
  failed = false;

  /** @param n counts from 1; 0: none fails. */
  failNth(n: number): void {
    this.#left = n;
    this.failed = false;
  }

  permit(): boolean {
    if (this.#left === 0) return true;
    this.#left--;
    if (this.#left > 0) return true;
    this.failed = true;
    return false;
  }
}
