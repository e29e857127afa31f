/**
 * A stub: a function that only stands there. It has registers and memory behind its BARs, answers
 * reads and takes writes, and never sends anything. Captured functions become stubs.
 */
import { ConfigRegisters, type PciFunction } from "../pcie/index.js";
import type { Endpoint } from "./endpoint.js";
import { PlainBar } from "./plain-bar.js";

/** A function that only stands there. */
export class StubEndpoint implements Endpoint {
  readonly fn: PciFunction;
  readonly registers: ConfigRegisters;
  readonly #bars = new Map<number, PlainBar>();

  constructor(fn: PciFunction, registers = ConfigRegisters.of(fn)) {
    this.fn = fn;
    this.registers = registers;
  }

  readBar(bar: number, offset: number, length: number): Uint8Array {
    return this.plainBar(bar).read(offset, length);
  }

  writeBar(bar: number, offset: number, data: Uint8Array): void {
    this.plainBar(bar).write(offset, data);
  }

  plainBar(bar: number): PlainBar {
    const found = this.#bars.get(bar) ?? new PlainBar();
    this.#bars.set(bar, found);
    return found;
  }

  configWritten(): void {}
  /** Without a device TLB there is nothing to invalidate. */
  invalidateAtc(): void {}
  /** It never asked. */
  pageResponse(): void {}
}
