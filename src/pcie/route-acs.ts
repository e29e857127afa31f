/**
 * The ACS bits in effect at a function, as routing uses them.
 *
 * A control bit acts only where the capability implements it. An implemented capability that lacks
 * Request or Completion Redirect means two different things (PCIe 6 § 6.12.1.1, § 6.12.1.2):
 *
 * - A root port or an endpoint may leave redirect out only when it has no peer-to-peer path at all:
 *   the bit counts as hard-wired on.
 * - A switch downstream port must implement redirect. A port that shows the capability without it
 *   breaks the specification; it routes peer to peer here, and its behaviour is `open`.
 *
 * No ACS capability at all: nothing is redirected. For a switch port that is certain; for a root
 * port and for the functions of one device it leaves open whether a peer-to-peer path exists
 * (`open`).
 */
import { Acs } from "./capability/acs.js";
import type { PciFunction } from "./function.js";
import type { RouteOptions } from "./route-options.js";
import { Role } from "./route-role.js";

/**
 * `registers` control and capability words   `absent`  known to have no ACS capability
 * `vouched`   the caller's override          `unknown` the capture does not say
 */
export type AcsBasis = "registers" | "vouched" | "absent" | "unknown";

export interface AcsInEffect {
  /** Bits of `Acs`. */
  readonly word: number;
  readonly basis: AcsBasis;
  /** Whether the function routes to peers is left to the implementation. */
  readonly open: boolean;
}

const CONTROL = 0x7f;
const ALL_ON = Acs.SV | Acs.RR | Acs.CR | Acs.UF;

/**
 * The ACS word that decides for a function in this role, and what it rests on: registers, somebody
 * who vouches for it, or an assumption.
 */
export function acsInEffect(fn: PciFunction, role: Role, options: RouteOptions): AcsInEffect {
  const isSwitchPort = role === Role.DownstreamPort;
  const vouched = options.effectiveAcs?.(fn);
  if (vouched !== undefined) return inEffect(vouched.word & CONTROL, "vouched", !isSwitchPort);
  const acs = acsHolder(fn).acs;
  if (acs === null) return inEffect(0, "absent", !isSwitchPort);
  if (acs?.control === undefined) {
    const word = options.unknownAcs === "on" ? ALL_ON : 0;
    return inEffect(word, "unknown", !isSwitchPort);
  }
  const capability = acs.capability ?? CONTROL;
  const hardWired = isSwitchPort ? 0 : ~capability & (Acs.RR | Acs.CR);
  const word = (acs.control & capability & CONTROL) | hardWired;
  return inEffect(word, "registers", !isSwitchPort || (capability & Acs.RR) === 0);
}

/** The functions of a host differ in few ways: equal answers are one object. */
const kept = new Map<AcsBasis, AcsInEffect[]>();

function inEffect(word: number, basis: AcsBasis, open: boolean): AcsInEffect {
  let answers = kept.get(basis);
  if (answers === undefined) {
    answers = [];
    kept.set(basis, answers);
  }
  const place = word * 2 + (open ? 1 : 0);
  let answer = answers[place];
  if (answer === undefined) {
    answer = { word, basis, open };
    answers[place] = answer;
  }
  return answer;
}

/**
 * Bit `number` of a function's egress control vector; bits beyond the vector and unknown ones are
 * clear.
 */
export function egressVectorBit(fn: PciFunction, number: number): boolean {
  const { acs, config } = acsHolder(fn);
  if (!acs || number >= (acs.egressVectorBits ?? 256)) return false;
  const dword = config.knownU32(acs.offset + 8 + 4 * (number >>> 5));
  return dword !== undefined && ((dword >>> (number & 31)) & 1) !== 0;
}

/** A VF that does not show its own capability is taken to be as its PF (§ 6.12.1.2). */
function acsHolder(fn: PciFunction): PciFunction {
  return fn.acs === undefined && fn.isVirtual ? (fn.physfn ?? fn) : fn;
}
