/** Pages of a BAR as memory that other devices reach: by the bus address, never by bytes. */
import { UapiError } from "../abi/index.js";
import type { PageSource } from "../files/index.js";
import type { Resource } from "./resources.js";

const PAGE = 4096;

/** A run of pages, counted from the beginning of the BAR. */
export interface BarRun {
  readonly firstPage: number;
  readonly count: number;
}

/** See the head of the file. Runs follow each other as one buffer. */
export class BarPages implements PageSource {
  readonly label: string;
  readonly kind = "device";
  readonly #firstFrame: number;
  readonly #runs: readonly BarRun[];
  readonly #count: number;
  /** Taken back: no page can be had. */
  isRevoked = false;

  constructor(label: string, resource: Resource, runs: readonly BarRun[]) {
    this.label = label;
    this.#firstFrame = Number(resource.base / BigInt(PAGE));
    this.#runs = runs;
    this.#count = runs.reduce((sum, { count }) => sum + count, 0);
  }

  /** The pages lie together: what an IOMMU maps as one piece. */
  get isOneRun(): boolean {
    return this.#runs.length === 1;
  }

  /** @throws UapiError ENODEV revoked; EFAULT beyond the end. */
  pin(page: number, count: number, _writable: boolean, frames: Float64Array): void {
    if (this.isRevoked) {
      throw new UapiError("ENODEV", "the device has taken its memory back", {
        cite: "Linux vfio_pci_dma_buf_attach(): priv->revoked",
      });
    }
    if (page < 0 || page + count > this.#count) {
      throw new UapiError("EFAULT", "the range goes beyond the BAR");
    }
    for (let i = 0; i < count; i++) frames[i] = this.#frame(page + i);
  }

  #frame(page: number): number {
    let at = page;
    for (const { firstPage, count } of this.#runs) {
      if (at < count) return this.#firstFrame + firstPage + at;
      at -= count;
    }
    throw new RangeError(`page ${page} is beyond the end`);
  }

  /** Nothing was pinned: memory of a device stays where it is. */
  unpin(): void {}

  /** @throws UapiError EFAULT, always: it is no memory that the processor pins. */
  read(): never {
    return notMemory();
  }

  /** @throws UapiError EFAULT, always. */
  write(): never {
    return notMemory();
  }
}

function notMemory(): never {
  throw new UapiError("EFAULT", "memory behind a BAR is no memory of a process");
}
