/**
 * An MSI-X table and its pending bits: PCIe 6 § 7.7.2.2, § 7.7.2.3, § 6.1.4.
 *
 * An entry is 16 bytes: message address (64 bits), data, and a word whose bit 0 masks the vector.
 * A vector that is raised while masked is pending, and is sent once when the mask falls.
 */
const ENTRY = 16;

/** A message to be written: 4 bytes of data to an address. */
export interface InterruptMessage {
  readonly address: bigint;
  readonly data: number;
}

/** Table and pending bits of one function. */
export class MsixTable {
  readonly vectors: number;
  readonly #view: DataView;
  readonly #pending: Uint8Array;

  constructor(vectors: number) {
    this.vectors = vectors;
    this.#view = new DataView(new ArrayBuffer(vectors * ENTRY));
    this.#pending = new Uint8Array(Math.ceil(vectors / 64) * 8);
    this.reset();
  }

  /** Every vector masked, nothing pending (§ 7.7.2.2: the mask bit is set after reset). */
  reset(): void {
    for (let at = 0; at < this.#view.byteLength; at += 4) this.#view.setUint32(at, 0, true);
    for (let v = 0; v < this.vectors; v++) this.#view.setUint32(v * ENTRY + 12, 1, true);
    this.#pending.fill(0);
  }

  get tableBytes(): number {
    return this.#view.byteLength;
  }

  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** Any byte; beyond the table reads zero. */
  readTable(at: number): number {
    return at < this.#view.byteLength ? this.#view.getUint8(at) : 0;
  }

  writeTable(at: number, value: number): void {
    if (at < this.#view.byteLength) this.#view.setUint8(at, value);
  }

  readPending(at: number): number {
    return this.#pending[at] ?? 0;
  }

  message(vector: number): InterruptMessage {
    return {
      address: this.#view.getBigUint64(vector * ENTRY, true) & ~3n,
      data: this.#view.getUint32(vector * ENTRY + 8, true),
    };
  }

  isMasked(vector: number): boolean {
    return (this.#view.getUint32(vector * ENTRY + 12, true) & 1) !== 0;
  }

  isPending(vector: number): boolean {
    return ((this.#pending[vector >>> 3] ?? 0) & (1 << (vector & 7))) !== 0;
  }

  setPending(vector: number, on: boolean): void {
    const old = this.#pending[vector >>> 3] ?? 0;
    const bit = 1 << (vector & 7);
    this.#pending[vector >>> 3] = on ? old | bit : old & ~bit;
  }
}
