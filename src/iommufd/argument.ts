/**
 * The argument struct of a call while it is served.
 *
 * The struct of the caller is copied to one buffer, zero beyond what the caller gave; handlers read
 * and write fields there, and it is copied back as the row says. One buffer serves all calls of a
 * file: nothing of it outlives a call.
 */
import { UapiError } from "../abi/index.js";
import type { UserMemory } from "../files/index.js";

/** Bytes of the largest argument. */
export const ARGUMENT_BYTES_MAX = 256;
const TAIL_CHUNK = 4096;

/** The argument struct of the call at hand; reused. */
export class Argument {
  readonly bytes = new Uint8Array(ARGUMENT_BYTES_MAX);
  readonly view = new DataView(this.bytes.buffer);
  /** In the caller's memory. */
  address = 0n;
  /** Bytes that the caller gave and the call knows: what is copied back. */
  known = 0;
  readonly #word = this.bytes.subarray(0, 4);
  readonly #heads: (Uint8Array | undefined)[] = [];

  /** Reads the size word. @throws UapiError EFAULT. */
  readSize(memory: UserMemory, address: bigint): number {
    this.address = address;
    memory.copyIn(address, this.#word);
    return this.view.getUint32(0, true);
  }

  /**
   * Reads the struct: what the caller left out is 0, what it has on top must be 0.
   * @throws UapiError EFAULT, E2BIG.
   */
  read(memory: UserMemory, given: number, size: number): void {
    if (given > size) checkTail(memory, this.address + BigInt(size), given - size);
    const known = given < size ? given : size;
    this.known = known;
    memory.copyIn(this.address, this.head(known));
    if (known < size) this.bytes.fill(0, known, size);
  }

  /** Copies the struct back to the caller. @throws UapiError EFAULT. */
  reply(memory: UserMemory): void {
    memory.copyOut(this.address, this.head(this.known));
  }

  /** The first bytes of the buffer. */
  head(length: number): Uint8Array {
    let head = this.#heads[length];
    if (head === undefined) {
      head = this.bytes.subarray(0, length);
      this.#heads[length] = head;
    }
    return head;
  }
}

/**
 * Bytes of a struct that nobody knows must be 0.
 * @throws UapiError E2BIG, EFAULT: whichever comes first.
 */
export function checkTail(memory: UserMemory, address: bigint, length: number): void {
  const chunk = new Uint8Array(Math.min(length, TAIL_CHUNK));
  for (let done = 0; done < length; ) {
    // Up to the end of a page: what lies before a hole is looked at first.
    const at = address + BigInt(done);
    const room = TAIL_CHUNK - Number(at & 0xfffn);
    const part = chunk.subarray(0, Math.min(room, length - done));
    memory.copyIn(at, part);
    if (part.some((byte) => byte !== 0)) {
      throw new UapiError("E2BIG", "bytes beyond the known struct are not 0", {
        evidence: [{ kind: "struct-tail", bytes: length }],
        cite: "Linux copy_struct_from_user()",
      });
    }
    done += part.length;
  }
}
