/** Numbers from 0 on; the lowest that is free is given out first. Linux ida_alloc(). */
export class LowestFree {
  readonly #free: number[] = [];
  #next = 0;

  take(): number {
    let at = -1;
    this.#free.forEach((n, i) => {
      if (at < 0 || n < (this.#free[at] ?? 0)) at = i;
    });
    if (at < 0) return this.#next++;
    const [lowest] = this.#free.splice(at, 1);
    return lowest ?? this.#next++;
  }

  release(n: number): void {
    this.#free.push(n);
  }
}
