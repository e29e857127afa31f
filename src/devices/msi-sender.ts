/**
 * MSI of a device: one address and one value, in which the low bits are the vector. PCIe 6 § 7.7.1,
 * § 6.1.4.
 *
 * A vector that is raised while it is masked is pending, and is sent once when the mask falls.
 */
import type { ConfigRegisters } from "../pcie/index.js";
import type { InterruptMessage } from "./msix-table.js";

const ENABLE = 1;
const WIDE = 0x80;
const MASKABLE = 0x100;

/** See the head of the file. */
export class MsiSender {
  readonly #registers: ConfigRegisters;
  readonly #at: number | undefined;
  #pending = 0;

  /** @param at where the capability is; undefined: there is none. */
  constructor(registers: ConfigRegisters, at: number | undefined) {
    this.#registers = registers;
    this.#at = at;
  }

  get isEnabled(): boolean {
    return this.#at !== undefined && (this.#control & ENABLE) !== 0;
  }

  /** Vectors above those that are allotted wrap (§ 6.1.4.2). */
  raise(vector: number): void {
    this.#pending = (this.#pending | (1 << (vector & (this.#allotted - 1)))) >>> 0;
  }

  /** The next message that may be sent; it is pending no more. */
  take(): InterruptMessage | undefined {
    const ready = (this.#pending & ~this.#masked) >>> 0;
    if (!this.isEnabled || ready === 0) return undefined;
    const vector = 31 - Math.clz32(ready & -ready);
    this.#pending = (this.#pending & ~(1 << vector)) >>> 0;
    const at = this.#at ?? 0;
    const high = this.#isWide ? this.#registers.read(at + 8, 4) : 0;
    return {
      address: (BigInt(high) << 32n) | BigInt((this.#registers.read(at + 4, 4) & ~3) >>> 0),
      data: (this.#registers.read(this.#dataAt, 2) & ~(this.#allotted - 1)) | vector,
    };
  }

  reset(): void {
    this.#pending = 0;
  }

  get #control(): number {
    return this.#at === undefined ? 0 : this.#registers.read(this.#at + 2, 2);
  }

  get #isWide(): boolean {
    return (this.#control & WIDE) !== 0;
  }

  get #dataAt(): number {
    return (this.#at ?? 0) + (this.#isWide ? 0x0c : 8);
  }

  get #allotted(): number {
    return 1 << Math.min((this.#control >>> 4) & 7, 5);
  }

  get #masked(): number {
    return (this.#control & MASKABLE) === 0 ? 0 : this.#registers.read(this.#dataAt + 4, 4);
  }
}
