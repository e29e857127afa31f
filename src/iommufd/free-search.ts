/**
 * Automatic choice of an IOVA: the lowest address that the kernel would choose, found without its
 * linear walk.
 *
 * The rule (Linux iopt_alloc_iova()): within each free window in ascending order, within each hole
 * between areas, round the hole's start up to the alignment, set the wanted offset inside the page,
 * and take it if start < last of the hole and the length fits.
 *
 * Two things make it fast: chunks of areas whose largest gap is too small are skipped, and for the
 * requests asked last (length, alignment, offset) the search begins where the last answer was;
 * below it nothing fits until an area is removed there.
 */
import type { AreaSet } from "./area-set.js";

/** A run of addresses that are neither reserved nor outside of what is allowed. */
export interface FreeWindow {
  readonly firstPage: number;
  readonly firstOffset: number;
  readonly lastPage: number;
  readonly lastOffset: number;
}

export interface FreeRequest {
  /** Length - 1, as pages and bytes. */
  readonly spanPages: number;
  readonly spanBytes: number;
  /** A power of two, 1 to 2 MiB. */
  readonly alignment: number;
  /** Offset in the page that the address must have. */
  readonly pageOffset: number;
}

interface Memo extends FreeRequest {
  fromPage: number;
}

const MEMOS = 4;
/** Pages of the 64-bit space. */
const PAGE_LIMIT = 2 ** 52;

export class FreeSearch {
  readonly #areas: AreaSet;
  readonly #memos: Memo[] = [];
  #nextMemo = 0;
  /** The answer. */
  page = 0;
  offset = 0;

  constructor(areas: AreaSet) {
    this.#areas = areas;
  }

  /** Nothing was asked since it forgot: removals need not be noted. */
  get isIdle(): boolean {
    return this.#memos.length === 0;
  }

  /** Windows changed: nothing is known any more. */
  forget(): void {
    this.#memos.length = 0;
    this.#nextMemo = 0;
  }

  /** An area after the one that ends in `page` was removed. */
  noteRemoval(page: number): void {
    for (const memo of this.#memos) if (memo.fromPage > page) memo.fromPage = page;
  }

  /** @returns whether there is room; the answer is in `page` and `offset`. */
  find(windows: readonly FreeWindow[], request: FreeRequest): boolean {
    const memo = this.#memoOf(request);
    for (let i = firstWindow(windows, memo.fromPage); i < windows.length; i++) {
      const window = windows[i] as FreeWindow;
      if (this.#searchWindow(window, memo.fromPage, request)) {
        memo.fromPage = this.page;
        return true;
      }
    }
    return false;
  }

  #memoOf(request: FreeRequest): Memo {
    for (const memo of this.#memos) {
      if (
        memo.spanPages === request.spanPages &&
        memo.spanBytes === request.spanBytes &&
        memo.alignment === request.alignment &&
        memo.pageOffset === request.pageOffset
      ) {
        return memo;
      }
    }
    const made = { ...request, fromPage: 0 };
    this.#memos[this.#nextMemo] = made;
    this.#nextMemo = (this.#nextMemo + 1) % MEMOS;
    return made;
  }

  #searchWindow(window: FreeWindow, fromPage: number, request: FreeRequest): boolean {
    const areas = this.#areas;
    const { rows } = areas;
    const { lastPage, lastOffset } = window;
    const bytes = request.spanPages * 4096 + (request.spanBytes + 1);
    let page = window.firstPage;
    let offset = window.firstOffset;
    if (fromPage > page) {
      page = fromPage;
      offset = 0;
    }
    areas.seekEnding(page, offset);
    // The largest gap of the chunk being walked; negative while its start was not seen.
    let largest = -1;
    let walked = -1;
    for (;;) {
      if (!areas.found) return this.#tryHole(page, offset, lastPage, lastOffset, request);
      const { row, firstPage } = areas;
      const firstOffset = rows.firstOffset(row);
      const isLast = firstPage > lastPage || (firstPage === lastPage && firstOffset > lastOffset);
      if (isLast) return this.#tryHole(page, offset, lastPage, lastOffset, request);
      const gap = (firstPage - page) * 4096 + (firstOffset - offset);
      if (gap > 0) {
        const endPage = firstOffset > 0 ? firstPage : firstPage - 1;
        const endOffset = firstOffset > 0 ? firstOffset - 1 : 4095;
        if (gap >= bytes && this.#tryHole(page, offset, endPage, endOffset, request)) return true;
        if (walked >= 0 && gap > largest) largest = gap;
      }
      ({ page, offset } = after(rows.lastPage(row), rows.lastOffset(row)));
      if (page > lastPage || (page === lastPage && offset > lastOffset)) return false;
      areas.next();
      if (!areas.atChunkStart) continue;
      if (walked >= 0) areas.lowerGap(walked, largest);
      const from = areas.chunk;
      areas.skipSmallGaps(bytes);
      walked = areas.chunk;
      largest = 0;
      if (walked === from) continue;
      const before = areas.rowBefore();
      ({ page, offset } = after(rows.lastPage(before), rows.lastOffset(before)));
    }
  }

  /** Linux __alloc_iova_check_range(). */
  #tryHole(
    page: number,
    offset: number,
    lastPage: number,
    lastOffset: number,
    request: FreeRequest,
  ): boolean {
    const { alignment, spanPages, spanBytes } = request;
    let p = page;
    let o = offset;
    if (alignment >= 4096) {
      const pages = alignment / 4096;
      if (o > 0) p++;
      p = Math.ceil(p / pages) * pages;
      o = 0;
    } else {
      o = (o + alignment - 1) & -alignment;
      if (o >= 4096) {
        p++;
        o = 0;
      }
    }
    o |= request.pageOffset;
    if (p >= PAGE_LIMIT) return false;
    if (p > lastPage || (p === lastPage && o >= lastOffset)) return false;
    let restPages = lastPage - p;
    let restBytes = lastOffset - o;
    if (restBytes < 0) {
      restBytes += 4096;
      restPages--;
    }
    if (restPages < spanPages || (restPages === spanPages && restBytes < spanBytes)) return false;
    this.page = p;
    this.offset = o;
    return true;
  }
}

function after(page: number, offset: number): { page: number; offset: number } {
  return offset === 4095 ? { page: page + 1, offset: 0 } : { page, offset: offset + 1 };
}

/** The first window that ends at or after the page. */
function firstWindow(windows: readonly FreeWindow[], page: number): number {
  let low = 0;
  let high = windows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((windows[middle] as FreeWindow).lastPage < page) low = middle + 1;
    else high = middle;
  }
  return low;
}
