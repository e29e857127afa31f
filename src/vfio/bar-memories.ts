/**
 * Memory of BARs that somebody maps. It is made at the first mapping and then stays: programs keep
 * what they have mapped, and the device writes there from then on.
 */
import type { SharedMemory } from "../files/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import type { VfioPlatform } from "./platform-ports.js";

/** Those of one machine. */
export class BarMemories {
  readonly #platform: Pick<VfioPlatform, "machine" | "memory">;
  readonly #made = new Map<string, SharedMemory>();

  constructor(platform: Pick<VfioPlatform, "machine" | "memory">) {
    this.#platform = platform;
  }

  /** @param bytes a multiple of 4096. @throws UapiError ENOMEM. */
  memoryOf(bdf: Bdf, bar: number, bytes: number): SharedMemory {
    const label = `BAR ${bar} of ${formatBdf(bdf)}`;
    const known = this.#made.get(label);
    if (known !== undefined) return known;
    const { machine, memory } = this.#platform;
    const made = memory.create(label, bytes);
    machine.endpoint(bdf)?.plainBar?.(bar)?.back(made.bytes);
    this.#made.set(label, made);
    return made;
  }

  /** The machine is gone. */
  close(): void {
    for (const memory of this.#made.values()) memory.close();
    this.#made.clear();
  }
}
