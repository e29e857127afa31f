/** The memory of a caller. */

/** The memory of the caller during a call; addresses are 64-bit unsigned. */
export interface UserMemory {
  /** Fills `into` from the caller. @throws UapiError EFAULT: nothing is to be used. */
  copyIn(address: bigint, into: Uint8Array): void;
  /** @throws UapiError EFAULT: bytes before the bad one may be there. */
  copyOut(address: bigint, from: Uint8Array): void;
}
