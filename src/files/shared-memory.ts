/**
 * Memory that a program may map into its address space: BARs, mmap regions of the driver.
 *
 * Whoever runs the files decides what it is made of: a buffer in tests, a memfd in a daemon.
 */
export interface SharedMemory {
  readonly label: string;
  /** A multiple of 4096. */
  readonly byteLength: number;
  /** The bytes, shared with everybody that maps them; the view stays valid until `close`. */
  readonly bytes: Uint8Array;
  /** Gives it back; mappings of programs stay as they are. */
  close(): void;
}

export interface SharedMemoryMaker {
  /** Zeroed memory. @throws UapiError ENOMEM. */
  create(label: string, byteLength: number): SharedMemory;
}

/** Shared memory that nobody else maps: for tests and for the library. */
export const BUFFER_MEMORY: SharedMemoryMaker = {
  create: (label, byteLength) => ({
    label,
    byteLength,
    bytes: new Uint8Array(byteLength),
    close: () => {},
  }),
};
