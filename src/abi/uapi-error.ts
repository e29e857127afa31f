/**
 * The caller's fault: becomes an errno at the wire, a reason in the library.
 *
 * `rule` names the check that refused, in words that stay the same from release to release;
 * `evidence` is data about the case at hand, of whatever kind the layer that refuses deals in;
 * `cite` is where the rule comes from. Recognise it with {@link UapiError.is}, not `instanceof`
 * (two copies of the package may be loaded).
 */
import { ERRNO, type ErrnoName } from "./errno.js";

/** What a refusal is about. Layers add their own members; all are plain data. */
export interface Refusal {
  readonly evidence?: readonly object[] | undefined;
  readonly cite?: string | undefined;
}

/** A refusal; see the head of the file. */
export class UapiError extends Error {
  override readonly name = "UapiError";
  readonly code: ErrnoName;
  readonly errno: number;
  readonly rule: string;
  readonly evidence: readonly object[];
  readonly cite: string | undefined;

  constructor(code: ErrnoName, rule: string, refusal: Refusal = {}) {
    super(`${code}: ${rule}`);
    this.code = code;
    this.errno = ERRNO[code];
    this.rule = rule;
    this.evidence = refusal.evidence ?? [];
    this.cite = refusal.cite;
  }

  static is(error: unknown): error is UapiError {
    return error instanceof Error && error.name === "UapiError" && "errno" in error;
  }
}

/** A refusal of one of the `codes`; of any when none is given. */
export function isRefusal(error: unknown, ...codes: readonly ErrnoName[]): error is UapiError {
  return UapiError.is(error) && (codes.length === 0 || codes.includes(error.code));
}
