/**
 * Memory of drivers that a program maps through the file of the context.
 *
 * Each region has an offset in the file that the driver hands out; the first one is a page, regions
 * do not overlap, and the lowest free place is taken. A mapping keeps the region's owner in use.
 * Linux iommufd_fops_mmap(), _iommufd_alloc_mmap().
 */
import { UapiError } from "../abi/index.js";
import type { MappedRegion, MmapRequest, SharedMemory } from "../files/index.js";
import { PAGE_SIZE } from "./limits.js";
import type { IommufdObject } from "./object-table.js";

interface Region {
  readonly offset: number;
  readonly memory: SharedMemory;
  readonly owner: IommufdObject;
}

const MAP_SHARED = 1;
const MAP_TYPE = 3;
const PROT_EXECUTE = 4;
const CITE = { cite: "Linux iommufd_fops_mmap()" };

export class MmapRegions {
  /** By offset. */
  readonly #regions: Region[] = [];

  /** @returns the offset in the file. */
  add(memory: SharedMemory, owner: IommufdObject): number {
    let offset = PAGE_SIZE;
    let at = 0;
    for (; at < this.#regions.length; at++) {
      const region = this.#regions[at] as Region;
      if (offset + memory.byteLength <= region.offset) break;
      offset = region.offset + region.memory.byteLength;
    }
    this.#regions.splice(at, 0, { offset, memory, owner });
    return offset;
  }

  /** Regions of an object that goes away. */
  removeOwner(owner: IommufdObject): void {
    for (let at = this.#regions.length - 1; at >= 0; at--) {
      const region = this.#regions[at] as Region;
      if (region.owner !== owner) continue;
      this.#regions.splice(at, 1);
      region.memory.close();
    }
  }

  /**
   * Maps a region whole.
   * @param hold keeps the context alive, until no process maps the region any longer.
   * @throws UapiError EINVAL (length 0, a private mapping), EPERM (execute), ENXIO (no region has
   * exactly this offset and length).
   */
  map(request: MmapRequest, hold: () => () => void): MappedRegion {
    const { length, flags, protection, offset } = request;
    if (length <= 0n) throw new UapiError("EINVAL", "length is 0", CITE);
    if ((flags & MAP_TYPE & MAP_SHARED) === 0) {
      throw new UapiError("EINVAL", "the mapping is not shared", CITE);
    }
    if ((protection & PROT_EXECUTE) !== 0) {
      throw new UapiError("EPERM", "memory of a driver cannot be executed", CITE);
    }
    const found = this.#regions.find((r) => BigInt(r.offset) === offset);
    const rounded = (length + 0xfffn) & ~0xfffn;
    if (found === undefined || BigInt(found.memory.byteLength) !== rounded) {
      throw new UapiError("ENXIO", "no memory of a driver has this offset and length", CITE);
    }
    const { owner, memory } = found;
    owner.users++;
    const letGo = hold();
    const released = (): void => {
      owner.users--;
      letGo();
    };
    return { memory, offset: 0, released };
  }

  /** The context is gone. */
  close(): void {
    for (const { memory } of this.#regions) memory.close();
    this.#regions.length = 0;
  }
}
