/**
 * An address space in software: which addresses show which memory, in which domains that is
 * entered, and who else holds it.
 *
 * Invariants: areas are disjoint and touch no reserved range; while the space has a domain, every
 * area's pages are held once and every domain maps all of them (but revoked device memory); without
 * a domain nothing is held but what accesses hold. A failed operation leaves everything as it was.
 *
 * Addresses are pairs of page and offset (see area-set.ts). Linux io_pagetable.c.
 */
import { UapiError } from "../abi/index.js";
import type { PagingDomain } from "../driver/index.js";
import type { Span } from "../units/index.js";
import { AreaShape, BATCH_PAGES, frameFrom, mapPages, unmapPages } from "./area-fill.js";
import { AreaFlag } from "./area-rows.js";
import { AreaSet } from "./area-set.js";
import { FreeSearch } from "./free-search.js";
import { PAGE_SIZE } from "./limits.js";
import { noMemory } from "./no-memory.js";
import type { OriginTable } from "./origin.js";
import type { AllocationPermit } from "./ports.js";
import { ReservedSet } from "./reserved-set.js";
import type { PagesHolder, SharedPages, SharedPagesTable } from "./shared-pages.js";

/** Tables that all spaces of a context share. */
export interface SpaceTables {
  readonly origins: OriginTable;
  readonly sharedPages: SharedPagesTable;
  readonly allocations: AllocationPermit;
}

/** Something that holds pages of the space, or reads it. */
export interface SpaceAccess {
  /** Bytes that addresses must be a multiple of. */
  readonly alignment: number;
  /** The kernel's own: is not told of unmaps. */
  readonly internal: boolean;
  /** These addresses go away: let go of their pages. */
  unmap(iova: bigint, length: bigint): void;
}

/** A space whose mappings were resolved through this one. */
export interface ChildSpace {
  /**
   * The area of the parent that begins here goes away. @throws UapiError EBUSY (its policy
   * refuses), EDEADLK.
   */
  parentUnmaps(first: bigint): void;
}

export class IoPagetable implements PagesHolder {
  readonly tables: SpaceTables;
  readonly areas = new AreaSet();
  readonly reserved = new ReservedSet();
  readonly search = new FreeSearch(this.areas);
  readonly domains: PagingDomain[] = [];
  readonly accesses = new Set<SpaceAccess>();
  readonly children = new Set<ChildSpace>();
  /** Pins of accesses by row; rows without are absent. */
  readonly accessPins = new Map<number, number>();
  /** Locks of hardware queues by row. */
  readonly locks = new Map<number, number>();
  /** Bytes; a power of two, 1 to 4096. */
  alignment = 1;
  largePages = true;
  readonly #frames = new Float64Array(BATCH_PAGES);
  readonly #shape = new AreaShape();
  readonly #other = new AreaShape();

  constructor(tables: SpaceTables) {
    this.tables = tables;
  }

  /**
   * Adds an area whose addresses were checked, and enters it in every domain. `source` is an origin
   * or, with `AreaFlag.shared`, shared pages; the area takes over the caller's reference.
   * @throws UapiError EEXIST, ENOMEM, or what pinning and the domains throw.
   */
  insert(
    firstPage: number,
    firstOffset: number,
    lastPage: number,
    lastOffset: number,
    startPage: number,
    startOffset: number,
    source: number,
    flags: number,
  ): number {
    if (!this.tables.allocations.permit("area")) throw noMemory("area");
    const row = this.areas.insert(
      firstPage,
      firstOffset,
      lastPage,
      lastOffset,
      startPage,
      startOffset,
      source,
      flags,
    );
    if (row < 0) throw new UapiError("EEXIST", "the addresses are mapped already", CITE_MAP);
    if (this.domains.length > 0) {
      try {
        this.#fill(row, firstPage, this.domains);
      } catch (error) {
        this.areas.seek(firstPage, firstOffset);
        this.#dropAtPosition();
        throw error;
      }
    }
    if ((flags & AreaFlag.shared) !== 0) {
      this.tables.sharedPages.get(source).addArea(this, row, firstPage);
    }
    return row;
  }

  /** Removes the area at the position of `areas` from every domain and from the space. */
  removeAtPosition(): void {
    const { row, firstPage } = this.areas;
    if (this.domains.length > 0) this.#unfill(row, firstPage);
    const flags = this.areas.rows.flags(row);
    const source = this.areas.rows.source(row);
    if ((flags & AreaFlag.shared) === 0) {
      const { origins } = this.tables;
      origins.put(origins.get(source));
    } else {
      const pages = this.tables.sharedPages.get(source);
      pages.removeArea(this, row);
      this.releaseShared(pages);
    }
    this.#dropAtPosition();
  }

  /** Frees shared pages that nobody shows or holds any more. */
  releaseShared(pages: SharedPages): void {
    if (pages.areaCount > 0 || !pages.holds.isEmpty) return;
    this.tables.origins.put(pages.origin);
    this.tables.sharedPages.remove(pages);
  }

  /**
   * The shared pages of an area; makes its memory shared when it was not.
   * @throws UapiError ENOMEM.
   */
  share(row: number, firstPage: number): SharedPages {
    const { rows } = this.areas;
    const { sharedPages, origins, allocations } = this.tables;
    const source = rows.source(row);
    const flags = rows.flags(row);
    if ((flags & AreaFlag.shared) !== 0) return sharedPages.get(source);
    if (!allocations.permit("pages")) throw noMemory("pages");
    const pages = sharedPages.make(origins.get(source));
    rows.setSource(row, pages.id);
    rows.setFlags(row, flags | AreaFlag.shared);
    pages.addArea(this, row, firstPage);
    if (this.domains.length > 0 && (flags & AreaFlag.revoked) === 0) {
      const { startPage, pageCount } = this.#other.load(rows, row, firstPage);
      pages.holds.add(startPage, startPage + pageCount);
    }
    return pages;
  }

  /**
   * Enters every area in one more domain.
   * @throws UapiError EINVAL (granule above a page), EADDRINUSE (alignment, aperture), or what
   * pinning and the domain throw: then the domain maps nothing and the space is as before.
   */
  addDomain(domain: PagingDomain): void {
    const alignment = Math.max(2 ** domain.granuleShift, this.alignment);
    if (alignment > PAGE_SIZE) {
      throw new UapiError(
        "EINVAL",
        "the smallest page of the domain is above 4096 bytes",
        CITE_ADD,
      );
    }
    if (alignment !== this.alignment) this.checkAlignment(alignment);
    const { first, last } = domain.aperture;
    try {
      if (first > 0n) this.reserve({ first: 0n, last: first - 1n }, domain);
      if (last < U64_LAST) this.reserve({ first: last + 1n, last: U64_LAST }, domain);
      this.#fillAll(domain);
    } catch (error) {
      this.unreserve(domain);
      throw error;
    }
    this.alignment = alignment;
  }

  removeDomain(domain: PagingDomain): void {
    const at = this.domains.indexOf(domain);
    if (at < 0) return;
    this.#eachArea((row, firstPage) => {
      const shape = this.#shape.load(this.areas.rows, row, firstPage);
      unmapPages(domain, shape, 0, shape.pageCount);
    });
    domain.sync();
    if (this.domains.length === 1) {
      this.#eachArea((row, firstPage) => {
        const { startPage, pageCount } = this.#shape.load(this.areas.rows, row, firstPage);
        this.#drop(row, startPage, pageCount);
      });
    }
    this.domains.splice(at, 1);
    this.unreserve(domain);
    this.updateAlignment();
  }

  /** @throws UapiError EADDRINUSE when an area does not fit the alignment. */
  checkAlignment(alignment: number): void {
    const mask = alignment - 1;
    const { rows } = this.areas;
    for (this.areas.toFirst(); this.areas.found; this.areas.next()) {
      const { row } = this.areas;
      const bits = rows.firstOffset(row) | (rows.lastOffset(row) + 1) | rows.startOffset(row);
      if ((bits & mask) === 0) continue;
      throw new UapiError("EADDRINUSE", "a mapping does not fit the larger alignment", CITE_ALIGN);
    }
  }

  /** After a domain, an access or the large-page setting went. */
  updateAlignment(): void {
    let alignment = this.largePages ? 1 : PAGE_SIZE;
    for (const d of this.domains) alignment = Math.max(alignment, 2 ** d.granuleShift);
    for (const a of this.accesses) alignment = Math.max(alignment, a.alignment);
    this.alignment = alignment;
  }

  /** @throws UapiError EADDRINUSE when a mapping or an allowed range is there. */
  reserve(span: Span, owner: object | undefined): void {
    this.checkUnused(span);
    this.reserved.add(span, owner);
    this.search.forget();
  }

  /** @throws UapiError EADDRINUSE when a mapping or an allowed range is in the span. */
  checkUnused(span: Span): void {
    const isMapped = this.hasArea(span);
    if (!isMapped && this.reserved.allowedIn(span) === undefined) return;
    const what = isMapped ? "a mapping" : "an allowed range";
    throw new UapiError("EADDRINUSE", `${what} lies in addresses that must be reserved`, {
      evidence: [{ kind: "reserved-range", windows: [span] }],
      cite: "Linux iopt_reserve_iova()",
    });
  }

  unreserve(owner: object): void {
    this.reserved.removeOwner(owner);
    this.search.forget();
  }

  /** Some area lies in the span. */
  hasArea(span: Span): boolean {
    const { areas } = this;
    areas.seekEnding(Number(span.first >> 12n), Number(span.first & 0xfffn));
    if (!areas.found) return false;
    const page = Number(span.last >> 12n);
    if (areas.firstPage !== page) return areas.firstPage < page;
    return areas.rows.firstOffset(areas.row) <= Number(span.last & 0xfffn);
  }

  /** {@link PagesHolder}. */
  frameIn(row: number, firstPage: number, page: number): number | undefined {
    const domain = this.domains[0];
    if (domain === undefined) return undefined;
    const shape = this.#other.load(this.areas.rows, row, firstPage);
    const index = page - shape.startPage;
    if (index < 0 || index >= shape.pageCount) return undefined;
    return frameFrom(domain, shape, index);
  }

  /** Takes revoked device memory out of every domain; the area stays and maps nothing. */
  revoke(isRevoked: (row: number) => boolean): void {
    const { rows } = this.areas;
    this.#eachArea((row, firstPage) => {
      if (!isRevoked(row)) return;
      if (this.domains.length > 0) this.#unfill(row, firstPage);
      rows.setFlags(row, rows.flags(row) | AreaFlag.revoked);
    });
  }

  #dropAtPosition(): void {
    const { areas, search } = this;
    if (search.isIdle) {
      areas.remove();
      return;
    }
    const before = areas.rowBefore();
    areas.remove();
    search.noteRemoval(before < 0 ? 0 : areas.rows.lastPage(before));
  }

  /** Areas that domains map, in order. The callback may not move the position. */
  #eachArea(visit: (row: number, firstPage: number) => void): void {
    const { areas } = this;
    for (areas.toFirst(); areas.found; areas.next()) {
      if ((areas.rows.flags(areas.row) & AreaFlag.revoked) === 0) {
        visit(areas.row, areas.firstPage);
      }
    }
  }

  /** One more domain: with none so far all memory is pinned, else frames come from the first. */
  #fillAll(domain: PagingDomain): void {
    const done: [number, number][] = [];
    const storage = this.domains[0];
    // Listed from now on: areas that share pages read each other's frames back from it.
    this.domains.push(domain);
    try {
      this.#eachArea((row, firstPage) => {
        if (storage === undefined) this.#fill(row, firstPage, [domain]);
        else this.#copyDomain(row, firstPage, storage, domain);
        done.push([row, firstPage]);
      });
    } catch (error) {
      for (const [row, firstPage] of done) {
        const shape = this.#shape.load(this.areas.rows, row, firstPage);
        unmapPages(domain, shape, 0, shape.pageCount);
        domain.sync();
        if (storage === undefined) this.#drop(row, shape.startPage, shape.pageCount);
      }
      this.domains.pop();
      throw error;
    }
  }

  /** Holds the area's pages and maps them in domains that do not have it. */
  #fill(row: number, firstPage: number, domains: readonly PagingDomain[]): void {
    const shape = this.#shape.load(this.areas.rows, row, firstPage);
    const frames = this.#frames;
    let done = 0;
    try {
      while (done < shape.pageCount) {
        const count = Math.min(BATCH_PAGES, shape.pageCount - done);
        this.#hold(row, shape.startPage + done, count, frames);
        try {
          this.#mapBatch(domains, shape, done, count);
        } catch (error) {
          this.#drop(row, shape.startPage + done, count);
          throw error;
        }
        done += count;
      }
    } catch (error) {
      if (done > 0) {
        for (const domain of domains) {
          unmapPages(domain, shape, 0, done);
          domain.sync();
        }
        this.#drop(row, shape.startPage, done);
      }
      throw error;
    }
  }

  #mapBatch(
    domains: readonly PagingDomain[],
    shape: AreaShape,
    index: number,
    count: number,
  ): void {
    let mapped = 0;
    try {
      for (const domain of domains) {
        mapPages(domain, shape, index, count, this.#frames, this.largePages);
        mapped++;
      }
    } catch (error) {
      for (let i = 0; i < mapped; i++) {
        const domain = domains[i] as PagingDomain;
        unmapPages(domain, shape, index, count);
        domain.sync();
      }
      throw error;
    }
  }

  #copyDomain(row: number, firstPage: number, from: PagingDomain, to: PagingDomain): void {
    const shape = this.#shape.load(this.areas.rows, row, firstPage);
    const frames = this.#frames;
    let done = 0;
    try {
      while (done < shape.pageCount) {
        const count = Math.min(BATCH_PAGES, shape.pageCount - done);
        for (let i = 0; i < count; i++) {
          const frame = frameFrom(from, shape, done + i);
          if (frame === undefined) throw new RangeError(`page ${done + i} of row ${row} is lost`);
          frames[i] = frame;
        }
        mapPages(to, shape, done, count, frames, this.largePages);
        done += count;
      }
    } catch (error) {
      if (done > 0) unmapPages(to, shape, 0, done);
      to.sync();
      throw error;
    }
  }

  #unfill(row: number, firstPage: number): void {
    if ((this.areas.rows.flags(row) & AreaFlag.revoked) !== 0) return;
    const shape = this.#shape.load(this.areas.rows, row, firstPage);
    for (const domain of this.domains) unmapPages(domain, shape, 0, shape.pageCount);
    for (const domain of this.domains) domain.sync();
    this.#drop(row, shape.startPage, shape.pageCount);
  }

  #hold(row: number, page: number, count: number, frames: Float64Array): void {
    const { rows } = this.areas;
    const { sharedPages, origins, allocations } = this.tables;
    if (!allocations.permit("pin")) throw noMemory("pin");
    const source = rows.source(row);
    if ((rows.flags(row) & AreaFlag.shared) === 0) origins.get(source).pin(page, count, frames);
    else sharedPages.get(source).hold(page, count, frames);
  }

  #drop(row: number, page: number, count: number): void {
    const { rows } = this.areas;
    const { sharedPages, origins } = this.tables;
    const source = rows.source(row);
    if ((rows.flags(row) & AreaFlag.shared) === 0) origins.get(source).unpin(page, count);
    else sharedPages.get(source).drop(page, count);
  }
}

const U64_LAST = 2n ** 64n - 1n;
const CITE_MAP = { cite: "Linux iopt_check_iova()" };
const CITE_ADD = { cite: "Linux iopt_table_add_domain()" };
const CITE_ALIGN = { cite: "Linux iopt_check_iova_alignment()" };
