import type { DevFn } from "../units/index.js";
import type { PciFunction } from "./function.js";

/**
 * One bus of a fabric.
 * A root bus has no bridge. A virtual bus carries VFs whose numbers run past their PF's bus: it has no bridge of
 * its own, `virtualOf` is the PF's bus, and `bridge` is that bus's bridge.
 */
export class Bus {
  readonly segment: number;
  readonly number: number;
  /** Sorted by device and function. */
  readonly functions: PciFunction[] = [];
  bridge: PciFunction | undefined;
  virtualOf: Bus | undefined;

  readonly #byDevFn = new Map<number, PciFunction>();

  constructor(segment: number, number: number) {
    this.segment = segment;
    this.number = number;
  }

  get isRoot(): boolean {
    return this.bridge === undefined && this.virtualOf === undefined;
  }

  add(fn: PciFunction): void {
    this.functions.push(fn);
    this.#byDevFn.set(fn.devFn, fn);
  }

  at(devFn: DevFn | number): PciFunction | undefined {
    return this.#byDevFn.get(devFn);
  }
}
