/**
 * FaultInjection: lets the n-th allocation of one task fail, as the kernel's fault injection does
 * for a task with a number in /proc/self/task/TID/fail-nth.
 *
 * Injection points are the allocations of the platform and pins of memory that happen in a call of
 * the task. A number counts down at each point; the point that takes it from 1 to 0 fails. Linux
 * lib/fault-inject.c, should_fail_ex(): fail_nth.
 */
import type { AllocationPort } from "../memory/index.js";

/** See the head of the file. */
export class FaultInjection implements AllocationPort {
  readonly #left = new Map<number, number>();
  #task: number | undefined;

  /** Runs a call of a task: what it allocates counts for that task. */
  during<T>(tid: number, work: () => T): T {
    const before = this.#task;
    this.#task = this.#left.size === 0 ? undefined : tid;
    try {
      return work();
    } finally {
      this.#task = before;
    }
  }

  /** Arms a task: its n-th point from now fails; 0 disarms it. */
  arm(tid: number, n: number): void {
    if (n === 0) this.#left.delete(tid);
    else this.#left.set(tid, n);
  }

  /** What is left to count; 0 when a fault was injected, or none was asked for. */
  left(tid: number): number {
    return this.#left.get(tid) ?? 0;
  }

  /** An injection point. @returns false when it must fail. */
  permit(): boolean {
    if (this.#task === undefined) return true;
    const left = this.#left.get(this.#task);
    if (left === undefined) return true;
    if (left > 1) {
      this.#left.set(this.#task, left - 1);
      return true;
    }
    this.#left.delete(this.#task);
    return false;
  }

  /** The task is gone. */
  forget(tid: number): void {
    this.#left.delete(tid);
  }
}
