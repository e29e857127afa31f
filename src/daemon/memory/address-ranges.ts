/**
 * What lies where in an address space: runs of pages, ordered, without overlap.
 *
 * A run that is replaced while some of its pages are pinned is kept aside: the pins are of what lay
 * there when they were made.
 */

/** Something that lies at pages of an address space. Parts of a run are runs of their own. */
export interface Run<Target> {
  readonly first: number;
  /** Exclusive. */
  readonly end: number;
  readonly target: Target;
  /** Page of the target at `first`. */
  readonly targetPage: number;
  /** Pages pinned through this run, each counted once per pin. */
  pinned: number;
}

export class AddressRanges<Target> {
  readonly #runs: Run<Target>[] = [];
  readonly #aside: Run<Target>[] = [];
  readonly #kept: (target: Target) => void;
  readonly #dropped: (target: Target) => void;

  /** Each run keeps its target once: both are told when a run comes or goes. */
  constructor(kept: (target: Target) => void, dropped: (target: Target) => void) {
    this.#kept = kept;
    this.#dropped = dropped;
  }

  /** The run at a page. */
  at(page: number): Run<Target> | undefined {
    const run = this.#runs[this.#after(page) - 1];
    return run !== undefined && page < run.end ? run : undefined;
  }

  /** First page of a run above `page`; infinity when there is none. */
  nextAbove(page: number): number {
    return this.#runs[this.#after(page)]?.first ?? Number.POSITIVE_INFINITY;
  }

  /** Puts a target at pages; what lay there is replaced. */
  add(first: number, end: number, target: Target, targetPage: number): void {
    this.remove(first, end);
    this.#kept(target);
    this.#insert({ first, end, target, targetPage, pinned: 0 });
  }

  /** Nothing lies at these pages any more. */
  remove(first: number, end: number): void {
    let index = Math.max(0, this.#after(first) - 1);
    while (index < this.#runs.length) {
      const run = this.#runs[index] as Run<Target>;
      if (run.first >= end) return;
      if (run.end <= first) index++;
      else index = this.#cut(index, run, first, end);
    }
  }

  /** The run through which a page was pinned: what lay there before counts first when needed. */
  pinnedAt(page: number): Run<Target> | undefined {
    const now = this.at(page);
    if (this.#aside.length === 0 || (now !== undefined && now.pinned > 0)) return now;
    return this.#aside.find((run) => run.first <= page && page < run.end) ?? now;
  }

  /** Pins through the run ended. */
  unpinned(run: Run<Target>, count: number): void {
    run.pinned -= count;
    if (run.pinned > 0) return;
    const index = this.#aside.indexOf(run);
    if (index < 0) return;
    this.#aside.splice(index, 1);
    this.#dropped(run.target);
  }

  /** Everything is gone; pinned runs stay aside. */
  clear(): void {
    this.remove(0, Number.POSITIVE_INFINITY);
  }

  [Symbol.iterator](): IterableIterator<Run<Target>> {
    return this.#runs.values();
  }

  #cut(index: number, run: Run<Target>, first: number, end: number): number {
    const { target, targetPage } = run;
    const left = run.first < first;
    const right = run.end > end;
    const parts: Run<Target>[] = [];
    if (left) parts.push({ first: run.first, end: first, target, targetPage, pinned: 0 });
    if (right) {
      const skipped = end - run.first;
      parts.push({ first: end, end: run.end, target, targetPage: targetPage + skipped, pinned: 0 });
    }
    this.#runs.splice(index, 1, ...parts);
    const isKept = run.pinned > 0;
    if (isKept) this.#aside.push(run);
    const count = parts.length + (isKept ? 1 : 0);
    if (count === 0) this.#dropped(target);
    for (let i = 1; i < count; i++) this.#kept(target);
    return index + (left ? 1 : 0);
  }

  #insert(run: Run<Target>): void {
    this.#runs.splice(this.#after(run.first), 0, run);
  }

  /** Index of the first run that begins above the page. */
  #after(page: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#runs[middle] as Run<Target>).first <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
