/** Address Translation Services, Page Requests, PASID: PCIe 6 § 10.5.1, § 10.5.2, § 7.8.9. */
import { bitOf } from "../../units/index.js";
import type { ConfigSpace } from "../config-space.js";

export interface AtsFacts {
  readonly offset: number;
  readonly enabled: boolean | undefined;
  /** Untranslated addresses are always page aligned. */
  readonly pageAligned: boolean | undefined;
}

export interface PriFacts {
  readonly offset: number;
  readonly enabled: boolean | undefined;
  /** Status bit 8: no request is outstanding. */
  readonly stopped: boolean | undefined;
  /** PRG response carries a PASID when its request did. */
  readonly responsePasid: boolean | undefined;
}

export interface PasidFacts {
  readonly offset: number;
  readonly execute: boolean | undefined;
  readonly privileged: boolean | undefined;
  /** Max PASID width in bits, 0 to 20. */
  readonly width: number | undefined;
  readonly enabled: boolean | undefined;
}

/** Facts of the ATS capability at `offset`. */
export function readAts(config: ConfigSpace, offset: number): AtsFacts {
  return {
    offset,
    enabled: bitOf(config.knownU16(offset + 6), 15),
    pageAligned: bitOf(config.knownU16(offset + 4), 5),
  };
}

/** Facts of the page request capability at `offset`. */
export function readPri(config: ConfigSpace, offset: number): PriFacts {
  const status = config.knownU16(offset + 6);
  return {
    offset,
    enabled: bitOf(config.knownU16(offset + 4), 0),
    stopped: bitOf(status, 8),
    responsePasid: bitOf(status, 15),
  };
}

/** Facts of the PASID capability at `offset`. */
export function readPasid(config: ConfigSpace, offset: number): PasidFacts {
  const capability = config.knownU16(offset + 4);
  return {
    offset,
    execute: bitOf(capability, 1),
    privileged: bitOf(capability, 2),
    width: capability === undefined ? undefined : (capability >>> 8) & 0x1f,
    enabled: bitOf(config.knownU16(offset + 6), 0),
  };
}
