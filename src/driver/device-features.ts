/**
 * Switching ATS, PASID, page requests and no-snoop of a function on and off, through its
 * configuration registers: PCIe 6 § 10.5.1 (ATS), § 7.8.9 (PASID), § 10.5.2 (page requests), §
 * 7.5.3.4 (no snoop).
 *
 * PASID may only change while ATS is off, page requests need ATS. A VF has an ATS capability of its
 * own and shares the other two with its PF, which must have them on.
 */
import type { AccessLength, PciFunction } from "../pcie/index.js";
import type { DriverHost } from "./driver-host.js";

const NO_SNOOP_ENABLE = 0x0800;
const ATS_ENABLE = 0x8000;
const PRI_ENABLE = 1;
const PRI_RESET = 2;
const PRI_STOPPED = 0x0100;
/** Page requests that may be outstanding at once; Linux grants 32 by default. */
const PRI_OUTSTANDING = 32;

/** Switches of one function; see the head of this file. */
export class DeviceFeatures {
  readonly #fn: PciFunction;
  readonly #host: DriverHost;
  /** The PF's, for a VF. */
  readonly #physical: DeviceFeatures | undefined;

  constructor(fn: PciFunction, host: DriverHost) {
    this.#fn = fn;
    this.#host = host;
    this.#physical = fn.physfn === undefined ? undefined : new DeviceFeatures(fn.physfn, host);
  }

  get atsEnabled(): boolean {
    const at = this.#fn.ats?.offset;
    return at !== undefined && (this.#read(at + 6, 2) & ATS_ENABLE) !== 0;
  }

  get pasidEnabled(): boolean {
    if (this.#physical !== undefined) return this.#physical.pasidEnabled;
    const at = this.#fn.pasid?.offset;
    return at !== undefined && (this.#read(at + 6, 2) & 1) !== 0;
  }

  get pageRequestsEnabled(): boolean {
    if (this.#physical !== undefined) return this.#physical.pageRequestsEnabled;
    const at = this.#fn.pri?.offset;
    return at !== undefined && (this.#read(at + 4, 2) & PRI_ENABLE) !== 0;
  }

  /** Invalidations it can have outstanding: ATS capability bits 4:0, 0 stands for 32. */
  get queueDepth(): number {
    const at = this.#fn.ats?.offset;
    return at === undefined ? 0 : this.#read(at + 4, 2) & 0x1f;
  }

  /** @returns whether it is on now; a VF has nothing to switch and is on when its PF is. */
  enablePasid(): boolean {
    if (this.#physical !== undefined) return this.pasidEnabled;
    const at = this.#fn.pasid?.offset;
    if (at === undefined) return false;
    if (this.pasidEnabled) return true;
    const ats = this.atsEnabled;
    if (ats) this.disableAts();
    const capability = this.#read(at + 4, 2);
    this.#write(at + 6, 2, 1 | (capability & 6));
    if (ats) this.enableAts();
    return this.pasidEnabled;
  }

  disablePasid(): void {
    if (this.#physical !== undefined) return;
    const at = this.#fn.pasid?.offset;
    if (at === undefined || !this.pasidEnabled) return;
    const ats = this.atsEnabled;
    if (ats) this.disableAts();
    this.#write(at + 6, 2, 0);
    if (ats) this.enableAts();
  }

  /** Device Control, Enable No Snoop: without it the function never asks not to be snooped. */
  allowNoSnoop(allowed: boolean): void {
    const at = this.#fn.express?.offset;
    if (at === undefined) return;
    const control = this.#read(at + 8, 2);
    this.#write(at + 8, 2, allowed ? control | NO_SNOOP_ENABLE : control & ~NO_SNOOP_ENABLE);
  }

  /** Smallest translation unit: 4 KiB. */
  enableAts(): boolean {
    const at = this.#fn.ats?.offset;
    if (at === undefined) return false;
    this.#write(at + 6, 2, ATS_ENABLE);
    return this.atsEnabled;
  }

  /** The device forgets its translations (§ 10.5.1.3). */
  disableAts(): void {
    const at = this.#fn.ats?.offset;
    if (at !== undefined) this.#write(at + 6, 2, 0);
  }

  /** @returns false without the capability, without ATS, or while requests are outstanding. */
  enablePageRequests(): boolean {
    if (this.#physical !== undefined) return this.atsEnabled && this.pageRequestsEnabled;
    const at = this.#fn.pri?.offset;
    if (at === undefined || !this.atsEnabled) return false;
    if (this.pageRequestsEnabled) return true;
    if ((this.#read(at + 6, 2) & PRI_STOPPED) === 0) return false;
    this.#write(at + 4, 2, PRI_RESET);
    const most = this.#read(at + 8, 4);
    this.#write(at + 0xc, 4, Math.min(most, PRI_OUTSTANDING));
    this.#write(at + 4, 2, PRI_ENABLE);
    return this.pageRequestsEnabled;
  }

  disablePageRequests(): void {
    if (this.#physical !== undefined) return;
    const at = this.#fn.pri?.offset;
    if (at !== undefined) this.#write(at + 4, 2, 0);
  }

  #read(offset: number, length: AccessLength): number {
    return this.#host.configRead(this.#fn.bdf, offset, length);
  }

  #write(offset: number, length: AccessLength, value: number): void {
    this.#host.configWrite(this.#fn.bdf, offset, length, value);
  }
}
