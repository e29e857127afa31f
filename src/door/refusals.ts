/** The last refusals of a platform: what a program asks for after a call has failed. */
import type { UapiError } from "../abi/index.js";
import type { Call } from "../files/index.js";

export interface KeptRefusal {
  readonly pid: number;
  readonly tid: number;
  /** What was called: `ioctl 0x3b85`, `open /dev/vfio/7`. */
  readonly what: string;
  /** Of an ioctl; 0: another call. */
  readonly command: number;
  /** Counts refusals of the thread, from 1. */
  readonly sequence: bigint;
  readonly error: UapiError;
}

/** Refusals kept for people; the last one of each thread is kept beside them. */
const KEPT = 256;
/** Threads whose last refusal is kept. */
const THREADS = 4096;

/** See the head of the file. */
export class Refusals {
  readonly #recent: KeptRefusal[] = [];
  readonly #byThread = new Map<number, KeptRefusal>();

  /** @param command of an ioctl. */
  add(
    call: Pick<Call, "pid" | "tid">,
    what: string,
    error: UapiError,
    command: number = 0,
  ): KeptRefusal {
    const { pid, tid } = call;
    const sequence = (this.#byThread.get(tid)?.sequence ?? 0n) + 1n;
    const kept = { pid, tid, what, command, sequence, error };
    this.#recent.push(kept);
    if (this.#recent.length > KEPT) this.#recent.shift();
    this.#byThread.delete(tid);
    this.#byThread.set(tid, kept);
    if (this.#byThread.size > THREADS) {
      for (const oldest of this.#byThread.keys()) {
        this.#byThread.delete(oldest);
        break;
      }
    }
    return kept;
  }

  /** The last one of a thread; undefined when none of its calls was refused. */
  last(tid: number): KeptRefusal | undefined {
    return this.#byThread.get(tid);
  }

  /** Of all threads, oldest first. */
  get recent(): readonly KeptRefusal[] {
    return this.#recent;
  }
}
