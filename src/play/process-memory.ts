/**
 * The memory of the one process that a scenario plays: named buffers at addresses of their own.
 *
 * Buffer n begins at virtual address (n + 1) * 4 GiB. Its pages have frames in physical memory from
 * the start; pinning only counts.
 */
import { UapiError } from "../abi/index.js";
import type { LockedMemory, PageSource, UserProcess } from "../iommufd/index.js";
import { BufferBacking, type PhysicalMemory } from "../memory/index.js";

const PAGE = 4096;
/** Pages from one buffer's address to the next one's. */
const STRIDE_PAGES = 2 ** 20;

export interface NamedBuffer {
  readonly name: string;
  readonly backing: BufferBacking;
  /** Page number of its virtual address. */
  readonly firstPage: number;
  readonly pages: number;
}

/** Where a frame lies in the buffers. */
export interface BufferPlace {
  readonly buffer: NamedBuffer;
  readonly page: number;
}

export class ProcessMemory implements PageSource {
  readonly label = "process";
  readonly kind = "process";
  readonly #memory: PhysicalMemory;
  readonly #buffers: NamedBuffer[] = [];
  readonly #byName = new Map<string, NamedBuffer>();
  /** Pages of all buffers. */
  pages = 0;
  /** Pages pinned now, counted once for each pin. */
  pinned = 0;

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  add(name: string, pages: number): NamedBuffer {
    const backing = new BufferBacking(name, pages * PAGE);
    this.#memory.addUserMemory(backing);
    const firstPage = (this.#buffers.length + 1) * STRIDE_PAGES;
    const buffer = { name, backing, firstPage, pages };
    this.#buffers.push(buffer);
    this.pages += pages;
    this.#byName.set(name, buffer);
    return buffer;
  }

  find(name: string): NamedBuffer | undefined {
    return this.#byName.get(name);
  }

  /** The buffer page that has a frame; undefined for other frames. */
  placeOf(pfn: number): BufferPlace | undefined {
    const use = this.#memory.useOf(pfn);
    if (use?.kind !== "user") return undefined;
    const buffer = this.#buffers.find((b) => b.backing === use.backing);
    return buffer === undefined ? undefined : { buffer, page: use.page };
  }

  pin(page: number, count: number, _writable: boolean, frames: Float64Array): void {
    for (let i = 0; i < count; i++) frames[i] = this.#frameOf(page + i);
    this.pinned += count;
  }

  unpin(_page: number, count: number): void {
    this.pinned -= count;
  }

  read(page: number, offset: number, into: Uint8Array): void {
    const { buffer, inside } = this.#find(page);
    buffer.backing.read(inside * PAGE + offset, into);
  }

  write(page: number, offset: number, from: Uint8Array): void {
    const { buffer, inside } = this.#find(page);
    buffer.backing.write(inside * PAGE + offset, from);
  }

  #frameOf(page: number): number {
    const { buffer, inside } = this.#find(page);
    return this.#memory.userFrame(buffer.backing, inside);
  }

  #find(page: number): { buffer: NamedBuffer; inside: number } {
    const buffer = this.#buffers[Math.floor(page / STRIDE_PAGES) - 1];
    const inside = page % STRIDE_PAGES;
    if (buffer !== undefined && inside < buffer.pages) return { buffer, inside };
    throw new UapiError("EFAULT", "nothing is mapped at this address of the process");
  }
}

/** A limit on locked pages. */
class Locked implements LockedMemory {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  charge(pages: number): boolean {
    if (this.#used + pages > this.#limit) return false;
    this.#used += pages;
    return true;
  }

  uncharge(pages: number): void {
    this.#used -= pages;
  }
}

/** A process with a limit on locked memory, in pages. */
export function makeProcess(label: string, memory: PageSource, limit: number): UserProcess {
  return {
    label,
    memory,
    mayLockMemory: limit === Number.POSITIVE_INFINITY,
    mayRaiseLimits: false,
    userLocked: new Locked(limit),
    processLocked: new Locked(limit),
    countPinned: () => {},
  };
}
