/**
 * How many holders each page of a run has, as few intervals: [bounds[i], bounds[i + 1]) has
 * `counts[i]`. Outside of all bounds the count is 0. Neighbours differ.
 */
export class IntervalCounts {
  #bounds: number[] = [];
  #counts: number[] = [];

  get isEmpty(): boolean {
    return this.#bounds.length === 0;
  }

  /** Calls `run(first, end)` for each part of [first, end) that nobody holds. */
  unheld(first: number, end: number, run: (first: number, end: number) => void): void {
    let at = first;
    for (let i = this.#indexOf(first); at < end; i++) {
      const next = Math.min(this.#bounds[i + 1] ?? end, end);
      if (next <= at) break;
      if ((this.#counts[i] ?? 0) === 0) run(at, next);
      at = next;
    }
  }

  /** One more holder of [first, end). */
  add(first: number, end: number): void {
    this.#change(first, end, 1, undefined);
  }

  /** One holder fewer; `freed(first, end)` for each part that nobody holds any more. */
  remove(first: number, end: number, freed: (first: number, end: number) => void): void {
    this.#change(first, end, -1, freed);
  }

  /** Holders of a page. */
  at(page: number): number {
    return this.#counts[this.#indexOf(page)] ?? 0;
  }

  #change(
    first: number,
    end: number,
    by: number,
    freed: ((first: number, end: number) => void) | undefined,
  ): void {
    const from = this.#cut(first);
    const to = this.#cut(end);
    for (let i = from; i < to; i++) {
      const count = (this.#counts[i] as number) + by;
      if (count < 0) throw new RangeError(`pages from ${this.#bounds[i]} held ${count} times`);
      this.#counts[i] = count;
      if (count === 0) freed?.(this.#bounds[i] as number, this.#bounds[i + 1] as number);
    }
    this.#join(to);
    for (let i = to - 1; i >= from; i--) this.#join(i);
  }

  /** Makes `at` a bound. @returns its index. */
  #cut(at: number): number {
    const i = this.#indexOf(at);
    if (this.#bounds[i] === at) return i;
    this.#bounds.splice(i + 1, 0, at);
    this.#counts.splice(i + 1, 0, this.#counts[i] ?? 0);
    return i + 1;
  }

  /** Drops bound `i` when the interval before it has the same count. */
  #join(i: number): void {
    if (this.#counts[i] !== (this.#counts[i - 1] ?? 0)) return;
    this.#bounds.splice(i, 1);
    this.#counts.splice(i, 1);
  }

  /** The interval that holds the page: last bound at or below it, -1 before the first. */
  #indexOf(page: number): number {
    let low = -1;
    let high = this.#bounds.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#bounds[middle] as number) <= page) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
