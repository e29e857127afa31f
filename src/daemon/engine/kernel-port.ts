/** What the engine asks of the platform's kernel: `PlatformKernel` of the door, and its memory. */
import type { FaultInjection, MemoryAccounts, Refusals } from "../../door/index.js";
import type { Call, OpenFile } from "../../files/index.js";
import type { PhysicalMemory } from "../../memory/index.js";

export interface EngineKernel {
  readonly memory: PhysicalMemory;
  readonly accounts: MemoryAccounts;
  readonly injection: FaultInjection;
  readonly refusals: Refusals;
  /** @throws UapiError: the errno of open(2). */
  open(call: Call, path: string, flags: number): OpenFile;
  /** IOASIS_WHY on a file of any kind. Absent: the files answer themselves. */
  why?(call: Call, argument: bigint): number;
}
