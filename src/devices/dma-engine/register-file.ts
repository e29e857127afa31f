/**
 * The registers of the engine as bytes: what software reads and writes, with read-only and
 * write-one-to-clear bits.
 */
import { DEFAULT_CHUNK, ENGINE_ID, ENGINE_VERSION, Region, Register, Status } from "./registers.js";

const BYTES = Region.RegistersEnd - Region.Registers;

const READ_ONLY: readonly (readonly [first: number, bytes: number])[] = [
  [Register.Id, 4],
  [Register.Version, 4],
  [Register.Error, 4],
  [Register.ErrorAddress, 8],
  [Register.Count, 8],
  [Register.Result, 8],
  [Register.Requests, 8],
  [Register.PageGroup, 4],
];

export class RegisterFile {
  readonly #view = new DataView(new ArrayBuffer(BYTES));
  readonly #writable = new Uint8Array(BYTES).fill(1);

  constructor() {
    for (const [first, bytes] of READ_ONLY) this.#writable.fill(0, first, first + bytes);
    // Control and status act on write; their bytes are not stored.
    this.#writable.fill(0, Register.Control, Register.Status + 4);
    this.reset();
  }

  reset(): void {
    for (let at = 0; at < BYTES; at += 4) this.#view.setUint32(at, 0, true);
    this.set32(Register.Id, ENGINE_ID);
    this.set32(Register.Version, ENGINE_VERSION);
    this.set32(Register.Chunk, DEFAULT_CHUNK);
  }

  get32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  set32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  get64(at: number): bigint {
    return this.#view.getBigUint64(at, true);
  }

  set64(at: number, value: bigint): void {
    this.#view.setBigUint64(at, value, true);
  }

  readByte(at: number): number {
    return at < BYTES ? this.#view.getUint8(at) : 0;
  }

  /** A byte that software writes; status bits fall where ones are written. */
  writeByte(at: number, value: number): void {
    if (at >= BYTES) return;
    if (at === Register.Status) {
      const cleared = value & (Status.Done | Status.Error);
      this.#view.setUint8(at, this.#view.getUint8(at) & ~cleared);
    } else if (this.#writable[at] === 1) this.#view.setUint8(at, value);
  }
}
