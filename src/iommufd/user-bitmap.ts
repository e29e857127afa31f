/**
 * A bitmap in the caller's memory, at any byte address: bits are only ever set.
 *
 * Bits in a page of memory that cannot be written are lost without an error, as in Linux
 * iova_bitmap_set().
 */
import { isRefusal } from "../abi/index.js";
import type { UserMemory } from "../files/index.js";
import type { DirtyBits } from "./api.js";

const PAGE = 4096;

/** See the head of the file. */
export class UserBitmap implements DirtyBits {
  /** Some bits could not be written. */
  isIncomplete = false;
  readonly #memory: UserMemory;
  readonly #address: bigint;
  readonly #window = new Uint8Array(PAGE);
  /** First byte of the window, counted from the bitmap's; and how many. */
  #first = -1;
  #length = 0;
  #state: "clean" | "changed" | "missing" = "clean";

  constructor(memory: UserMemory, address: bigint) {
    this.#memory = memory;
    this.#address = address;
  }

  set(first: number, last: number): void {
    for (let bit = first; bit <= last; ) {
      const byte = Math.floor(bit / 8);
      if (byte < this.#first || byte >= this.#first + this.#length) this.#load(byte);
      const end = Math.min(last, (this.#first + this.#length) * 8 - 1);
      if (this.#state === "missing") this.isIncomplete = true;
      else this.#setInWindow(bit - this.#first * 8, end - this.#first * 8);
      bit = end + 1;
    }
  }

  /** Writes what is left. */
  flush(): void {
    if (this.#state !== "changed") return;
    try {
      this.#memory.copyOut(this.#byteAddress(), this.#window.subarray(0, this.#length));
    } catch (error) {
      if (!isRefusal(error, "EFAULT")) throw error;
      this.isIncomplete = true;
    }
    this.#state = "clean";
  }

  #byteAddress(): bigint {
    return this.#address + BigInt(this.#first);
  }

  /** The bytes from `byte`'s page of memory. */
  #load(byte: number): void {
    this.flush();
    const offset = Number((this.#address + BigInt(byte)) & 0xfffn);
    this.#first = Math.max(0, byte - offset);
    const inPage = Number((this.#address + BigInt(this.#first)) & 0xfffn);
    this.#length = PAGE - inPage;
    try {
      this.#memory.copyIn(this.#byteAddress(), this.#window.subarray(0, this.#length));
      this.#state = "clean";
    } catch (error) {
      if (!isRefusal(error, "EFAULT")) throw error;
      this.#state = "missing";
    }
  }

  #setInWindow(first: number, last: number): void {
    const window = this.#window;
    this.#state = "changed";
    for (let bit = first; bit <= last; ) {
      const byte = bit >>> 3;
      if ((bit & 7) === 0 && bit + 7 <= last) {
        window[byte] = 0xff;
        bit += 8;
      } else {
        window[byte] = (window[byte] as number) | (1 << (bit & 7));
        bit++;
      }
    }
  }
}
