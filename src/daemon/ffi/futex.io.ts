/** Waking who sleeps on a word of shared memory. */
import { libcFunction } from "./libc.io.js";

const systemCall = libcFunction("syscall", "llplllll");
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const NUMBERS: Readonly<Record<string, number>> = { x64: 202, arm64: 98, riscv64: 98 };
const SYS_FUTEX = NUMBERS[process.arch] ?? 98;

/** Wakes one that sleeps on the word at an address. */
export function wakeFutex(address: number): void {
  systemCall(SYS_FUTEX, address, FUTEX_WAKE, 1, 0, 0, 0);
}

/**
 * Sleeps while the word has the value.
 * @param timeout address of a timespec, or 0: no limit.
 */
export function waitFutex(address: number, value: number, timeout: number): void {
  systemCall(SYS_FUTEX, address, FUTEX_WAIT, value, timeout, 0, 0);
}
