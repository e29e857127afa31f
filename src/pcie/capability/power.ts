/** PCI power management: PCIe 6 § 7.5.2. */
import { bitOf } from "../../units/index.js";
import type { ConfigSpace } from "../config-space.js";

export type PowerState = "D0" | "D1" | "D2" | "D3hot";
export const POWER_STATES: readonly PowerState[] = ["D0", "D1", "D2", "D3hot"];

export interface PowerFacts {
  readonly offset: number;
  readonly state: PowerState | undefined;
  readonly d1: boolean | undefined;
  readonly d2: boolean | undefined;
  /** Going from D3hot to D0 keeps the configuration. */
  readonly noSoftReset: boolean | undefined;
}

/** Facts of the power management capability at `offset`. */
export function readPower(config: ConfigSpace, offset: number): PowerFacts {
  const capability = config.knownU16(offset + 2);
  const control = config.knownU16(offset + 4);
  return {
    offset,
    state: control === undefined ? undefined : POWER_STATES[control & 3],
    d1: bitOf(capability, 9),
    d2: bitOf(capability, 10),
    noSoftReset: bitOf(control, 3),
  };
}
