/** A part of a device's memory that a program was given to map. */
import type { MappedRegion, PageSource } from "../../files/index.js";

const PAGE = 4096;

export class DeviceRegion {
  readonly kind = "device";
  /** Page of the memory file at which it begins. */
  readonly firstPage: number;
  readonly pages: number;
  readonly source: PageSource | undefined;
  readonly #released: (() => void) | undefined;
  #holders = 0;

  constructor(region: MappedRegion, length: bigint) {
    this.firstPage = region.offset / PAGE;
    this.pages = Number((length + 4095n) / 4096n);
    this.source = region.device;
    this.#released = region.released;
  }

  keep(): void {
    this.#holders++;
  }

  /** No process maps it after the last: then its device may reuse it. */
  drop(): void {
    if (--this.#holders === 0) this.#released?.();
  }

  holds(page: number): boolean {
    return page >= this.firstPage && page < this.firstPage + this.pages;
  }
}
