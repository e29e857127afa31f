/** What the engine asks of the platform's kernel. */
import type { Call, OpenFile } from "../../files/index.js";
import type { PhysicalMemory } from "../../memory/index.js";

export interface EngineKernel {
  readonly memory: PhysicalMemory;
  /** @throws UapiError: the errno of open(2). */
  open(call: Call, path: string, flags: number): OpenFile;
}
