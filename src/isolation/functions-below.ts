/** The functions on the buses below each bridge, virtual buses included: one list for a fabric. */
import type { Fabric, PciFunction } from "../pcie/index.js";

export class FunctionsBelow {
  readonly #functions: readonly PciFunction[];
  /** What is below bridge i: members from start[i] to start[i + 1]. */
  readonly #start: Int32Array;
  readonly #members: Int32Array;

  /** Linear. */
  constructor({ functions }: Fabric) {
    this.#functions = functions;
    this.#start = new Int32Array(functions.length + 1);
    const start = this.#start;
    for (const { bus } of functions) {
      const bridge = bus.bridge?.index;
      if (bridge !== undefined) start[bridge + 1] = (start[bridge + 1] as number) + 1;
    }
    for (let i = 1; i < start.length; i++) {
      start[i] = (start[i] as number) + (start[i - 1] as number);
    }
    this.#members = new Int32Array(start[functions.length] as number);
    const next = start.slice();
    for (const { bus, index } of functions) {
      const bridge = bus.bridge?.index;
      if (bridge === undefined) continue;
      const at = next[bridge] as number;
      this.#members[at] = index;
      next[bridge] = at + 1;
    }
  }

  /** In the fabric's order; nothing for a function that is no bridge. */
  *of(bridge: PciFunction): Generator<PciFunction> {
    const end = this.#start[bridge.index + 1] as number;
    for (let i = this.#start[bridge.index] as number; i < end; i++) {
      yield this.#functions[this.#members[i] as number] as PciFunction;
    }
  }
}
