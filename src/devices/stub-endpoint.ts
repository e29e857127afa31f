/**
 * A stub: a function that only stands there. It has registers and bytes behind its BARs, answers
 * reads and takes writes, and never sends anything. Captured functions become stubs.
 *
 * Bytes are kept for at most {@link STUB_PAGES} written pages of 4 KiB; writes to further pages are
 * dropped, as a real device drops writes to registers that it does not have.
 */
import { ConfigRegisters, type PciFunction } from "../pcie/index.js";
import type { Endpoint } from "./endpoint.js";

export const STUB_PAGES = 256;
const PAGE = 4096;

/** A function that only stands there. */
export class StubEndpoint implements Endpoint {
  readonly fn: PciFunction;
  readonly registers: ConfigRegisters;
  readonly #pages = new Map<string, Uint8Array>();

  constructor(fn: PciFunction, registers = ConfigRegisters.of(fn)) {
    this.fn = fn;
    this.registers = registers;
  }

  readBar(bar: number, offset: number, length: number): Uint8Array {
    const page = this.#pages.get(`${bar} ${Math.floor(offset / PAGE)}`);
    const at = offset % PAGE;
    return page === undefined ? new Uint8Array(length) : page.slice(at, at + length);
  }

  writeBar(bar: number, offset: number, data: Uint8Array): void {
    const key = `${bar} ${Math.floor(offset / PAGE)}`;
    let page = this.#pages.get(key);
    if (page === undefined) {
      if (this.#pages.size >= STUB_PAGES) return;
      page = new Uint8Array(PAGE);
      this.#pages.set(key, page);
    }
    page.set(data, offset % PAGE);
  }

  configWritten(): void {}
  /** Without a device TLB there is nothing to invalidate. */
  invalidateAtc(): void {}
  /** It never asked. */
  pageResponse(): void {}
}
