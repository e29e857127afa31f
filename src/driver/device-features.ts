/**
 * Switching ATS, PASID and page requests of a function on and off, through its configuration
 * registers: PCIe 6 § 10.5.1 (ATS), § 7.8.9 (PASID), § 10.5.2 (page requests).
 *
 * PASID may only change while ATS is off, page requests need ATS. A VF has an ATS capability of its
 * own and shares the other two with its PF, which must have them on.
 */
import type { ConfigRegisters, PciFunction } from "../pcie/index.js";

const ATS_ENABLE = 0x8000;
const PRI_ENABLE = 1;
const PRI_RESET = 2;
const PRI_STOPPED = 0x0100;
/** Page requests that may be outstanding at once; Linux grants 32 by default. */
const PRI_OUTSTANDING = 32;

export class DeviceFeatures {
  readonly #fn: PciFunction;
  readonly #registers: ConfigRegisters;

  readonly #physical: DeviceFeatures | undefined;

  /** @param physical of the PF, for a VF. */
  constructor(fn: PciFunction, registers: ConfigRegisters, physical?: DeviceFeatures) {
    this.#fn = fn;
    this.#registers = registers;
    this.#physical = physical;
  }

  get atsEnabled(): boolean {
    const at = this.#fn.ats?.offset;
    return at !== undefined && (this.#registers.read(at + 6, 2) & ATS_ENABLE) !== 0;
  }

  get pasidEnabled(): boolean {
    if (this.#physical !== undefined) return this.#physical.pasidEnabled;
    const at = this.#fn.pasid?.offset;
    return at !== undefined && (this.#registers.read(at + 6, 2) & 1) !== 0;
  }

  get pageRequestsEnabled(): boolean {
    if (this.#physical !== undefined) return this.#physical.pageRequestsEnabled;
    const at = this.#fn.pri?.offset;
    return at !== undefined && (this.#registers.read(at + 4, 2) & PRI_ENABLE) !== 0;
  }

  /** Invalidations it can have outstanding: ATS capability bits 4:0, 0 stands for 32. */
  get queueDepth(): number {
    const at = this.#fn.ats?.offset;
    return at === undefined ? 0 : this.#registers.read(at + 4, 2) & 0x1f;
  }

  /** @returns whether it is on now; a VF has nothing to switch and is on when its PF is. */
  enablePasid(): boolean {
    if (this.#physical !== undefined) return this.pasidEnabled;
    const at = this.#fn.pasid?.offset;
    if (at === undefined) return false;
    if (this.pasidEnabled) return true;
    const ats = this.atsEnabled;
    if (ats) this.disableAts();
    const capability = this.#registers.read(at + 4, 2);
    this.#registers.write(at + 6, 2, 1 | (capability & 6));
    if (ats) this.enableAts();
    return this.pasidEnabled;
  }

  disablePasid(): void {
    if (this.#physical !== undefined) return;
    const at = this.#fn.pasid?.offset;
    if (at === undefined || !this.pasidEnabled) return;
    const ats = this.atsEnabled;
    if (ats) this.disableAts();
    this.#registers.write(at + 6, 2, 0);
    if (ats) this.enableAts();
  }

  /** Smallest translation unit: 4 KiB. */
  enableAts(): boolean {
    const at = this.#fn.ats?.offset;
    if (at === undefined) return false;
    this.#registers.write(at + 6, 2, ATS_ENABLE);
    return this.atsEnabled;
  }

  /** The device forgets its translations (§ 10.5.1.3). */
  disableAts(): void {
    const at = this.#fn.ats?.offset;
    if (at !== undefined) this.#registers.write(at + 6, 2, 0);
  }

  /** @returns false without the capability, without ATS, or while requests are outstanding. */
  enablePageRequests(): boolean {
    if (this.#physical !== undefined) return this.atsEnabled && this.pageRequestsEnabled;
    const at = this.#fn.pri?.offset;
    if (at === undefined || !this.atsEnabled) return false;
    if (this.pageRequestsEnabled) return true;
    if ((this.#registers.read(at + 6, 2) & PRI_STOPPED) === 0) return false;
    this.#registers.write(at + 4, 2, PRI_RESET);
    const most = this.#registers.read(at + 8, 4);
    this.#registers.write(at + 0xc, 4, Math.min(most, PRI_OUTSTANDING));
    this.#registers.write(at + 4, 2, PRI_ENABLE);
    return this.pageRequestsEnabled;
  }

  disablePageRequests(): void {
    if (this.#physical !== undefined) return;
    const at = this.#fn.pri?.offset;
    if (at !== undefined) this.#registers.write(at + 4, 2, 0);
  }
}
