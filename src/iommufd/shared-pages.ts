/**
 * Memory that several areas show, or that an access holds: one set of pins for all of them.
 *
 * Most memory is shown by one area and needs no such object (its row says it all). A copy or an
 * access pin makes one. Invariant: a page is pinned while its count in `holds` is above 0; each
 * area in a space with a domain, and each access pin, holds its pages once. Frames are not stored
 * while a domain maps them: they are read back from it, as only these are known to be the pinned
 * ones. Frames that an access holds are kept here.
 */
import { IntervalCounts } from "./interval-counts.js";
import type { Origin } from "./origin.js";

/** A space that shows some of the pages. */
export interface PagesHolder {
  /** Frame of a page that this area shows; undefined when no domain of the space maps it. */
  frameIn(row: number, firstPage: number, page: number): number | undefined;
}

interface Kept {
  readonly frame: number;
  pins: number;
}

export class SharedPages {
  readonly id: number;
  readonly origin: Origin;
  readonly holds = new IntervalCounts();
  readonly #kept = new Map<number, Kept>();
  /** Areas by space: row → first page of the area. */
  readonly #areas = new Map<PagesHolder, Map<number, number>>();
  #areaCount = 0;

  constructor(id: number, origin: Origin) {
    this.id = id;
    this.origin = origin;
  }

  get areaCount(): number {
    return this.#areaCount;
  }

  addArea(space: PagesHolder, row: number, firstPage: number): void {
    const rows = this.#areas.get(space);
    if (rows === undefined) this.#areas.set(space, new Map([[row, firstPage]]));
    else rows.set(row, firstPage);
    this.#areaCount++;
  }

  removeArea(space: PagesHolder, row: number): void {
    const rows = this.#areas.get(space);
    if (rows?.delete(row) !== true) return;
    if (rows.size === 0) this.#areas.delete(space);
    this.#areaCount--;
  }

  /**
   * Holds pages and gives their frames.
   * @throws what pinning throws: then nothing more is held.
   */
  hold(page: number, count: number, frames: Float64Array): void {
    const { origin } = this;
    const pinned: [number, number][] = [];
    try {
      let known = page;
      this.holds.unheld(page, page + count, (first, end) => {
        this.#readFrames(known, first, page, frames);
        origin.pin(first, end - first, frames.subarray(first - page, end - page));
        pinned.push([first, end]);
        known = end;
      });
      this.#readFrames(known, page + count, page, frames);
    } catch (error) {
      for (const [first, end] of pinned) origin.unpin(first, end - first);
      throw error;
    }
    this.holds.add(page, page + count);
  }

  drop(page: number, count: number): void {
    this.holds.remove(page, page + count, (first, end) => this.origin.unpin(first, end - first));
  }

  /** Holds pages for an access and keeps their frames. */
  holdForAccess(page: number, count: number, frames: Float64Array): void {
    this.hold(page, count, frames);
    for (let i = 0; i < count; i++) {
      const kept = this.#kept.get(page + i);
      if (kept === undefined) this.#kept.set(page + i, { frame: frames[i] as number, pins: 1 });
      else kept.pins++;
    }
  }

  dropForAccess(page: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const kept = this.#kept.get(page + i);
      if (kept !== undefined && --kept.pins === 0) this.#kept.delete(page + i);
    }
    this.drop(page, count);
  }

  #readFrames(first: number, end: number, base: number, frames: Float64Array): void {
    for (let page = first; page < end; page++) frames[page - base] = this.#frameOf(page);
  }

  #frameOf(page: number): number {
    const kept = this.#kept.get(page);
    if (kept !== undefined) return kept.frame;
    for (const [space, rows] of this.#areas) {
      for (const [row, firstPage] of rows) {
        const frame = space.frameIn(row, firstPage, page);
        if (frame !== undefined) return frame;
      }
    }
    throw new RangeError(`page ${page} is held but no domain maps it`);
  }
}

/** The shared pages of one context, by the number in a row. */
export class SharedPagesTable {
  readonly #pages: (SharedPages | undefined)[] = [];
  readonly #free: number[] = [];

  get(id: number): SharedPages {
    const found = this.#pages[id];
    if (found === undefined) throw new RangeError(`shared pages ${id} are gone`);
    return found;
  }

  /** Takes over one reference to the origin. */
  make(origin: Origin): SharedPages {
    const id = this.#free.pop() ?? this.#pages.length;
    const made = new SharedPages(id, origin);
    this.#pages[id] = made;
    return made;
  }

  remove(pages: SharedPages): void {
    this.#pages[pages.id] = undefined;
    this.#free.push(pages.id);
  }

  get size(): number {
    return this.#pages.length - this.#free.length;
  }
}
