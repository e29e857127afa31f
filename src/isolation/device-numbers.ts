/**
 * DeviceNumbers: which set a function is in, read as a map from its address.
 *
 * The numbers stand in one typed array by the function's index in its fabric, so that a partition
 * of a host costs no table of its own.
 */
import type { Fabric } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";

export class DeviceNumbers implements ReadonlyMap<Bdf, number> {
  readonly #fabric: Fabric;
  readonly #numberOf: Int32Array;
  readonly #sets: readonly (readonly Bdf[])[];
  readonly size: number;

  /** `numberOf`: by index of the function, -1 for none; `sets`: the members of each number. */
  constructor(fabric: Fabric, numberOf: Int32Array, sets: readonly (readonly Bdf[])[]) {
    this.#fabric = fabric;
    this.#numberOf = numberOf;
    this.#sets = sets;
    this.size = sets.reduce((sum, set) => sum + set.length, 0);
  }

  get(device: Bdf): number | undefined {
    const index = this.#fabric.indexOf(device);
    const number = index < 0 ? -1 : (this.#numberOf[index] as number);
    return number < 0 ? undefined : number;
  }

  has(device: Bdf): boolean {
    return this.get(device) !== undefined;
  }

  /** Set by set. */
  *entries(): MapIterator<[Bdf, number]> {
    let number = 0;
    for (const set of this.#sets) {
      for (const device of set) yield [device, number];
      number++;
    }
  }

  *keys(): MapIterator<Bdf> {
    for (const set of this.#sets) yield* set;
  }

  *values(): MapIterator<number> {
    for (const [, number] of this.entries()) yield number;
  }

  [Symbol.iterator](): MapIterator<[Bdf, number]> {
    return this.entries();
  }

  forEach(visit: (number: number, device: Bdf, map: ReadonlyMap<Bdf, number>) => void): void {
    for (const [device, number] of this.entries()) visit(number, device, this);
  }
}
