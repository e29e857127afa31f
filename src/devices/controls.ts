/**
 * The switches that software sets in configuration space, read where they are: Command (PCIe 6
 * § 7.5.1.1.3), ATS (§ 10.5.1), page requests (§ 10.5.2), PASID (§ 7.8.9), MSI-X (§ 7.7.2).
 *
 * VFs use the PASID and page request capabilities of their PF (§ 9.3.7.14, § 10.5.2), and have
 * Command and ATS of their own.
 */
import {
  CapabilityId,
  type ConfigRegisters,
  findStandard,
  type PciFunction,
} from "../pcie/index.js";

/** The switches of one function, read anew each time. */
export class Controls {
  readonly #fn: PciFunction;
  readonly #own: ConfigRegisters;
  readonly #shared: ConfigRegisters;
  readonly #msix: number | undefined;

  /** @param physical the registers of the PF, for a VF. */
  constructor(fn: PciFunction, registers: ConfigRegisters, physical?: ConfigRegisters) {
    this.#fn = fn;
    this.#own = registers;
    this.#shared = physical ?? registers;
    this.#msix = findStandard(fn.capabilities, CapabilityId.MsiX) ?? undefined;
  }

  get busMaster(): boolean {
    return (this.#own.read(0x04, 2) & 0x0004) !== 0;
  }

  /** Enable No Snoop of Device Control (PCIe 6 § 7.5.3.4); a conventional function has none. */
  get noSnoop(): boolean {
    const at = this.#fn.express?.offset;
    return at === undefined || (this.#own.read(at + 8, 2) & 0x0800) !== 0;
  }

  /** The function has an interrupt pin and may use it: no messages, INTx Disable off. */
  get pin(): boolean {
    const disabled = (this.#own.read(0x04, 2) & 0x0400) !== 0;
    return this.#own.read(0x3d, 1) !== 0 && !disabled;
  }

  get ats(): boolean {
    const at = this.#fn.ats?.offset;
    return at !== undefined && (this.#own.read(at + 6, 2) & 0x8000) !== 0;
  }

  get pageRequests(): boolean {
    const at = this.#sharer.pri?.offset;
    return at !== undefined && (this.#shared.read(at + 4, 2) & 1) !== 0;
  }

  get pasid(): boolean {
    return (this.#pasidControl & 1) !== 0;
  }

  get pasidExecute(): boolean {
    return (this.#pasidControl & 3) === 3;
  }

  get pasidPrivileged(): boolean {
    return (this.#pasidControl & 5) === 5;
  }

  /** PASIDs that fit: 2^width; 0 without the capability. */
  get pasidLimit(): number {
    const width = this.#sharer.pasid?.width;
    return width === undefined ? 0 : 2 ** width;
  }

  /** MSI-X vectors, 0 without. */
  get vectorCount(): number {
    return this.#msix === undefined ? 0 : (this.#own.read(this.#msix + 2, 2) & 0x7ff) + 1;
  }

  get msix(): boolean {
    return this.#msix !== undefined && (this.#own.read(this.#msix + 2, 2) & 0x8000) !== 0;
  }

  /** All vectors are masked. */
  get msixMasked(): boolean {
    return this.#msix === undefined || (this.#own.read(this.#msix + 2, 2) & 0x4000) !== 0;
  }

  get #pasidControl(): number {
    const at = this.#sharer.pasid?.offset;
    return at === undefined ? 0 : this.#shared.read(at + 6, 2);
  }

  get #sharer(): PciFunction {
    return this.#fn.physfn ?? this.#fn;
  }
}
