/** Why calls were refused, kept by whoever moves the calls. */
import type { UapiError } from "../abi/index.js";

export interface KeptRefusal {
  readonly error: UapiError;
  /** Of the ioctl; 0: another call. */
  readonly command: number;
  /** Counts refusals of the thread, from 1. */
  readonly sequence: bigint;
}

export interface RefusalLog {
  /** The last refusal of a thread, on any file of the platform. */
  last(tid: number): KeptRefusal | undefined;
}
