/** Numbers that were given back, lowest first. */
export class IdHeap {
  readonly #ids: number[] = [];

  push(id: number): void {
    const ids = this.#ids;
    let at = ids.length;
    ids.push(id);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const above = ids[up] as number;
      if (above <= id) break;
      ids[at] = above;
      at = up;
    }
    ids[at] = id;
  }

  pop(): number | undefined {
    const ids = this.#ids;
    const lowest = ids[0];
    const last = ids.pop();
    if (last === undefined || ids.length === 0) return lowest;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= ids.length) break;
      if (down + 1 < ids.length && (ids[down + 1] as number) < (ids[down] as number)) down++;
      if ((ids[down] as number) >= last) break;
      ids[at] = ids[down] as number;
      at = down;
    }
    ids[at] = last;
    return lowest;
  }
}
