/**
 * Disjoint sets of 0..n-1 (union by size, path halving): the one way groups and alias sets are
 * merged here. Typed arrays only; n unions and finds cost nearly linear time.
 */
export class DisjointSets {
  readonly #parent: Int32Array;
  readonly #size: Int32Array;

  constructor(count: number) {
    this.#parent = new Int32Array(count);
    for (let i = 0; i < count; i++) this.#parent[i] = i;
    this.#size = new Int32Array(count).fill(1);
  }

  find(element: number): number {
    const parent = this.#parent;
    let at = element;
    for (let up = parent[at] ?? at; up !== at; up = parent[at] ?? at) {
      const above = parent[up] ?? up;
      parent[at] = above;
      at = above;
    }
    return at;
  }

  /** True when the two were apart. */
  union(a: number, b: number): boolean {
    let x = this.find(a);
    let y = this.find(b);
    if (x === y) return false;
    if ((this.#size[x] ?? 0) < (this.#size[y] ?? 0)) [x, y] = [y, x];
    this.#parent[y] = x;
    this.#size[x] = (this.#size[x] ?? 0) + (this.#size[y] ?? 0);
    return true;
  }

  /** Members by set, each ascending, sets by lowest member. */
  sets(): number[][] {
    const byRoot = new Map<number, number[]>();
    for (let i = 0; i < this.#parent.length; i++) {
      const root = this.find(i);
      const set = byRoot.get(root);
      if (set === undefined) byRoot.set(root, [i]);
      else set.push(i);
    }
    return [...byRoot.values()];
  }
}
