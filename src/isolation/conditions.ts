/** Gathers what an answer depends on: conditions that fail, that are not known, that hold. */
import type { Evidence } from "./evidence.js";
import type { Eligibility } from "./report-types.js";

export class Conditions {
  readonly failed: Evidence[] = [];
  readonly unknown: Evidence[] = [];
  readonly holding: Evidence[] = [];
  /** Shown whatever the answer is, and without influence on it. */
  readonly notes: Evidence[] = [];

  /** Files `evidence` by whether the condition holds; `undefined` = not known. */
  add(holds: boolean | undefined, evidence: Evidence): void {
    if (holds === undefined) this.unknown.push(evidence);
    else if (holds) this.holding.push(evidence);
    else this.failed.push(evidence);
  }

  get ok(): boolean | null {
    return this.failed.length > 0 ? false : this.unknown.length > 0 ? null : true;
  }

  /** `width` is dropped when the answer is no. */
  result(width?: number): Eligibility {
    const { ok } = this;
    const because = [
      ...this.failed,
      ...this.unknown,
      ...(ok === true ? this.holding : []),
      ...this.notes,
    ];
    return width === undefined || ok === false ? { ok, because } : { ok, width, because };
  }
}
