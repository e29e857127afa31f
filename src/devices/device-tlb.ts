/**
 * A device TLB (address translation cache): PCIe 6 § 10.2.4, § 10.3.
 *
 * Holds translations by (PASID or none, page). Sizes are powers of two in pages; a look-up tries
 * the sizes that are present. When full the oldest entry leaves. Nothing here checks that an entry
 * is still true: only invalidations remove it, so stale entries show.
 */
import type { Pasid } from "../units/index.js";
import type { AtcInvalidation } from "./endpoint.js";
import type { TranslationCompletion } from "./transaction.js";

export interface TlbEntry {
  readonly pasid: Pasid | undefined;
  /** First page of the untranslated range. */
  readonly first: number;
  readonly translation: TranslationCompletion;
}

export const DEVICE_TLB_ENTRIES = 256;

/** One device TLB; see the head of this file. */
export class DeviceTlb {
  readonly #entries = new Map<string, TlbEntry>();
  /** Sizes ever seen since the TLB was last empty. */
  readonly #sizes = new Set<number>();

  get size(): number {
    return this.#entries.size;
  }

  /** For inspection, oldest first. */
  entries(): readonly TlbEntry[] {
    return [...this.#entries.values()];
  }

  lookUp(pasid: Pasid | undefined, page: number): TlbEntry | undefined {
    for (const size of this.#sizes) {
      const first = page - (page % size);
      const found = this.#entries.get(key(pasid, first, size));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  fill(pasid: Pasid | undefined, page: number, translation: TranslationCompletion): void {
    const size = translation.pageCount;
    const first = page - (page % size);
    const name = key(pasid, first, size);
    this.#entries.delete(name);
    if (this.#entries.size >= DEVICE_TLB_ENTRIES) {
      const oldest = this.#entries.keys().next();
      if (oldest.done !== true) this.#entries.delete(oldest.value);
    }
    this.#entries.set(name, { pasid, first, translation });
    this.#sizes.add(size);
  }

  /** Removes every entry that overlaps; global ones of any PASID when the request says so. */
  invalidate(request: AtcInvalidation): void {
    const last = request.pfn + request.pageCount - 1;
    for (const [name, entry] of this.#entries) {
      const end = entry.first + entry.translation.pageCount - 1;
      const tagged = entry.pasid === request.pasid || request.global;
      if (tagged && entry.first <= last && end >= request.pfn) this.#entries.delete(name);
    }
    if (this.#entries.size === 0) this.#sizes.clear();
  }

  clear(): void {
    this.#entries.clear();
    this.#sizes.clear();
  }
}

function key(pasid: Pasid | undefined, first: number, size: number): string {
  return `${pasid ?? "-"} ${first} ${size}`;
}
