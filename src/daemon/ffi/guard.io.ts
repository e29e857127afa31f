/**
 * Guards mappings of files that others may truncate: an access beyond the end finds an empty page
 * instead of ending this process. Without the compiled guard nothing is guarded.
 */
import { libraryFunctions, type NumberFunction } from "./libc.io.js";

interface Guard {
  readonly add: NumberFunction;
  readonly remove: NumberFunction;
  readonly replaced: NumberFunction;
}

let guard: Guard | undefined;

/** @param path of the compiled guard. @throws when it cannot be loaded. */
export function installGuard(path: string): void {
  if (guard !== undefined) return;
  const make = libraryFunctions(path);
  make("ioasis_guard_install", "i")();
  guard = {
    add: make("ioasis_guard_add", "ipl"),
    remove: make("ioasis_guard_remove", "ip"),
    replaced: make("ioasis_guard_replaced", "l"),
  };
}

/** The bytes from an address on belong to a file that others may truncate. */
export function guardRange(address: number, byteLength: number): void {
  guard?.add(address, byteLength);
}

export function unguardRange(address: number): void {
  guard?.remove(address);
}

/** Pages that were beyond the end of their file when they were touched. */
export function replacedPages(): number {
  return guard?.replaced() ?? 0;
}
