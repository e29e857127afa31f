/** Answers by the nearest function above (or the function itself) that something is attached to. */
import type { PciFunction } from "../pcie/index.js";

/** Each function is walked over once: n questions cost linear time. */
export class NearestAbove<T> {
  readonly #own: ReadonlyMap<PciFunction, T>;
  readonly #cache = new Map<PciFunction, T | undefined>();

  constructor(own: ReadonlyMap<PciFunction, T>) {
    this.#own = own;
  }

  of(fn: PciFunction): T | undefined {
    const passed: PciFunction[] = [];
    let at: PciFunction | undefined = fn;
    let found: T | undefined;
    for (; at !== undefined; at = at.upstreamBridge) {
      found = this.#own.get(at);
      if (found !== undefined) break;
      if (this.#cache.has(at)) {
        found = this.#cache.get(at);
        break;
      }
      passed.push(at);
    }
    for (const below of passed) this.#cache.set(below, found);
    return found;
  }
}
