/**
 * Page tables of the mock driver: a map from granule to granule, with the limits that Linux's
 * selftest driver has.
 *
 * `default`: granules of 2 KiB, every power of two is a page size, addresses 0x1000000 to
 * 0x7fffffff. `huge`: pages of 4 KiB and 1 MiB, 38 bits of address; a 1 MiB page is dirty, or
 * removed, as a whole. `default+large`: as `default`, but pages of 2 KiB and 1 MiB only.
 */
import { UapiError } from "../../abi/index.js";
import type { Span } from "../../units/index.js";
import type { DirtyOps, IommuInstance, PagingDomain, PagingFlags, Prot } from "../driver-port.js";

export type MockTableType = "default" | "huge" | "default+large";

/** May refuse an allocation. */
export interface MockPermit {
  permit(kind: string): boolean;
}

interface TableShape {
  readonly granuleShift: number;
  readonly pageSizes: bigint;
  readonly aperture: Span;
  /** Granules of a large page; 0 when there is none. */
  readonly largeGranules: number;
}

/** Powers of two from 2 KiB to 64 GiB. */
const ALL_SIZES = 2n ** 37n - 2n ** 11n;

const SHAPES: Readonly<Record<MockTableType, TableShape>> = {
  default: {
    granuleShift: 11,
    pageSizes: ALL_SIZES,
    aperture: { first: 0x1000000n, last: 0x7fffffffn },
    largeGranules: 0,
  },
  huge: {
    granuleShift: 12,
    pageSizes: 0x101000n,
    aperture: { first: 0n, last: 2n ** 38n - 1n },
    largeGranules: 256,
  },
  "default+large": {
    granuleShift: 11,
    pageSizes: 0x100800n,
    aperture: { first: 0x1000000n, last: 0x7fffffffn },
    largeGranules: 512,
  },
};

interface Entry {
  readonly pa: number;
  readonly prot: Prot;
}

/** A paging domain of the mock driver. */
export class MockPagingDomain implements PagingDomain, DirtyOps {
  readonly kind = "paging";
  readonly instance: IommuInstance;
  readonly type: MockTableType;
  readonly granuleShift: number;
  readonly pageSizes: bigint;
  readonly aperture: Span;
  readonly nestParent: boolean;
  readonly enforcesCoherency = false;
  readonly dirty: DirtyOps | undefined;
  readonly #largeGranules: number;
  readonly #permit: MockPermit;
  readonly #entries = new Map<number, Entry>();
  /** First granules of large pages. */
  readonly #large = new Set<number>();
  readonly #dirty = new Set<number>();
  #isTracking = false;
  /** Slots that have it, for tests. */
  attachCount = 0;
  isFreed = false;

  constructor(
    instance: IommuInstance,
    type: MockTableType,
    flags: PagingFlags,
    permit: MockPermit,
  ) {
    const shape = SHAPES[type];
    this.instance = instance;
    this.type = type;
    this.granuleShift = shape.granuleShift;
    this.pageSizes = shape.pageSizes;
    this.aperture = shape.aperture;
    this.#largeGranules = shape.largeGranules;
    this.nestParent = flags.nestParent;
    this.dirty = flags.dirtyTracking ? this : undefined;
    this.#permit = permit;
  }

  /** Granules that are mapped. */
  get mapped(): number {
    return this.#entries.size;
  }

  map(iova: number, pa: number, count: number, prot: Prot): void {
    if (!this.#permit.permit("pte")) throw new UapiError("ENOMEM", "no memory for a page table");
    for (let i = 0; i < count; i++) {
      if (this.#entries.has(iova + i)) throw new RangeError(`granule ${iova + i} is mapped`);
    }
    for (let i = 0; i < count; i++) this.#entries.set(iova + i, { pa: pa + i, prot });
    const large = this.#largeGranules;
    if (large === 0 || (iova - pa) % large !== 0) return;
    const end = iova + count;
    for (let at = Math.ceil(iova / large) * large; at + large <= end; at += large) {
      this.#large.add(at);
    }
  }

  unmap(iova: number, count: number): number {
    let removed = 0;
    for (let at = iova; at < iova + count; ) {
      const [first, size] = this.#pageAt(at);
      for (let i = first; i < first + size; i++) if (this.#entries.delete(i)) removed++;
      this.#large.delete(first);
      this.#dirty.delete(first);
      at = first + size;
    }
    return removed;
  }

  split(iova: number): void {
    const [first, size] = this.#pageAt(iova);
    if (size === 1 || first === iova) return;
    this.#large.delete(first);
    if (!this.#dirty.has(first)) return;
    for (let i = first; i < first + size; i++) this.#dirty.add(i);
  }

  sync(): void {}

  translate(iova: number): number | undefined {
    return this.#entries.get(iova)?.pa;
  }

  /** What an entry permits; undefined when not mapped. */
  protOf(iova: number): Prot | undefined {
    return this.#entries.get(iova)?.prot;
  }

  setTracking(enabled: boolean): void {
    this.#isTracking = enabled;
  }

  get isTracking(): boolean {
    return this.#isTracking;
  }

  /** A device wrote to a granule. */
  markDirty(granule: number): void {
    if (this.#entries.has(granule)) this.#dirty.add(this.#pageAt(granule)[0]);
  }

  scan(
    first: number,
    count: number,
    clear: boolean,
    dirty: (granule: number, count: number) => void,
  ): void {
    for (let at = first; at < first + count; ) {
      const [page, size] = this.#pageAt(at);
      const end = Math.min(page + size, first + count);
      if (this.#dirty.has(page)) {
        dirty(at, end - at);
        if (clear) this.#dirty.delete(page);
      }
      at = end;
    }
  }

  free(): void {
    this.isFreed = true;
    this.#entries.clear();
  }

  /** First granule and size of the page that holds a granule. */
  #pageAt(granule: number): [number, number] {
    const large = this.#largeGranules;
    if (large === 0) return [granule, 1];
    const first = Math.floor(granule / large) * large;
    return this.#large.has(first) ? [first, large] : [granule, 1];
  }
}
