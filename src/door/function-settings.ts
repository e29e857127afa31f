/** What was written to attributes of functions and only sysfs knows. */
import type { Bdf } from "../units/index.js";
import type { ResetMethod } from "../vfio/index.js";

interface Settings {
  /** How often it was switched on by `enable`. */
  readonly enabled: number;
  readonly broken: boolean;
  readonly d3cold: boolean;
  readonly msi: boolean;
  /** The ROM may be read. */
  readonly rom: boolean;
  /** Reset methods in order; undefined: all there are. */
  readonly resets: readonly ResetMethod[] | undefined;
}

/** Settings of all functions; those never written have the kernel's defaults. */
export class FunctionSettings {
  readonly #byFunction = new Map<Bdf, Settings>();

  get(bdf: Bdf): Readonly<Settings> {
    return this.#byFunction.get(bdf) ?? DEFAULTS;
  }

  set(bdf: Bdf, change: Partial<Settings>): void {
    this.#byFunction.set(bdf, { ...this.get(bdf), ...change });
  }

  /** The function has left. */
  forget(bdf: Bdf): void {
    this.#byFunction.delete(bdf);
  }
}

const DEFAULTS: Settings = {
  enabled: 0,
  broken: false,
  d3cold: true,
  msi: true,
  rom: false,
  resets: undefined,
};
