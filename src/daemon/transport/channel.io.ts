/**
 * The shared memory of one process: a header page and slots, one call each.
 *
 * Both sides write it, so nothing in it is trusted: lengths are bounded when they are read, and a
 * word that matters is read once. What the daemon needs again it keeps elsewhere.
 */
import { closeDescriptor } from "../ffi/descriptors.io.js";
import { waitFutex, wakeFutex } from "../ffi/futex.io.js";
import { Mapping, makeMemoryFile } from "../ffi/mapping.io.js";
import {
  CHANNEL_BYTES,
  FRAME_MAGIC,
  FRAME_VERSION,
  HEADER_BYTES,
  HeaderWord,
  PAYLOAD,
  SLOT_BYTES,
  SlotState,
  SlotWord,
} from "./frame.js";

const SLOT_WORDS = SLOT_BYTES / 4;
const HEADER_WORDS = HEADER_BYTES / 4;

/** A timespec for waits, in memory of its own. */
const timeout = Mapping.anonymous(4096);
const timeoutWords = new BigInt64Array(timeout.buffer);

export class Channel {
  /** For the client; closed once it was sent. */
  readonly fd: number;
  readonly #mapping: Mapping;
  readonly #words: Int32Array;
  readonly #longs: BigUint64Array;

  constructor() {
    this.fd = makeMemoryFile("ioasis-channel", CHANNEL_BYTES);
    this.#mapping = Mapping.ofFile(this.fd, 0, CHANNEL_BYTES);
    this.#words = new Int32Array(this.#mapping.buffer);
    this.#longs = new BigUint64Array(this.#mapping.buffer);
    this.#words[HeaderWord.VERSION] = FRAME_VERSION;
    this.#words[HeaderWord.ASLEEP] = 1;
    Atomics.store(this.#words, HeaderWord.MAGIC, FRAME_MAGIC);
  }

  header(index: number): number {
    return Atomics.load(this.#words, index);
  }

  setHeader(index: number, value: number): void {
    Atomics.store(this.#words, index, value);
  }

  /** Takes the bits of slots with new requests, of one half (0: slots 0 to 31). */
  takePending(half: 0 | 1): number {
    const index = HeaderWord.PENDING_LO + half;
    if (Atomics.load(this.#words, index) === 0) return 0;
    return Atomics.exchange(this.#words, index, 0);
  }

  hasPending(): boolean {
    const words = this.#words;
    return (
      Atomics.load(words, HeaderWord.PENDING_LO) !== 0 ||
      Atomics.load(words, HeaderWord.PENDING_HI) !== 0
    );
  }

  /** Takes the request of a slot. @returns false when there is none. */
  take(slot: number): boolean {
    const state = this.#at(slot, SlotWord.STATE);
    const { REQUEST, TAKEN } = SlotState;
    return Atomics.compareExchange(this.#words, state, REQUEST, TAKEN) === REQUEST;
  }

  word(slot: number, index: number): number {
    return this.#words[this.#at(slot, index)] as number;
  }

  setWord(slot: number, index: number, value: number): void {
    this.#words[this.#at(slot, index)] = value;
  }

  /** 64 bits, unsigned. */
  long(slot: number, index: number): bigint {
    return this.#longs[this.#at(slot, index) >> 1] as bigint;
  }

  setLong(slot: number, index: number, value: bigint): void {
    this.#longs[this.#at(slot, index) >> 1] = value;
  }

  /** Bytes of the payload, in place. */
  payload(slot: number, length: number): Uint8Array {
    const at = HEADER_BYTES + slot * SLOT_BYTES + PAYLOAD;
    return this.#mapping.bytes.subarray(at, at + length);
  }

  /** The answer is complete: gives the slot back to the client. */
  reply(slot: number): void {
    this.#hand(slot, SlotState.REPLY);
  }

  /**
   * Asks the client to copy between the payload and its memory, and waits for it.
   * @returns bytes copied; undefined when it did not answer in time.
   */
  need(slot: number, state: 4 | 5, milliseconds: number): number | undefined {
    const word = this.#at(slot, SlotWord.STATE);
    this.#hand(slot, state);
    const end = performance.now() + milliseconds;
    timeoutWords[0] = 0n;
    timeoutWords[1] = 1_000_000n;
    for (let spins = 0; Atomics.load(this.#words, word) !== SlotState.NEED_DONE; spins++) {
      if (spins < 2000) continue;
      if (performance.now() > end) break;
      waitFutex(this.#mapping.address + word * 4, state, timeout.address);
    }
    const { NEED_DONE, TAKEN } = SlotState;
    const got = Atomics.compareExchange(this.#words, word, NEED_DONE, TAKEN);
    if (got === NEED_DONE) return this.word(slot, SlotWord.NEED_LENGTH) >>> 0;
    Atomics.store(this.#words, word, TAKEN);
    return undefined;
  }

  /** The client finds that nobody answers any longer; nothing may touch the channel after. */
  close(): void {
    this.setHeader(HeaderWord.CLOSED, 1);
    for (let slot = 0; slot < 64; slot++) {
      if (this.word(slot, SlotWord.STATE) !== SlotState.FREE) {
        wakeFutex(this.#mapping.address + this.#at(slot, SlotWord.STATE) * 4);
      }
    }
    this.#mapping.close();
  }

  closeFile(): void {
    closeDescriptor(this.fd);
  }

  #hand(slot: number, state: number): void {
    const word = this.#at(slot, SlotWord.STATE);
    Atomics.store(this.#words, word, state);
    const asleep = this.#at(slot, SlotWord.ASLEEP);
    if (Atomics.load(this.#words, asleep) !== 0) wakeFutex(this.#mapping.address + word * 4);
  }

  #at(slot: number, index: number): number {
    return HEADER_WORDS + slot * SLOT_WORDS + index;
  }
}
