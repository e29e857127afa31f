/**
 * TableFrames: frames for the driver's tables, and how many entries of each are in use.
 *
 * The counts let a table go as soon as its last entry does, without reading its 512 entries. They
 * stand in an array of their own, indexed by where the frame's words lie in memory.
 */
import { UapiError } from "../abi/index.js";
import type { FrameOwner, PhysicalMemory } from "../memory/index.js";

const FIRST_COUNTS = 64;

/** See the head of this file. One for all tables of a driver. */
export class TableFrames {
  readonly memory: PhysicalMemory;
  /** Used entries by `word index of the frame >>> 10`; replaced when it grows. */
  counts = new Uint16Array(FIRST_COUNTS);
  #held = 0;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** Frames that it handed out and did not get back. */
  get held(): number {
    return this.#held;
  }

  /** A zeroed frame, or -1 when there is none. */
  tryAllocate(owner: FrameOwner): number {
    const pfn = this.memory.allocateFrame(owner);
    if (pfn === undefined) return -1;
    this.#adopt(pfn);
    return pfn;
  }

  /** @throws UapiError ENOMEM when there is none. */
  allocate(owner: FrameOwner): number {
    const pfn = this.tryAllocate(owner);
    if (pfn < 0) throw noFrame(owner);
    return pfn;
  }

  /** Consecutive frames, aligned as `PhysicalMemory.allocateFrames`. @throws UapiError ENOMEM. */
  allocateRun(count: number, owner: FrameOwner): number {
    const first = this.memory.allocateFrames(count, owner);
    if (first === undefined) throw noFrame(owner);
    for (let pfn = first; pfn < first + count; pfn++) this.#adopt(pfn);
    return first;
  }

  free(pfn: number): void {
    this.memory.freeFrame(pfn);
    this.#held--;
  }

  #adopt(pfn: number): void {
    const index = this.memory.frameWord(pfn) >>> 10;
    if (index >= this.counts.length) {
      const larger = new Uint16Array(Math.max(index + 1, this.counts.length * 2));
      larger.set(this.counts);
      this.counts = larger;
    }
    this.counts[index] = 0;
    this.#held++;
  }
}

function noFrame(owner: FrameOwner): UapiError {
  return new UapiError("ENOMEM", "no frame is left for a table", {
    evidence: [{ kind: "frame-refused", owner: owner.label }],
  });
}
