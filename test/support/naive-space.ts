/**
 * An address space as an array of intervals, slow and plain: what areas.ts and the search for free
 * addresses are judged by. Written from the rule's description, with bigints.
 */
export interface NaiveArea {
  readonly first: bigint;
  readonly last: bigint;
  /** Address of the memory behind the first byte. */
  readonly start: bigint;
}

const TOP = 2n ** 64n - 1n;
const PAGE = 4096n;

export class NaiveSpace {
  areas: NaiveArea[] = [];
  reserved: { first: bigint; last: bigint }[] = [];
  allowed: { first: bigint; last: bigint }[] = [];

  overlaps(first: bigint, last: bigint): boolean {
    return this.areas.some((a) => a.first <= last && first <= a.last);
  }

  isReserved(first: bigint, last: bigint): boolean {
    return this.reserved.some((a) => a.first <= last && first <= a.last);
  }

  add(area: NaiveArea): void {
    this.areas.push(area);
    this.areas.sort((a, b) => (a.first < b.first ? -1 : 1));
  }

  /** Bytes removed, or undefined when an area is cut by the range (those before it are gone). */
  unmap(first: bigint, last: bigint): bigint | undefined {
    let bytes = 0n;
    for (const area of [...this.areas]) {
      if (area.last < first || area.first > last) continue;
      if (area.first < first || area.last > last) return undefined;
      this.areas.splice(this.areas.indexOf(area), 1);
      bytes += area.last - area.first + 1n;
    }
    return bytes;
  }

  /** The automatic choice for memory at `start`; undefined when there is no room. */
  choose(length: bigint, start: bigint): bigint | undefined {
    let alignment = 1n;
    while (alignment < length) alignment *= 2n;
    if (start !== 0n && (start & -start) < alignment) alignment = start & -start;
    if (alignment > 2n ** 21n) alignment = 2n ** 21n;
    const windows = this.allowed.length > 0 ? this.allowed : [{ first: PAGE, last: TOP - PAGE }];
    const taken = [...this.areas, ...this.reserved].sort((a, b) => (a.first < b.first ? -1 : 1));
    for (const window of windows) {
      let at = window.first < PAGE ? PAGE : window.first;
      const end = window.last > TOP - PAGE ? TOP - PAGE : window.last;
      for (const t of [...taken, { first: end + 1n, last: TOP }]) {
        const holeLast = t.first - 1n < end ? t.first - 1n : end;
        if (holeLast >= at) {
          const fit = ((at + alignment - 1n) & ~(alignment - 1n)) | (start % PAGE);
          if (fit < holeLast && holeLast - fit >= length - 1n) return fit;
        }
        if (t.last + 1n > at) at = t.last + 1n;
      }
    }
    return undefined;
  }
}
