/**
 * System calls of Linux through libc.
 *
 * This folder is the only place that knows the FFI library. Functions take and give numbers; memory
 * is passed by address, which is a Number (user addresses lie below 2^47). Structures are laid out
 * by hand in memory that stays where it is (`scratch.io.ts`), because turning objects into
 * structures at each call costs more than most system calls.
 */
import koffi from "koffi";

const libc = koffi.load(null);

/** A function of libc that takes and gives numbers. */
export type NumberFunction = (...numbers: number[]) => number;

/** Types: `i` int, `u` unsigned, `l` long, `p` address. */
const TYPES: Readonly<Record<string, string>> = { i: "int", u: "uint", l: "long", p: "intptr_t" };

/**
 * A function of libc.
 * @param signature one letter for the result, then one for each argument: `lip` is
 *   `long f(int, void *)`.
 */
export function libcFunction(name: string, signature: string): NumberFunction {
  const [result = "i", ...given] = [...signature];
  const type = (letter: string): string => TYPES[letter] ?? "int";
  return libc.func(name, type(result), given.map(type)) as NumberFunction;
}

/** Functions of another library, as {@link libcFunction}. @throws when it cannot be loaded. */
export function libraryFunctions(
  path: string,
): (name: string, signature: string) => NumberFunction {
  const library = koffi.load(path);
  return (name, signature) => {
    const [result = "i", ...given] = [...signature];
    const type = (letter: string): string => TYPES[letter] ?? "int";
    return library.func(name, type(result), given.map(type)) as NumberFunction;
  };
}

/** `memfd_create` and others that take a string. */
export function libcTextFunction(name: string): (text: string, number: number) => number {
  return libc.func(name, "int", ["str", "uint"]) as (text: string, number: number) => number;
}

/** A failed system call. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly call: string;
  readonly errno: number;

  constructor(call: string, errno: number) {
    super(`${call}: errno ${errno}${nameOf(errno)}`);
    this.call = call;
    this.errno = errno;
  }
}

function nameOf(errno: number): string {
  const found = Object.entries(koffi.os.errno).find(([, value]) => value === errno);
  return found === undefined ? "" : ` (${found[0]})`;
}

/** Of the last call of this thread that failed. */
export function lastErrno(): number {
  return koffi.errno();
}

/** The result, when it is not -1. @throws SystemError. */
export function checked(call: string, result: number): number {
  if (result === -1) throw new SystemError(call, koffi.errno());
  return result;
}

/** The bytes from an address on; valid as long as they are mapped. Below 4 GiB. */
export function viewOf(address: number, byteLength: number): ArrayBuffer {
  return koffi.view(address, byteLength);
}

/** Values of errno that this program asks for. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  ENOMEM: 12,
  EFAULT: 14,
  EINVAL: 22,
  EMFILE: 24,
  EPIPE: 32,
  ENOSYS: 38,
} as const;
