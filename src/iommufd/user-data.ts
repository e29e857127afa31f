/** Structs that only driver and user know, in the caller's memory. */
import { isRefusal } from "../abi/index.js";
import type { DriverData, InvalidationEntries } from "../driver/index.js";
import type { UserMemory } from "../files/index.js";
import { checkTail } from "./argument.js";

/** Driver data, read when somebody looks at the bytes. */
export class UserData implements DriverData {
  readonly type: number;
  readonly byteLength: number;
  readonly #memory: UserMemory;
  readonly #address: bigint;
  #bytes: DataView | undefined;

  constructor(memory: UserMemory, type: number, address: bigint, byteLength: number) {
    this.#memory = memory;
    this.type = type;
    this.#address = address;
    this.byteLength = byteLength;
  }

  /** @throws UapiError EFAULT. */
  get bytes(): DataView {
    if (this.#bytes === undefined) {
      const bytes = new Uint8Array(this.byteLength);
      this.#memory.copyIn(this.#address, bytes);
      this.#bytes = new DataView(bytes.buffer);
    }
    return this.#bytes;
  }
}

/** Driver data of a call; undefined when the caller gave none. */
export function dataOf(
  memory: UserMemory,
  type: number,
  address: bigint,
  byteLength: number,
): DriverData | undefined {
  if (type === 0 && byteLength === 0) return undefined;
  return new UserData(memory, type, address, byteLength);
}

const WINDOW_BYTES = 4096;

/** Invalidation entries; those that lie together are read together. */
export class UserEntries implements InvalidationEntries {
  readonly entryBytes: number;
  readonly count: number;
  done = 0;
  readonly #memory: UserMemory;
  readonly #address: bigint;
  readonly #window = new Uint8Array(WINDOW_BYTES);
  /** Entries in the window. */
  #first = 0;
  #held = 0;

  constructor(memory: UserMemory, address: bigint, entryBytes: number, count: number) {
    this.#memory = memory;
    this.#address = address;
    this.entryBytes = entryBytes;
    this.count = count;
  }

  entry(i: number, structBytes = this.entryBytes): DataView {
    const { entryBytes } = this;
    if (i < this.#first || i >= this.#first + this.#held) this.#load(i);
    const from = (i - this.#first) * entryBytes;
    const bytes = new Uint8Array(structBytes);
    bytes.set(this.#window.subarray(from, from + Math.min(entryBytes, structBytes)));
    if (entryBytes > structBytes) {
      const tail = this.#at(i) + BigInt(structBytes);
      checkTail(this.#memory, tail, entryBytes - structBytes);
    }
    return new DataView(bytes.buffer);
  }

  #at(i: number): bigint {
    return this.#address + BigInt(i) * BigInt(this.entryBytes);
  }

  /** Fills the window from entry `i` on; with that one alone when they cannot be read together. */
  #load(i: number): void {
    const { entryBytes, count } = this;
    this.#held = 0;
    let held = Math.min(count - i, Math.floor(WINDOW_BYTES / entryBytes));
    try {
      this.#memory.copyIn(this.#at(i), this.#window.subarray(0, held * entryBytes));
    } catch (error) {
      if (held === 1 || !isRefusal(error, "EFAULT")) throw error;
      held = 1;
      this.#memory.copyIn(this.#at(i), this.#window.subarray(0, entryBytes));
    }
    this.#first = i;
    this.#held = held;
  }
}
