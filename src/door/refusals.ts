/** The last refusals of a platform: what a program asks for after a call has failed. */
import type { UapiError } from "../abi/index.js";
import type { Call } from "../files/index.js";

export interface KeptRefusal {
  /** Counts all refusals of the platform. */
  readonly number: number;
  readonly pid: number;
  readonly tid: number;
  /** What was called: `ioctl 0x3b85 on /dev/iommu`. */
  readonly call: string;
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
  #count = 0;

  add(call: Pick<Call, "pid" | "tid">, what: string, error: UapiError): KeptRefusal {
    this.#count++;
    const kept = { number: this.#count, pid: call.pid, tid: call.tid, call: what, error };
    this.#recent.push(kept);
    if (this.#recent.length > KEPT) this.#recent.shift();
    this.#byThread.delete(call.tid);
    this.#byThread.set(call.tid, kept);
    if (this.#byThread.size > THREADS) {
      for (const oldest of this.#byThread.keys()) {
        this.#byThread.delete(oldest);
        break;
      }
    }
    return kept;
  }

  /** The last one of a thread; undefined when none of its calls was refused. */
  of(tid: number): KeptRefusal | undefined {
    return this.#byThread.get(tid);
  }

  /** Oldest first. */
  get recent(): readonly KeptRefusal[] {
    return this.#recent;
  }
}
