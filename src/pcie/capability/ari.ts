/**
 * Alternative Routing-ID Interpretation, in endpoints: PCIe 6 § 7.8.8. Forwarding in ports:
 * express.ts.
 */
import { bitOf } from "../../units/index.js";
import type { ConfigSpace } from "../config-space.js";

export interface AriFacts {
  readonly offset: number;
  /** Number of the next function of the device, 1 to 255; 0 ends the list. */
  readonly nextFunction: number | undefined;
  /** ACS egress control may work on function groups. */
  readonly acsGroups: boolean | undefined;
  readonly acsGroupsEnabled: boolean | undefined;
  readonly functionGroup: number | undefined;
}

/** Facts of the ARI capability at `offset`. */
export function readAri(config: ConfigSpace, offset: number): AriFacts {
  const capability = config.knownU16(offset + 4);
  const control = config.knownU16(offset + 6);
  return {
    offset,
    nextFunction: capability === undefined ? undefined : capability >>> 8,
    acsGroups: bitOf(capability, 1),
    acsGroupsEnabled: bitOf(control, 1),
    functionGroup: control === undefined ? undefined : (control >>> 4) & 7,
  };
}
