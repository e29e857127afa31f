/**
 * What the specification leaves open, or a capture does not show, as parameters of routing.
 *
 * The defaults: what is optional in hardware does not happen (no peer-to-peer inside a root complex
 * or a multi-function device); what is not known is open (no ACS bit is on, prefixes pass). A
 * request then goes to a peer exactly where a switch or a conventional bus must take it there.
 */
import type { PciFunction } from "./function.js";

/** ACS control bits in effect at a function, when something other than its registers says so. */
export interface EffectiveAcs {
  /** Bits of `Acs`. */
  readonly word: number;
}

export interface RouteOptions {
  /**
   * Peer-to-peer inside the root complex (optional, PCIe 6 § 1.3.1): never, between functions of
   * one root bus, or between all root buses. Default "none".
   */
  readonly rootComplexPeers?: "none" | "same-root-bus" | "any" | undefined;
  /** Paths between the functions of one device (optional, § 6.12.1.2). Default false. */
  readonly functionPeers?: boolean | undefined;
  /** ACS bits where the capture does not show them. Default "off": everything may be reached. */
  readonly unknownAcs?: "off" | "on" | undefined;
  /** End-end prefix support where the capture does not show it. Default "supported". */
  readonly unknownPrefix?: "supported" | "unsupported" | undefined;
  /**
   * Obey Bus Master Enable and Memory Space Enable (§ 7.5.1.1.3). Default false: they are switches
   * that the driver of a device turns at will, so they say nothing of what can be reached.
   */
  readonly honourCommand?: boolean | undefined;
  /**
   * Overrides the registers of a function (a quirk that vouches for it); undefined: its registers
   * decide.
   */
  readonly effectiveAcs?: ((fn: PciFunction) => EffectiveAcs | undefined) | undefined;
  /**
   * The endpoint that a whole segment hangs below (an Intel VMD owns its child domain): requests
   * from that segment reach the translation agent with the owner's requester ID. Undefined: none.
   */
  readonly segmentOwner?: ((segment: number) => PciFunction | undefined) | undefined;
}
