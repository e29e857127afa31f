/** ENOMEM. */
import { UapiError } from "../abi/index.js";

export function noMemory(what: string): UapiError {
  return new UapiError("ENOMEM", `no memory for ${what}`, {
    evidence: [{ kind: "no-memory", what }],
  });
}
