/** Numbers and switches as programs write them to attributes. */
import { UapiError } from "../abi/index.js";

/**
 * A whole number in base 10, or 8 or 16 with their prefixes. Linux kstrtoull() and its kin.
 * @throws UapiError EINVAL (no number), ERANGE (more than `most`).
 */
export function storedNumber(text: string, most: number): number {
  const match = /^\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  const digits = match?.[1];
  if (digits === undefined) {
    throw new UapiError("EINVAL", "the text written is no number", { cite: "Linux kstrtoull()" });
  }
  const isOctal = /^0[0-7]+$/.test(digits);
  const value = isOctal ? Number.parseInt(digits, 8) : Number(digits);
  if (value > most) {
    throw new UapiError("ERANGE", "the number written is too large", { cite: "Linux kstrtoull()" });
  }
  return value;
}

/** Linux kstrtobool(). @throws UapiError EINVAL. */
export function storedSwitch(text: string): boolean {
  const first = text.slice(0, 1).toLowerCase();
  if (first === "1" || first === "y" || first === "t") return true;
  if (first === "0" || first === "n" || first === "f") return false;
  const second = text.slice(1, 2).toLowerCase();
  if (first === "o" && second === "n") return true;
  if (first === "o" && second === "f") return false;
  throw new UapiError("EINVAL", "the text written is no switch", { cite: "Linux kstrtobool()" });
}
