/**
 * FunctionTable: a value for each function of a fabric, by the function's dense index.
 *
 * Stands in for `Map<PciFunction, V>` where most functions of a host get a value: no hashing, no
 * growing, neighbours side by side. Functions that are not of the fabric are kept as well, in a
 * map, so that an answer never depends on where a function comes from.
 */
import type { Fabric } from "./fabric.js";
import type { PciFunction } from "./function.js";

/** A value of type `V` for each function; see the head of this file. */
export class FunctionTable<V> {
  readonly #functions: readonly PciFunction[];
  readonly #values: (V | undefined)[];
  #others: Map<PciFunction, V> | undefined;

  /** Without a fabric every function is a stranger. */
  constructor(fabric?: Pick<Fabric, "functions">) {
    this.#functions = fabric?.functions ?? [];
    this.#values = new Array<V | undefined>(this.#functions.length);
  }

  get(fn: PciFunction): V | undefined {
    if (this.#knows(fn)) return this.#values[fn.index];
    return this.#others?.get(fn);
  }

  set(fn: PciFunction, value: V): void {
    if (this.#knows(fn)) this.#values[fn.index] = value;
    else {
      this.#others ??= new Map();
      this.#others.set(fn, value);
    }
  }

  #knows(fn: PciFunction): boolean {
    return fn.index >= 0 && this.#functions[fn.index] === fn;
  }
}
