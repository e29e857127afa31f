/**
 * The protected memory regions of a unit: VT-d 5.0 § 11.4.16-11.4.20.
 *
 * Firmware fences memory off before there are tables. While they are enabled, requests that no
 * table decides about (remapping off, pass-through, translated requests) do not reach the regions;
 * such a refusal is not recorded. What a table translates may or may not be blocked by hardware,
 * and software must not count on it: here it is not. The unit's own reads are never blocked.
 *
 * A region goes from its base to its limit, both in units of {@link REGION_BYTES}; it is none when
 * the limit lies below the base. Changes take effect at once.
 */
import { VTD_PROTECTED_MEMORY_ENABLE, VtdRegister } from "../../formats/index.js";
import type { VtdCapabilities } from "./capabilities.js";

/** Bits below this granule are zero in base and limit; of a limit they count as ones. */
export const REGION_BYTES = 0x20_0000;

const R = VtdRegister;
const ENABLE = 1 << VTD_PROTECTED_MEMORY_ENABLE.enable.low;
const STATUS = 1 << VTD_PROTECTED_MEMORY_ENABLE.status.low;
const FIRST = R.protectedMemoryEnable;
const LAST = R.protectedHighLimit + 4;

export class ProtectedMemory {
  /** The registers, by word from the enable register on. */
  readonly #words = new Uint32Array((LAST - FIRST) / 4 + 1);
  readonly #hasLow: boolean;
  readonly #hasHigh: boolean;
  /** Of an upper half: the bits that an address of the host has. */
  readonly #highMask: number;

  constructor(can: VtdCapabilities) {
    this.#hasLow = can.protectedLowMemory;
    this.#hasHigh = can.protectedHighMemory;
    this.#highMask = 2 ** (can.hostAddressWidth - 32) - 1;
  }

  /** The register at that byte offset; undefined when it is none of these. */
  read(offset: number): number | undefined {
    return this.#mask(offset) === 0 ? undefined : this.#words[(offset - FIRST) >>> 2];
  }

  /** @returns false when the register is none of these. */
  write(offset: number, value: number): boolean {
    const mask = this.#mask(offset);
    if (mask === 0) return false;
    // Enabling is done at once: the status follows.
    const isEnable = offset === R.protectedMemoryEnable;
    const kept = isEnable && (value & ENABLE) !== 0 ? ENABLE | STATUS : value & mask;
    this.#words[(offset - FIRST) >>> 2] = kept;
    return true;
  }

  /** Does the address (signed halves) lie in a region that is enabled? */
  covers(lo: number, hi: number): boolean {
    if (((this.#words[0] as number) & ENABLE) === 0) return false;
    const at = (hi >>> 0) * 2 ** 32 + (lo >>> 0);
    const low = this.#hasLow && this.#isWithin(at, R.protectedLowBase, R.protectedLowLimit, false);
    return (
      low || (this.#hasHigh && this.#isWithin(at, R.protectedHighBase, R.protectedHighLimit, true))
    );
  }

  #isWithin(at: number, base: number, limit: number, isWide: boolean): boolean {
    return at >= this.#value(base, isWide) && at < this.#value(limit, isWide) + REGION_BYTES;
  }

  #value(offset: number, isWide: boolean): number {
    const at = (offset - FIRST) >>> 2;
    const high = isWide ? (this.#words[at + 1] as number) : 0;
    return high * 2 ** 32 + (this.#words[at] as number);
  }

  /** Bits that software may write; 0 of what is no register of this unit. */
  #mask(offset: number): number {
    switch (offset) {
      case R.protectedMemoryEnable:
        return this.#hasLow || this.#hasHigh ? ENABLE : 0;
      case R.protectedLowBase:
      case R.protectedLowLimit:
        return this.#hasLow ? -REGION_BYTES : 0;
      case R.protectedHighBase:
      case R.protectedHighLimit:
        return this.#hasHigh ? -REGION_BYTES : 0;
      case R.protectedHighBase + 4:
      case R.protectedHighLimit + 4:
        return this.#hasHigh ? this.#highMask : 0;
      default:
        return 0;
    }
  }
}
