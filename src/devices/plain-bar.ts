/**
 * A BAR behind which there is memory and nothing else: reads give what was written.
 *
 * Bytes are kept for at most {@link PLAIN_BAR_PAGES} written pages of 4 KiB, and writes to further
 * pages are dropped, until somebody gives it memory for all of it, to be shared with programs that
 * map the BAR.
 */
export const PLAIN_BAR_PAGES = 256;
const PAGE = 4096;

/** See the head of the file. */
export class PlainBar {
  readonly #pages = new Map<number, Uint8Array>();
  #all: Uint8Array | undefined;

  /** Offset and length lie inside the BAR and inside one page. */
  read(offset: number, length: number): Uint8Array {
    if (this.#all !== undefined) return this.#all.slice(offset, offset + length);
    const at = offset % PAGE;
    const page = this.#pages.get(Math.floor(offset / PAGE));
    return page === undefined ? new Uint8Array(length) : page.slice(at, at + length);
  }

  write(offset: number, data: Uint8Array): void {
    if (this.#all !== undefined) {
      this.#all.set(data, offset);
      return;
    }
    const index = Math.floor(offset / PAGE);
    let page = this.#pages.get(index);
    if (page === undefined) {
      if (this.#pages.size >= PLAIN_BAR_PAGES) return;
      page = new Uint8Array(PAGE);
      this.#pages.set(index, page);
    }
    page.set(data, offset % PAGE);
  }

  /**
   * From now on the bytes live in `memory`, which is as long as the BAR or longer. What was written
   * before is there; a second call moves them.
   */
  back(memory: Uint8Array): void {
    if (this.#all !== undefined) memory.set(this.#all.subarray(0, memory.length));
    for (const [index, page] of this.#pages) {
      const at = index * PAGE;
      if (at < memory.length) memory.set(page.subarray(0, memory.length - at), at);
    }
    this.#pages.clear();
    this.#all = memory;
  }
}
