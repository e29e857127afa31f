/** Reads entries of root, context, PASID and interrupt tables from memory: counted and observed. */
import { MemoryStatus, type PhysicalMemory } from "../../memory/index.js";
import type { WalkedStructure, WalkObserver } from "../iommu-ports.js";

export class EntryReader {
  readonly #memory: PhysicalMemory;
  observer: WalkObserver | undefined = undefined;
  /** Entries read so far. */
  reads = 0;
  /** The entry read: up to 64 bytes. */
  readonly words = new Int32Array(16);

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  /**
   * Reads an entry into `words`.
   * @param lo address of the entry, signed halves.
   * @param bytes 8, 16, 32 or 64; an entry never crosses a frame.
   * @returns false when memory does not give it.
   */
  read(structure: WalkedStructure, lo: number, hi: number, bytes: number): boolean {
    const { words } = this;
    const memory = this.#memory;
    this.reads++;
    for (let at = 0; at < bytes; at += 8) {
      if (memory.read64(lo + at, hi) !== MemoryStatus.ok) return false;
      words[at >>> 2] = memory.lo;
      words[(at >>> 2) + 1] = memory.hi;
    }
    if (this.observer !== undefined) {
      const [valueLo = 0, valueHi = 0] = words;
      this.observer.entryRead(structure, 0, lo, hi, valueLo, valueHi);
    }
    return true;
  }
}
