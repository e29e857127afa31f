/** Message signalled interrupts: PCIe 6 § 7.7.1 (MSI), § 7.7.2 (MSI-X). */
import { bitOf } from "../../units/index.js";
import type { ConfigSpace } from "../config-space.js";

export interface MsiFacts {
  readonly offset: number;
  readonly enabled: boolean | undefined;
  readonly wide: boolean | undefined;
  /** Has mask and pending bits per vector. */
  readonly maskable: boolean | undefined;
  /** Vectors the function can send and those allotted: 1, 2, 4 … 32. */
  readonly capableVectors: number | undefined;
  readonly enabledVectors: number | undefined;
}

export interface MsiXFacts {
  readonly offset: number;
  readonly enabled: boolean | undefined;
  readonly masked: boolean | undefined;
  /** Table entries, 1 to 2048. */
  readonly tableSize: number | undefined;
  readonly tableBar: number | undefined;
  readonly tableOffset: number | undefined;
  readonly pendingBar: number | undefined;
  readonly pendingOffset: number | undefined;
}

/** Facts of the MSI capability at `offset`. */
export function readMsi(config: ConfigSpace, offset: number): MsiFacts {
  const control = config.knownU16(offset + 2);
  return {
    offset,
    enabled: bitOf(control, 0),
    wide: bitOf(control, 7),
    maskable: bitOf(control, 8),
    capableVectors: control === undefined ? undefined : 1 << ((control >>> 1) & 7),
    enabledVectors: control === undefined ? undefined : 1 << ((control >>> 4) & 7),
  };
}

/** Facts of the MSI-X capability at `offset`. */
export function readMsiX(config: ConfigSpace, offset: number): MsiXFacts {
  const control = config.knownU16(offset + 2);
  const table = config.knownU32(offset + 4);
  const pending = config.knownU32(offset + 8);
  return {
    offset,
    enabled: bitOf(control, 15),
    masked: bitOf(control, 14),
    tableSize: control === undefined ? undefined : (control & 0x7ff) + 1,
    tableBar: table === undefined ? undefined : table & 7,
    tableOffset: table === undefined ? undefined : (table & ~7) >>> 0,
    pendingBar: pending === undefined ? undefined : pending & 7,
    pendingOffset: pending === undefined ? undefined : (pending & ~7) >>> 0,
  };
}
