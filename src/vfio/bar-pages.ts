/** Pages of a BAR as memory that other devices reach: by the bus address, never by bytes. */
import { UapiError } from "../abi/index.js";
import type { PageSource } from "../files/index.js";
import type { Resource } from "./resources.js";

const PAGE = 4096;

/** See the head of the file. Page 0 lies `firstPage` pages into the BAR. */
export class BarPages implements PageSource {
  readonly label: string;
  readonly kind = "device";
  readonly #firstFrame: number;
  readonly #count: number;
  /** Taken back: no page can be had. */
  isRevoked = false;

  constructor(label: string, resource: Resource, firstPage: number, count: number) {
    this.label = label;
    this.#firstFrame = Number(resource.base / BigInt(PAGE)) + firstPage;
    this.#count = count;
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
    for (let i = 0; i < count; i++) frames[i] = this.#firstFrame + page + i;
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
