/** Runs of frames with one owner, ordered by address and without overlap. */
import type { BackingObject } from "./backing-object.js";

/**
 * `pool`: frames that memory hands out one by one; `placed`: one placed by hand; an object with
 * bytes is user memory, one with only a label a device.
 */
export type RegionUse =
  | "pool"
  | "placed"
  | "interrupt"
  | BackingObject
  | { readonly label: string };

export interface Region {
  readonly first: number;
  /** Frames. */
  readonly count: number;
  readonly use: RegionUse;
}

export class RegionList {
  readonly #regions: Region[] = [];

  /** The region that holds the frame. */
  at(pfn: number): Region | undefined {
    const region = this.#regions[this.#after(pfn) - 1];
    return region !== undefined && pfn < region.first + region.count ? region : undefined;
  }

  /** @throws RangeError when a frame of it is taken. */
  add(region: Region): void {
    const index = this.#after(region.first);
    const below = this.#regions[index - 1];
    const above = this.#regions[index];
    for (const other of [below, above]) {
      if (other === undefined || !overlap(other, region)) continue;
      const at = region.first.toString(16);
      throw new RangeError(`frames from ${at}h on overlap ${describe(other)}`);
    }
    this.#regions.splice(index, 0, region);
  }

  remove(region: Region): void {
    const index = this.#after(region.first) - 1;
    if (this.#regions[index] === region) this.#regions.splice(index, 1);
  }

  /** First free place at or above `from`, aligned to `alignment` frames. */
  findFree(from: number, count: number, alignment: number): number {
    let first = Math.ceil(from / alignment) * alignment;
    let index = Math.max(0, this.#after(first) - 1);
    for (; index < this.#regions.length; index++) {
      const region = this.#regions[index] as Region;
      if (region.first + region.count <= first) continue;
      if (region.first >= first + count) break;
      first = Math.ceil((region.first + region.count) / alignment) * alignment;
    }
    return first;
  }

  /** Index of the first region that begins above the frame. */
  #after(pfn: number): number {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#regions[middle] as Region).first <= pfn) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function overlap(a: Region, b: Region): boolean {
  return a.first < b.first + b.count && b.first < a.first + a.count;
}

function describe({ use }: Region): string {
  return typeof use === "string" ? `${use} frames` : `"${use.label}"`;
}
